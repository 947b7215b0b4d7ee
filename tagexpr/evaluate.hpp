#pragma once

// Evaluates a plan over any set type that has &=, |= and -= (std::set wrappers in tests, roaring
// bitmaps in registry/). Pure; as thread-safe as the callbacks are.

#include <cassert>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "tagexpr/expression.hpp"

namespace tagexpr {

/// What one operator has gathered from the operands seen so far: at most two sets, whatever its
/// arity. `negative` is the union of negated tags under AND, their intersection under OR.
template <class Set>
struct Gathered {
    std::size_t node;
    std::optional<Set> positive;
    std::optional<Set> negative;

    void take_and(Set&& set, bool negated) {
        if (!negated) {
            if (positive)
                *positive &= set;
            else
                positive.emplace(std::move(set));
        } else if (positive) {
            *positive -= set;
        } else if (negative) {
            *negative |= set;
        } else {
            negative.emplace(std::move(set));
        }
    }

    void take_or(Set&& set, bool negated) {
        std::optional<Set>& into = negated ? negative : positive;
        if (!into)
            into.emplace(std::move(set));
        else if (negated)
            *into &= set;
        else
            *into |= set;
    }

    template <class Universe>
    Set finish(Op op, Universe& universe) {
        if (op == Op::all_of) {
            if (!positive) positive.emplace(universe());
            if (negative) *positive -= *negative;
            return std::move(*positive);
        }
        if (!negative) return std::move(*positive);
        Set rest = universe();
        rest -= *negative;
        if (positive) rest |= *positive;
        return rest;
    }
};

/// Told of every set that evaluation makes; this one looks away.
struct NoObserver {
    template <class Set>
    void produced(std::size_t, const Set&) {}
    void combined(std::size_t) {}
};

/// `leaf(tag)` gives the set of one tag, `universe()` all devices that may be addressed; each is
/// called at most once per node, `universe` only where the plan needs it. The result is always a
/// subset of the universe if leaves are. AND intersects positive operands and subtracts negated
/// ones: NOT costs what AND costs. Sets are combined as they come, so that a plan of any width
/// holds two sets per open operator. `observer.produced(i, set)` is called with the set of node i
/// as soon as it is known, `observer.combined(i)` when it has become part of its operator; never
/// for negations, which make no set of their own.
template <class Set, class Leaf, class Universe, class Observer = NoObserver>
Set evaluate(const Plan& plan, Leaf&& leaf, Universe&& universe, Observer&& observer = {}) {
    const std::vector<Node>& nodes = plan.nodes;
    assert(!nodes.empty());
    constexpr std::size_t none = static_cast<std::size_t>(-1);
    std::vector<std::size_t> parent(nodes.size(), none);
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

    std::vector<Gathered<Set>> open;
    std::optional<Set> result;
    const auto give = [&](std::size_t to, Set&& set, bool negated) {
        if (to == none) {
            if (negated) {
                result.emplace(universe());
                *result -= set;
            } else {
                result.emplace(std::move(set));
            }
            return;
        }
        if (open.empty() || open.back().node != to)
            open.push_back(Gathered<Set>{to, std::nullopt, std::nullopt});
        if (nodes[to].op == Op::all_of)
            open.back().take_and(std::move(set), negated);
        else
            open.back().take_or(std::move(set), negated);
    };
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        switch (nodes[i].op) {
            case Op::tag: {
                const bool negated = parent[i] != none && nodes[parent[i]].op == Op::negate;
                Set set = leaf(std::string_view(nodes[i].tag));
                observer.produced(i, set);
                give(negated ? parent[parent[i]] : parent[i], std::move(set), negated);
                observer.combined(i);
                break;
            }
            case Op::negate:
                assert(i > 0 && nodes[i - 1].op == Op::tag);
                break;
            case Op::everything:
            case Op::nothing: {
                Set set = nodes[i].op == Op::everything ? universe() : Set{};
                observer.produced(i, set);
                give(parent[i], std::move(set), false);
                observer.combined(i);
                break;
            }
            case Op::all_of:
            case Op::any_of: {
                assert(!open.empty() && open.back().node == i);
                Set set = open.back().finish(nodes[i].op, universe);
                open.pop_back();
                observer.produced(i, set);
                give(parent[i], std::move(set), false);
                observer.combined(i);
                break;
            }
        }
    }
    return std::move(*result);
}

}  // namespace tagexpr
