// Tested by tests/hub_shares_test.cpp.

#include "hub/process/shares.hpp"

#include <algorithm>
#include <cassert>
#include <mutex>

namespace hub {

namespace {

std::uint64_t part_of(std::uint64_t places, std::uint64_t percent) {
    return places / 100 * percent + places % 100 * percent / 100;
}

}  // namespace

// What a hub holds beyond its own and what the others hold are never more than the pool together:
// then each of the others still finds its own.
std::uint64_t share_of(std::uint64_t places_max, std::uint64_t others, const ShareRule& rule) {
    const std::uint64_t left = places_max - std::min(others, places_max);
    const std::uint64_t kept = places_max - part_of(places_max, rule.percent);
    const std::uint64_t own = kept / std::max<std::uint64_t>(rule.hubs, 1);
    const std::uint64_t pool = places_max - own * std::max<std::uint64_t>(rule.hubs, 1);
    const std::uint64_t share = own + part_of(pool - std::min(others, pool), rule.percent);
    return std::min(left, std::max<std::uint64_t>(share, 1));
}

struct Shares::State {
    struct Held {
        std::uint32_t hub;
        std::uint64_t count;
    };

    std::vector<Held>::iterator at(std::uint32_t hub) {
        return std::lower_bound(
            held.begin(), held.end(), hub,
            [](const Held& one, std::uint32_t number) { return one.hub < number; });
    }
    std::uint64_t held_by(std::uint32_t hub) {
        const auto mine = at(hub);
        return mine != held.end() && mine->hub == hub ? mine->count : 0;
    }
    void add(std::uint32_t hub, std::uint64_t count) {
        auto mine = at(hub);
        if (mine == held.end() || mine->hub != hub) mine = held.insert(mine, {hub, 0});
        mine->count += count;
        used += count;
    }
    /// How many more the hub may have; none: why.
    std::uint64_t room(std::uint32_t hub, Full& why) {
        const std::uint64_t mine = held_by(hub);
        const std::uint64_t all = places_max();
        if (used >= all) {
            why = Full::all;
            return 0;
        }
        const std::uint64_t share = share_of(all, used - mine, rule());
        why = mine >= share ? Full::hub : Full::no;
        return mine >= share ? 0 : share - mine;
    }

    std::string_view name, what;
    Read places_max;
    ReadRule rule;
    std::mutex mutex;
    std::vector<Held> held;  // by hub; none holds 0; this and the next: under the mutex
    std::uint64_t used = 0;
};

Shares::Shares(std::string_view name, std::string_view what, Read places_max, ReadRule rule)
    : state_(std::make_shared<State>()) {
    state_->name = name;
    state_->what = what;
    state_->places_max = std::move(places_max);
    state_->rule = std::move(rule);
}

Shares::Place& Shares::Place::operator=(Place&& other) noexcept {
    if (this == &other) return *this;
    give_back();
    state_ = std::move(other.state_);
    hub_ = other.hub_;
    count_ = std::exchange(other.count_, 0);
    full_ = other.full_;
    return *this;
}

void Shares::Place::shrink(std::uint64_t count) {
    if (count >= count_) return;
    const std::uint64_t back = count_ - count;
    count_ = count;
    const std::lock_guard lock(state_->mutex);
    const auto mine = state_->at(hub_);
    assert(mine != state_->held.end() && mine->hub == hub_ && mine->count >= back);
    mine->count -= back;
    state_->used -= back;
    if (mine->count == 0) state_->held.erase(mine);
}

void Shares::Place::add(Place&& more) {
    if (!more) return;
    if (count_ == 0) {
        *this = std::move(more);
        return;
    }
    assert(state_ == more.state_ && hub_ == more.hub_);
    count_ += std::exchange(more.count_, 0);
}

Shares::Place Shares::take(std::uint32_t hub, std::uint64_t wanted) {
    Place place;
    const std::lock_guard lock(state_->mutex);
    const std::uint64_t count = std::min(state_->room(hub, place.full_), wanted);
    if (count == 0) return place;
    state_->add(hub, count);
    place.state_ = state_;
    place.hub_ = hub;
    place.count_ = count;
    return place;
}

Shares::Place Shares::take_anyway(std::uint32_t hub, std::uint64_t count) {
    Place place;
    if (count == 0) return place;
    const std::lock_guard lock(state_->mutex);
    state_->add(hub, count);
    place.state_ = state_;
    place.hub_ = hub;
    place.count_ = count;
    return place;
}

Full Shares::full(std::uint32_t hub) const {
    Full why = Full::no;
    const std::lock_guard lock(state_->mutex);
    state_->room(hub, why);
    return why;
}

std::string Shares::why(Full full) const {
    const std::string what(state_->what);
    if (full == Full::hub) {
        return "This hub has its own share of all " + what +
               "; the places that are left are for other hubs.";
    }
    return "There are too many " + what + ".";
}

std::string_view Shares::name() const {
    return state_->name;
}

std::uint64_t Shares::used() const {
    const std::lock_guard lock(state_->mutex);
    return state_->used;
}

std::vector<Shares::Use> Shares::uses() const {
    std::vector<Use> out;
    const std::lock_guard lock(state_->mutex);
    const std::uint64_t all = state_->places_max();
    const ShareRule rule = state_->rule();
    for (const State::Held& one : state_->held)
        out.push_back({one.hub, one.count, share_of(all, state_->used - one.count, rule)});
    return out;
}

}  // namespace hub
