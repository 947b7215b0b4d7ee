#pragma once

// Places of which the process has a bounded number and that all hubs share: sends that are open,
// readers of events, ... One Shares counts one kind of them, by hub, and says who may have one
// more.
//
// A part of the places (what Config::hub_share_percent leaves of 100) is kept for all hubs alike:
// of these each hub has its own, whatever others do. Of the rest a hub gets at most that percentage
// of what the others leave. So a hub never takes the last place of another, however many places
// some take, and however many hubs do so together. While there is a single hub, it has everything.
//
// Copies share what they count. Thread-safe, and a Place belongs to who holds it. Taking and giving
// back is a short lock and a search among the hubs that hold places.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/process/config.hpp"

namespace hub {

struct ShareRule {
    std::uint64_t percent = 100;
    std::uint64_t hubs = 1;  ///< that share the places
};

/// How many of `places_max` places one hub may hold while the others hold `others`; one at least if
/// there is one.
std::uint64_t share_of(std::uint64_t places_max, std::uint64_t others, const ShareRule& rule);

/// Why there is no place.
enum class Full : std::uint8_t {
    no,
    hub,  ///< the hub has its own share; there are places for others
    all,  ///< there is none for anybody
};

class Shares {
    struct State;

  public:
    using Read = std::function<std::uint64_t()>;  ///< this and the next: any thread
    using ReadRule = std::function<ShareRule()>;

    /// `name`: of the places, for metrics; `what`: the same in words for who is refused one ("sends
    /// at work"). Both are constants. `places_max` and `rule` are read at each use and must not
    /// call the Shares.
    Shares(std::string_view name, std::string_view what, Read places_max, ReadRule rule);

    /// Places of one hub, given back when it is destroyed. It may outlive the Shares.
    class Place {
      public:
        Place() = default;
        Place(Place&& other) noexcept { *this = std::move(other); }
        Place& operator=(Place&& other) noexcept;
        ~Place() { give_back(); }
        /// There is a place.
        explicit operator bool() const { return count_ > 0; }
        std::uint64_t count() const { return count_; }
        Full full() const { return full_; }  ///< if there is none: why
        /// Leaves `count` of them.
        void shrink(std::uint64_t count);
        /// `more` are of the same hub and kind, and become a part of these.
        void add(Place&& more);
        void give_back() { shrink(0); }

      private:
        friend class Shares;
        std::shared_ptr<State> state_;
        std::uint32_t hub_ = 0;
        std::uint64_t count_ = 0;
        Full full_ = Full::no;
    };

    /// One place, or up to `wanted`; none if there is none.
    Place take(std::uint32_t hub, std::uint64_t wanted = 1);
    /// The same beyond all bounds: for what an earlier process had taken.
    Place take_anyway(std::uint32_t hub, std::uint64_t count = 1);
    /// Could take() give one now?
    Full full(std::uint32_t hub) const;

    /// For who is refused: a sentence.
    std::string why(Full full) const;
    std::string_view name() const;
    std::uint64_t used() const;
    struct Use {
        std::uint32_t hub = 0;
        std::uint64_t used = 0;
        std::uint64_t share = 0;  ///< it may hold so many now
    };
    /// Of the hubs that hold places, by number.
    std::vector<Use> uses() const;

  private:
    std::shared_ptr<State> state_;
};

/// What Shares is to read as its rule: Config::hub_share_percent, or all while there is a single
/// hub. `hubs` has count(). Both outlive it.
template <class Hubs>
Shares::ReadRule share_rule(const Config& config, const Hubs& hubs) {
    return [&config, &hubs] {
        ShareRule rule;
        rule.hubs = std::max<std::uint64_t>(hubs.count(), 1);
        if (rule.hubs > 1) rule.percent = config.hub_share_percent;
        return rule;
    };
}

}  // namespace hub
