#pragma once

// Whether something that refuses or does not answer may be asked now: a provider that is unwell, a
// credential that is refused. It shuts after enough bad news with no good news between; while it is
// shut one probe at a time finds out whether it may open again. The first good news opens it, at
// full rate. Pure, times are passed in (any clock that does not step); one loop.

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "pns/retry_policy.hpp"

namespace pns {

class Breaker {
  public:
    struct Limits {
        unsigned bad_in_row_max = 8;       ///< so much bad news in a row shuts it
        std::int64_t quiet_ms_min = 0;     ///< and no good news for so long
        std::int64_t wait_ms_min = 1'000;  ///< between probes: as patient_wait_ms() grows
        std::int64_t wait_ms_max = 1'000;
    };

    explicit Breaker(Limits limits) : limits_(limits) {}

    bool shut() const { return shut_; }
    /// Not shut, but nothing good has come since the last bad news.
    bool doubtful() const { return !shut_ && bad_in_row_ > 0; }
    /// A probe may go out: it is shut, its time has come, and no other probe is on its way.
    bool may_probe(std::int64_t now_ms) const {
        return shut_ && !probing_ && now_ms >= probe_at_ms_;
    }
    /// When may_probe() becomes true by time; only while it is shut.
    std::int64_t probe_at_ms() const { return probe_at_ms_; }

    /// Something has changed on our side: a probe may go out without waiting.
    void probe_now(std::int64_t now_ms) { probe_at_ms_ = std::min(probe_at_ms_, now_ms); }
    /// The other side may be well again: a probe need only wait for what the other side has asked.
    void probe_soon(std::int64_t now_ms) {
        probe_at_ms_ = std::max(asked_until_ms_, std::min(probe_at_ms_, now_ms));
    }
    void probe_sent() { probing_ = true; }
    /// The probe came back and said nothing: another one may go at once.
    void probe_lost() { probing_ = false; }

    void good(std::int64_t now_ms) {
        shut_ = probing_ = false;
        bad_in_row_ = 0;
        good_ms_ = now_ms;
    }
    /// `wish_ms`: nothing more before so long, as far as the other side said.
    void bad(std::int64_t now_ms, std::int64_t wish_ms, bool of_probe) {
        if (bad_in_row_ == 0) bad_since_ms_ = now_ms;
        ++bad_in_row_;
        asked_until_ms_ = now_ms + wish_ms;
        if (of_probe && shut_) {
            probing_ = false;
            const std::int64_t wait_ms =
                patient_wait_ms(now_ms - shut_ms_, limits_.wait_ms_min, limits_.wait_ms_max);
            probe_at_ms_ = now_ms + std::max(wait_ms, wish_ms);
            return;
        }
        const std::int64_t quiet_ms = now_ms - std::max(good_ms_, bad_since_ms_);
        const bool enough =
            bad_in_row_ >= limits_.bad_in_row_max && quiet_ms >= limits_.quiet_ms_min;
        if (enough && !shut_) trip(now_ms, limits_.wait_ms_min);
        if (shut_) probe_at_ms_ = std::max(probe_at_ms_, now_ms + wish_ms);
    }
    /// Shuts it at once; the next probe goes after `wait_ms`.
    void trip(std::int64_t now_ms, std::int64_t wait_ms) {
        probe_at_ms_ = shut_ ? std::max(probe_at_ms_, now_ms + wait_ms) : now_ms + wait_ms;
        if (!shut_) shut_ms_ = now_ms;
        shut_ = true;
    }

  private:
    Limits limits_;
    bool shut_ = false;
    bool probing_ = false;
    unsigned bad_in_row_ = 0;
    std::int64_t bad_since_ms_ = 0;
    std::int64_t good_ms_ = 0;
    std::int64_t shut_ms_ = 0;  // when it shut
    std::int64_t probe_at_ms_ = 0;
    std::int64_t asked_until_ms_ = 0;  // by the last bad news
};

/// Several different targets got the same word within a short time: it is not about one of them.
/// Pure; remembers the last few.
class ManyTargets {
  public:
    static constexpr std::size_t enough = 4;
    static constexpr std::int64_t within_ms = 10'000;

    /// True if with this target it is enough.
    bool seen(std::string_view target, std::int64_t now_ms) {
        std::size_t others = 0;
        for (const Seen& one : last_) {
            others += one.at_ms != 0 && one.target != target && now_ms - one.at_ms <= within_ms;
        }
        const auto same = std::find_if(last_.begin(), last_.end(),
                                       [&](const Seen& one) { return one.target == target; });
        if (same != last_.end()) {
            same->at_ms = now_ms;
        } else {
            last_[next_] = {std::string(target), now_ms};
            next_ = (next_ + 1) % (enough - 1);
        }
        return others + 1 >= enough;
    }

  private:
    struct Seen {
        std::string target;
        std::int64_t at_ms = 0;
    };
    std::array<Seen, enough - 1> last_;
    std::size_t next_ = 0;
};

}  // namespace pns
