#include <algorithm>
#include <cassert>

#include "tagexpr/expression.hpp"

// Tested by tests/tagexpr_parse_test.cpp and tests/tagexpr_oracle_test.cpp.

namespace tagexpr {
namespace {

/// Operands of node i are operands[first[i] .. first[i] + arity), in order.
struct Tree {
    std::vector<std::size_t> first;
    std::vector<std::size_t> operands;
};

Tree tree_of(const std::vector<Node>& nodes) {
    Tree tree;
    tree.first.reserve(nodes.size());
    tree.operands.reserve(nodes.size());
    std::vector<std::size_t> roots;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        assert(roots.size() >= nodes[i].arity);
        tree.first.push_back(tree.operands.size());
        const auto begin = roots.end() - static_cast<std::ptrdiff_t>(nodes[i].arity);
        tree.operands.insert(tree.operands.end(), begin, roots.end());
        roots.erase(begin, roots.end());
        roots.push_back(i);
    }
    assert(roots.size() == 1);
    return tree;
}

/// Higher binds tighter.
int rank(Op op) {
    switch (op) {
        case Op::any_of:
            return 0;
        case Op::all_of:
            return 1;
        default:
            return 2;
    }
}

/// An operand of the same operator keeps its parentheses: without them it would melt into its
/// parent and parse() would not give the same nodes back.
bool needs_parentheses(Op parent, Op child) {
    if (child == Op::everything || child == Op::nothing) return true;
    if (child == Op::tag || child == Op::negate) return false;
    return rank(child) <= rank(parent);
}

std::string print(const std::vector<Node>& nodes) {
    if (nodes.empty()) return {};
    const Tree tree = tree_of(nodes);
    struct Step {
        std::size_t node;
        std::string_view text;  ///< printed instead of a node when not empty
    };
    std::string out;
    std::vector<Step> todo{{nodes.size() - 1, {}}};
    while (!todo.empty()) {
        const Step step = todo.back();
        todo.pop_back();
        if (!step.text.empty()) {
            out += step.text;
            continue;
        }
        const Node& node = nodes[step.node];
        if (node.op == Op::tag) out += node.tag;
        if (node.op == Op::nothing) out += "!()";
        if (node.op == Op::negate) out += '!';
        const std::string_view between = node.op == Op::all_of ? " && " : " || ";
        for (std::size_t k = node.arity; k-- > 0;) {
            const std::size_t child = tree.operands[tree.first[step.node] + k];
            const bool wrapped = needs_parentheses(node.op, nodes[child].op);
            if (wrapped) todo.push_back({0, ")"});
            todo.push_back({child, {}});
            if (wrapped) todo.push_back({0, "("});
            if (k > 0) todo.push_back({0, between});
        }
    }
    return out;
}

bool continues_character(char c) {
    return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

}  // namespace

std::string to_string(const Expression& expression) {
    return print(expression.nodes);
}
std::string to_string(const Plan& plan) {
    return print(plan.nodes);
}

std::string ParseError::caret(std::string_view text) const {
    constexpr std::size_t around_bytes = 36;
    const std::size_t at = std::min(column > 0 ? column - 1 : 0, text.size());
    std::size_t begin = at > around_bytes ? at - around_bytes : 0;
    std::size_t end = std::min(text.size(), at + around_bytes);
    while (begin > 0 && continues_character(text[begin])) --begin;
    while (end < text.size() && continues_character(text[end])) ++end;

    std::string line = begin > 0 ? "..." : "";
    std::size_t indent = line.size();
    for (std::size_t i = begin; i < end; ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        line += byte < 0x20 || byte == 0x7F ? ' ' : text[i];
        if (i < at && !continues_character(text[i])) ++indent;
    }
    if (end < text.size()) line += "...";
    return line + "\n" + std::string(indent, ' ') + "^";
}

}  // namespace tagexpr
