#pragma once

// What a sender remembers of origins that handles name, so that hosts which somebody made up cost
// the others little: which have answered, and for how long those that have not are left alone.
//
// An origin that has not answered yet is a stranger. While others wait for its place it gets little
// time; each time more, and each time after a longer pause. So one that is only slow gets through,
// and one that does not exist is hardly tried. Bounded: what was heard of longest ago is forgotten,
// and strangers never push out those that have answered. Pure; steady times are passed in; one
// loop.

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <utility>

#include "pns/account.hpp"

namespace pns {

class OriginMemory {
  public:
    static constexpr std::size_t answered_max = 1'024;
    static constexpr std::size_t failed_max = 4'096;
    static constexpr std::int64_t patience_ms_first = 400;  ///< then four times as much each time
    static constexpr std::int64_t quiet_wait_ms_first = 1'000;  ///< likewise
    static constexpr std::int64_t unreachable_wait_ms =
        30'000;  ///< a stranger: twice as long again
    static constexpr std::int64_t wait_ms_max = 10 * 60'000;

    /// `key`: secret and random; origins are kept as keyed hashes.
    explicit OriginMemory(std::array<std::uint64_t, 2> key) : key_(key) {}

    void answered(const Origin& origin);
    bool has_answered(const Origin& origin) const;
    enum class Failure : std::uint8_t {
        quiet,        ///< no answer in the time that it got
        unreachable,  ///< no connection came about
    };
    /// It was given up. Returns for how long it is left alone.
    std::int64_t failed(const Origin& origin, Failure failure, std::int64_t now_ms);
    /// No connection before this time; 0: none was given up.
    std::int64_t not_before_ms(const Origin& origin) const;
    /// How long a stranger may take while others wait.
    std::int64_t patience_ms(const Origin& origin) const;
    std::size_t size() const { return answered_.size() + failed_.size(); }

  private:
    struct Failed {
        std::int64_t not_before_ms = 0;
        unsigned times = 0;
    };
    /// At most so many; a new one takes the place of the one put longest ago.
    template <class Value>
    class Recent {
      public:
        explicit Recent(std::size_t count_max) : count_max_(count_max) {}
        const Value* find(std::uint64_t key) const {
            const auto found = by_key_.find(key);
            return found == by_key_.end() ? nullptr : &found->second->second;
        }
        Value& put(std::uint64_t key) {
            const auto found = by_key_.find(key);
            if (found != by_key_.end()) {
                order_.splice(order_.begin(), order_, found->second);
                return order_.front().second;
            }
            if (by_key_.size() >= count_max_) {
                by_key_.erase(order_.back().first);
                order_.pop_back();
            }
            order_.emplace_front(key, Value{});
            by_key_.emplace(key, order_.begin());
            return order_.front().second;
        }
        void erase(std::uint64_t key) {
            const auto found = by_key_.find(key);
            if (found == by_key_.end()) return;
            order_.erase(found->second);
            by_key_.erase(found);
        }
        std::size_t size() const { return by_key_.size(); }

      private:
        using Order = std::list<std::pair<std::uint64_t, Value>>;
        const std::size_t count_max_;
        Order order_;
        std::unordered_map<std::uint64_t, typename Order::iterator> by_key_;
    };

    std::uint64_t hash(const Origin& origin) const;

    const std::array<std::uint64_t, 2> key_;
    Recent<bool> answered_{answered_max};
    Recent<Failed> failed_{failed_max};
};

}  // namespace pns
