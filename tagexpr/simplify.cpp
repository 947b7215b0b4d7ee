// Tested by tests/tagexpr_oracle_test.cpp.
//
// Two passes without recursion. The first goes from the root to the leaves and pushes NOT down to
// the tags; the second goes back up, gives equal subtrees one id, and drops duplicates,
// contradictions and constants. The plan that results has negations only at its tags, which is
// what makes NOT as cheap as AND. Pure, any thread.
#include <algorithm>
#include <cassert>
#include <map>
#include <unordered_map>
#include <utility>

#include "tagexpr/expression.hpp"
#include "tagexpr/keyed_hash.hpp"

namespace tagexpr {
namespace {

/// Equal subtrees have equal ids. A tag has an even id and its negation the next odd one, so that
/// a sorted operand list has duplicates and contradictions side by side. Compound ids are offset
/// by compound_base; two ids stand for the constants.
using Id = std::uint32_t;
constexpr Id compound_base = 0x8000'0000;
constexpr Id everything_id = 0xFFFF'FFFF;
constexpr Id nothing_id = 0xFFFF'FFFE;

struct Compound {
    Op op;
    std::vector<Id> operands;
    friend auto operator<=>(const Compound&, const Compound&) = default;
};

bool is_compound(Id id) {
    return id >= compound_base && id < nothing_id;
}

Op dual(Op op) {
    switch (op) {
        case Op::all_of:
            return Op::any_of;
        case Op::any_of:
            return Op::all_of;
        case Op::everything:
            return Op::nothing;
        case Op::nothing:
            return Op::everything;
        default:
            return op;
    }
}

class Interner {
  public:
    Id tag(const std::string& text, bool negated) {
        const auto [at, fresh] =
            tag_ids_.try_emplace(canonical_tag(text), static_cast<Id>(2 * tags_.size()));
        if (fresh) tags_.push_back(&text);
        return at->second + (negated ? 1 : 0);
    }

    /// Folds the finished operands of one AND or OR; may answer with one of them or a constant.
    Id join(Op op, const Id* begin, const Id* end) {
        const bool conjunction = op == Op::all_of;
        const Id neutral = conjunction ? everything_id : nothing_id;
        const Id absorbing = conjunction ? nothing_id : everything_id;
        std::vector<Id> list;
        for (const Id* at = begin; at != end; ++at) {
            if (*at == absorbing) return absorbing;
            if (*at == neutral) continue;
            // An operand that folded away between can leave the same operator below this one.
            if (is_compound(*at) && compound(*at).op == op) {
                const std::vector<Id>& inner = compound(*at).operands;
                list.insert(list.end(), inner.begin(), inner.end());
            } else {
                list.push_back(*at);
            }
        }
        std::sort(list.begin(), list.end());
        list.erase(std::unique(list.begin(), list.end()), list.end());
        for (std::size_t i = 1; i < list.size(); ++i) {
            const bool both = list[i] < compound_base && list[i] % 2 == 1;
            if (both && list[i - 1] == list[i] - 1) return absorbing;
        }
        if (list.empty()) return neutral;
        if (list.size() == 1) return list.front();
        const auto id = static_cast<Id>(compound_base + compounds_.size());
        const auto [at, fresh] = compound_ids_.try_emplace(Compound{op, std::move(list)}, id);
        if (fresh) compounds_.push_back(&at->first);
        return at->second;
    }

    Plan plan(Id root) const {
        Plan plan;
        if (root == everything_id || root == nothing_id) {
            plan.nodes.push_back(Node{root == everything_id ? Op::everything : Op::nothing, 0, {}});
            return plan;
        }
        struct Step {
            Id id;
            bool operands_done;
        };
        std::vector<Step> todo{{root, false}};
        while (!todo.empty()) {
            const Step step = todo.back();
            todo.pop_back();
            if (!is_compound(step.id)) {
                plan.nodes.push_back(Node{Op::tag, 0, *tags_[step.id / 2]});
                if (step.id % 2 == 1) plan.nodes.push_back(Node{Op::negate, 1, {}});
                continue;
            }
            const Compound& node = compound(step.id);
            if (step.operands_done) {
                plan.nodes.push_back(
                    Node{node.op, static_cast<std::uint32_t>(node.operands.size()), {}});
                continue;
            }
            todo.push_back({step.id, true});
            for (auto at = node.operands.rbegin(); at != node.operands.rend(); ++at)
                todo.push_back({*at, false});
        }
        return plan;
    }

  private:
    const Compound& compound(Id id) const { return *compounds_[id - compound_base]; }

    std::unordered_map<std::string, Id, KeyedHash> tag_ids_;
    std::vector<const std::string*> tags_;
    std::map<Compound, Id> compound_ids_;  // nodes of a map stay where they are
    std::vector<const Compound*> compounds_;
};

}  // namespace

Plan simplify(const Expression& expression) {
    const std::vector<Node>& nodes = expression.nodes;
    assert(!nodes.empty());

    // From the root down: the operator each node has once NOT is pushed to the tags (a negated
    // AND is an OR of negations), and whether it melts into the operator above it.
    std::vector<std::size_t> parent(nodes.size());
    std::vector<std::size_t> roots;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        assert(roots.size() >= nodes[i].arity);
        for (std::uint32_t k = 0; k < nodes[i].arity; ++k) {
            parent[roots.back()] = i;
            roots.pop_back();
        }
        roots.push_back(i);
    }
    assert(roots.size() == 1);
    struct Effect {
        bool negated = false;
        Op op = Op::tag;
        Op above = Op::tag;  ///< nearest AND or OR over this node, Op::tag at the root
    };
    std::vector<Effect> effects(nodes.size());
    for (std::size_t i = nodes.size(); i-- > 0;) {
        Effect& effect = effects[i];
        if (i + 1 < nodes.size()) {
            const Effect& over = effects[parent[i]];
            const bool through_not = nodes[parent[i]].op == Op::negate;
            effect.negated = over.negated != through_not;
            effect.above = through_not ? over.above : over.op;
        }
        effect.op = effect.negated ? dual(nodes[i].op) : nodes[i].op;
    }

    // From the leaves up: a node that melts leaves its operands on the stack for its parent.
    Interner interner;
    std::vector<Id> stack;
    std::vector<std::size_t> spans;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        const Effect& effect = effects[i];
        switch (effect.op) {
            case Op::tag:
                stack.push_back(interner.tag(nodes[i].tag, effect.negated));
                spans.push_back(1);
                break;
            case Op::everything:
            case Op::nothing:
                stack.push_back(effect.op == Op::everything ? everything_id : nothing_id);
                spans.push_back(1);
                break;
            case Op::negate:
                break;
            case Op::all_of:
            case Op::any_of: {
                std::size_t span = 0;
                for (std::uint32_t k = 0; k < nodes[i].arity; ++k) {
                    span += spans.back();
                    spans.pop_back();
                }
                if (effect.above != effect.op) {
                    const Id* end = stack.data() + stack.size();
                    const Id joined = interner.join(effect.op, end - span, end);
                    stack.resize(stack.size() - span);
                    stack.push_back(joined);
                    span = 1;
                }
                spans.push_back(span);
                break;
            }
        }
    }
    assert(stack.size() == 1);
    return interner.plan(stack.front());
}

}  // namespace tagexpr
