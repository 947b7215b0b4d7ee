// Tested by tests/hub_log_test.cpp and tests/hub_outage_test.cpp.
//
// A listener keeps what is unwell by host and has a mutex of its own, so that senders wait for
// nobody else. A sender that replaced another hears through the new listener; what an old one still
// says after forget() reaches nobody.

#include "hub/send/provider_health.hpp"

#include <algorithm>
#include <utility>

#include "hub/process/log.hpp"
#include "hub/process/log_limit.hpp"
#include "hub/text/times.hpp"
#include "pns/platform.hpp"

namespace hub {

namespace {

constexpr unsigned lines_max = 12;
constexpr std::int64_t lines_period_ms = 60'000;
/// What is well before so long was unwell for one loop alone.
constexpr std::int64_t unwell_ms_min = 1'000;

std::string_view begins(pns::Trouble trouble) {
    switch (trouble) {
        case pns::Trouble::throttled:
            return "a provider throttles";
        case pns::Trouble::unreachable:
            return "a provider is unreachable";
        case pns::Trouble::refused:
            return "a provider refuses the credential";
    }
    return {};
}

}  // namespace

std::string_view trouble_name(pns::Trouble trouble) {
    switch (trouble) {
        case pns::Trouble::throttled:
            return "throttled";
        case pns::Trouble::unreachable:
            return "unreachable";
        case pns::Trouble::refused:
            return "refused";
    }
    return {};
}

class ProviderHealth::Listener final : public pns::HealthListener {
  public:
    Listener(std::string hub, std::string_view platform, const pns::Clock& clock)
        : hub_(std::move(hub)), platform_(platform), clock_(clock) {}

    void unwell(pns::Trouble trouble, std::string_view host, std::string_view reason) override {
        const std::lock_guard lock(mutex_);
        if (over_) return;
        const std::int64_t now_ms = clock_.steady_ms();
        const auto known = unwell_.find(host);
        if (known == unwell_.end() && unwell_.size() >= hosts_max) return;
        // Who is throttled while nothing gets through hears of the graver of the two.
        if (known != unwell_.end() && known->second.trouble >= trouble) {
            known->second.last_ms = now_ms;
            known->second.answered = false;
            return;
        }
        State& state = unwell_[std::string(host)];
        state.trouble = trouble;
        state.last_ms = now_ms;
        state.answered = false;
        if (known == unwell_.end()) state.since_ms = now_ms;
        any_unwell_ = true;
        const auto left_out = limit_.allow(host, now_ms);
        if (!left_out) return;
        state.told = true;
        log_warn(begins(trouble), {{"hub", hub_},
                                   {"platform", platform_},
                                   {"host", std::string(host)},
                                   {"why", std::string(reason)},
                                   {"lines_left_out", lines_left_out(*left_out)}});
    }

    void well(std::string_view host) override {
        const std::lock_guard lock(mutex_);
        const auto known = unwell_.find(host);
        if (known != unwell_.end()) known->second.answered = true;
        settle();
    }

    /// Tells of hosts that have answered, and that no loop has had trouble with since.
    void look() {
        const std::lock_guard lock(mutex_);
        settle();
    }

    void end() {
        const std::lock_guard lock(mutex_);
        over_ = true;
        unwell_.clear();
        any_unwell_ = false;
    }
    void add_to(std::vector<Unwell>& out, std::size_t platform) const {
        const std::lock_guard lock(mutex_);
        for (const auto& known : unwell_) {
            const pns::Trouble trouble = known.second.trouble;
            const bool listed = std::any_of(out.begin(), out.end(), [&](const Unwell& one) {
                return one.hub == hub_ && one.platform == platform && one.trouble == trouble;
            });
            if (!listed) out.push_back({hub_, platform, trouble});
        }
    }

  private:
    struct State {
        pns::Trouble trouble = pns::Trouble::throttled;
        std::int64_t since_ms = 0, last_ms = 0;  ///< steady clock
        bool told = false;                       ///< its beginning is in the log
        bool answered = false;                   ///< since the last trouble
    };

    void settle() {
        const std::int64_t now_ms = clock_.steady_ms();
        for (auto one = unwell_.begin(); one != unwell_.end();) {
            const auto& [host, state] = *one;
            if (!state.answered || now_ms - state.last_ms < unwell_ms_min) {
                ++one;
                continue;
            }
            const std::int64_t for_ms = now_ms - state.since_ms;
            if (state.told) {
                log_info("a provider is well again",
                         {{"hub", hub_},
                          {"platform", platform_},
                          {"host", host},
                          {"was", std::string(trouble_name(state.trouble))},
                          {"since", iso_ms(clock_.wall_ms() - for_ms)},
                          {"seconds", std::to_string(for_ms / 1'000)}});
            }
            one = unwell_.erase(one);
        }
        any_unwell_ = !unwell_.empty();
    }

    const std::string hub_, platform_;
    const pns::Clock& clock_;
    mutable std::mutex mutex_;
    bool over_ = false;
    std::map<std::string, State, std::less<>> unwell_;
    LogLimit limit_{lines_max, 4 * lines_max, lines_period_ms};
};

std::shared_ptr<pns::HealthListener> ProviderHealth::listener(std::uint32_t hub,
                                                              std::size_t platform) {
    const auto state = hubs_.find(hub);
    const std::lock_guard lock(mutex_);
    auto& known = listeners_[{hub, platform}];
    if (!known) {
        known = std::make_shared<Listener>(state ? state->row.name : std::to_string(hub),
                                           pns::platforms()[platform].name, clock_);
    }
    return known;
}

void ProviderHealth::look() {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, listener] : listeners_) {
        if (listener->any_unwell()) listener->look();
    }
}

void ProviderHealth::forget(std::uint32_t hub) {
    const std::lock_guard lock(mutex_);
    std::erase_if(listeners_, [hub](const auto& one) {
        if (one.first.first == hub) one.second->end();
        return one.first.first == hub;
    });
}

std::vector<ProviderHealth::Unwell> ProviderHealth::unwell() const {
    std::vector<Unwell> out;
    const std::lock_guard lock(mutex_);
    for (const auto& [key, listener] : listeners_) listener->add_to(out, key.second);
    return out;
}

}  // namespace hub
