#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cctype>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tagexpr/evaluate.hpp"
#include "tagexpr/expression.hpp"

namespace {

/// Devices 0..7; device d carries tag number t when bit t of d is set.
struct Devices {
    std::set<int> members;

    Devices& operator&=(const Devices& other) {
        std::erase_if(members, [&](int d) { return !other.members.contains(d); });
        return *this;
    }
    Devices& operator|=(const Devices& other) {
        members.insert(other.members.begin(), other.members.end());
        return *this;
    }
    Devices& operator-=(const Devices& other) {
        std::erase_if(members, [&](int d) { return other.members.contains(d); });
        return *this;
    }
    friend bool operator==(const Devices&, const Devices&) = default;
};

Devices universe() {
    return {{0, 1, 2, 3, 4, 5, 6, 7}};
}

Devices carriers(std::string_view tag) {
    const int bit = tag.back() - (tag.back() >= 'a' ? 'a' : 'A');
    Devices set;
    for (int d = 0; d < 8; ++d) {
        if (d >> bit & 1) set.members.insert(d);
    }
    return set;
}

/// An expression written by the test itself, beside the set it means.
struct Written {
    std::string full;  ///< every operation in parentheses
    std::string bare;  ///< only the parentheses that precedence asks for
    int rank;          ///< 0 or, 1 and, 2 not and tags
    Devices meaning;
};

std::string wrapped(const Written& inner, int rank_min) {
    return inner.rank < rank_min ? "(" + inner.bare + ")" : inner.bare;
}

Written negation(const Written& a) {
    Devices meaning = universe();
    meaning -= a.meaning;
    return {"(!" + a.full + ")", "!" + wrapped(a, 2), 2, meaning};
}

Written conjunction(const Written& a, const Written& b) {
    Devices meaning = a.meaning;
    meaning &= b.meaning;
    return {"(" + a.full + "&&" + b.full + ")", wrapped(a, 1) + " && " + wrapped(b, 1), 1, meaning};
}

Written disjunction(const Written& a, const Written& b) {
    Devices meaning = a.meaning;
    meaning |= b.meaning;
    return {"(" + a.full + "||" + b.full + ")", a.bare + "  || " + b.bare, 0, meaning};
}

/// REQUIRE counts and prints; this runs a million times.
void require(bool holds) {
    if (!holds) FAIL("a promise of expression.hpp is broken");
}

/// The plain meaning of a parsed expression, without the simplifier and without evaluate().
Devices meaning_of(const tagexpr::Expression& expression) {
    std::vector<Devices> stack;
    for (const tagexpr::Node& node : expression.nodes) {
        using tagexpr::Op;
        Devices set;
        if (node.op == Op::tag) set = carriers(node.tag);
        if (node.op == Op::everything) set = universe();
        if (node.op == Op::negate) {
            set = universe();
            set -= stack.back();
            stack.pop_back();
        }
        if (node.op == Op::all_of || node.op == Op::any_of) {
            require(node.arity >= 2);
            set = stack.back();
            stack.pop_back();
            for (std::uint32_t k = 1; k < node.arity; ++k) {
                node.op == Op::all_of ? set &= stack.back() : set |= stack.back();
                stack.pop_back();
            }
        }
        stack.push_back(set);
    }
    require(stack.size() == 1);
    return stack.front();
}

Devices evaluated(const tagexpr::Plan& plan) {
    return tagexpr::evaluate<Devices>(plan, carriers, universe);
}

/// What expression.hpp promises of every plan.
void require_plan_shape(const tagexpr::Plan& plan) {
    using tagexpr::Op;
    struct Subtree {
        Op op;
        std::string text;
    };
    std::vector<Subtree> stack;
    for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
        const tagexpr::Node& node = plan.nodes[i];
        if (node.op == Op::everything || node.op == Op::nothing) require(plan.nodes.size() == 1);
        if (node.op == Op::tag || node.arity == 0) {
            std::string text = node.tag;
            for (char& c : text) c = static_cast<char>(std::tolower(c));
            stack.push_back({node.op, text});
            continue;
        }
        std::vector<std::string> operands;
        for (std::uint32_t k = 0; k < node.arity; ++k) {
            const Subtree operand = stack.back();
            stack.pop_back();
            if (node.op == Op::negate) require(operand.op == Op::tag);
            require(operand.op != node.op);
            operands.push_back(operand.text);
        }
        std::sort(operands.begin(), operands.end());
        require(std::adjacent_find(operands.begin(), operands.end()) == operands.end());
        std::string text = std::to_string(static_cast<int>(node.op)) + "(";
        for (const std::string& operand : operands) text += operand + ",";
        stack.push_back({node.op, text + ")"});
    }
    require(stack.size() == 1);
}

void check(const std::string& text, const Devices& meaning) {
    const auto parsed = tagexpr::parse(text);
    const auto* expression = std::get_if<tagexpr::Expression>(&parsed);
    if (expression == nullptr) FAIL(text << ": " << std::get<tagexpr::ParseError>(parsed).message);
    if (meaning_of(*expression) != meaning) FAIL(text << " is parsed wrongly");
    const tagexpr::Plan plan = tagexpr::simplify(*expression);
    require_plan_shape(plan);
    if (evaluated(plan) != meaning) FAIL(text << " is simplified wrongly to " << to_string(plan));
    const std::string printed = tagexpr::to_string(*expression);
    const auto again = tagexpr::parse(printed);
    if (again != parsed) FAIL(text << " is printed wrongly as " << printed);
}

}  // namespace

TEST_CASE("every expression of up to 4 operators over 3 tags means what a set oracle says",
          "[tagexpr]") {
    constexpr std::size_t operators_max = 4;
    std::array<std::vector<Written>, operators_max + 1> by_operators;
    for (const char* tag : {"a", "b", "c"}) by_operators[0].push_back({tag, tag, 2, carriers(tag)});
    for (std::size_t n = 1; n <= operators_max; ++n) {
        for (const Written& a : by_operators[n - 1]) by_operators[n].push_back(negation(a));
        for (std::size_t left = 0; left < n; ++left) {
            for (const Written& a : by_operators[left]) {
                for (const Written& b : by_operators[n - 1 - left]) {
                    by_operators[n].push_back(conjunction(a, b));
                    by_operators[n].push_back(disjunction(a, b));
                }
            }
        }
    }
    std::size_t checked = 0;
    for (const auto& all : by_operators) {
        for (const Written& written : all) {
            check(written.full, written.meaning);
            check(written.bare, written.meaning);
            ++checked;
        }
    }
    CHECK(checked == 3 + 21 + 273 + 4431 + 80535);
}

TEST_CASE("large random expressions mean what a set oracle says", "[tagexpr]") {
    const unsigned seed = 20261121;
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto pick = [&](std::size_t below) { return random() % below; };
    for (int round = 0; round < 300; ++round) {
        std::vector<Written> pool;
        for (const char* tag : {"a", "b", "c", "A", "C"})
            pool.push_back({tag, tag, 2, carriers(tag)});
        while (pool.size() < 60) {
            const Written& a = pool[pick(pool.size())];
            const Written& b = pool[pick(pool.size())];
            if (a.full.size() + b.full.size() > 4000) continue;
            const std::size_t kind = pick(5);
            Written made = kind == 0  ? negation(a)
                           : kind < 3 ? conjunction(a, b)
                                      : disjunction(a, b);
            pool.push_back(std::move(made));
        }
        check(pool.back().full, pool.back().meaning);
        check(pool.back().bare, pool.back().meaning);
    }
}

TEST_CASE("simplify folds what can be decided without a device", "[tagexpr]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"", ""},
        {"a", "a"},
        {"!!a", "a"},
        {"!!!a", "!a"},
        {"a && !a", "!()"},
        {"a || !A", ""},
        {"a && A && a", "a"},
        {"$UserId:{a} && !$USERID:{a}", "!()"},
        {"$UserId:{a} && !$UserId:{A}", "$UserId:{a} && !$UserId:{A}"},
        {"$InstallationId:{a} || $installationid:{A}",
         "$InstallationId:{a} || $installationid:{A}"},
        {"!(a && b)", "!a || !b"},
        {"!(a || !b)", "!a && b"},
        {"(a && b) && (c && d)", "a && b && c && d"},
        {"a || (b || (c || a))", "a || b || c"},
        {"a && (b || !b)", "a"},
        {"a || (b && !b)", "a"},
        {"(a && b) || (b && a)", "a && b"},
        {"(a && b && !a) || c", "c"},
        {"c && ((a && b) || (b && a))", "c && a && b"},
        {"!((a || b) && !(c && !d))", "!a && !b || c && !d"},
    };
    for (const auto& [text, simplified] : table) {
        const auto parsed = tagexpr::parse(text);
        REQUIRE(std::holds_alternative<tagexpr::Expression>(parsed));
        const auto plan = tagexpr::simplify(std::get<tagexpr::Expression>(parsed));
        INFO(text);
        CHECK(tagexpr::to_string(plan) == simplified);
    }
}

TEST_CASE("evaluate asks for the universe only where the plan needs it", "[tagexpr]") {
    const std::vector<std::pair<std::string, int>> table{
        {"a", 0},
        {"a && b", 0},
        {"a && !b", 0},
        {"!b && a && !c", 0},
        {"a || b", 0},
        {"", 1},
        {"!a", 1},
        {"!a && !b", 1},
        {"!a || !b", 1},
        {"a || !b || !c", 1},
        {"a && (b || !c)", 1},
        {"a && !a", 0},
        {"(!a && !b) || (!b && !c)", 2},
    };
    for (const auto& [text, asked] : table) {
        int universes = 0;
        std::size_t leaves = 0;
        const auto plan = tagexpr::simplify(std::get<tagexpr::Expression>(tagexpr::parse(text)));
        tagexpr::evaluate<Devices>(
            plan, [&](std::string_view tag) { return ++leaves, carriers(tag); },
            [&] { return ++universes, universe(); });
        INFO(text);
        CHECK(universes == asked);
        CHECK(leaves == static_cast<std::size_t>(std::count_if(
                            plan.nodes.begin(), plan.nodes.end(), [](const tagexpr::Node& node) {
                                return node.op == tagexpr::Op::tag;
                            })));
    }
}
