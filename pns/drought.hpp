#pragma once

// Whether a provider takes nothing though it answers: each answer asks to come again, and each
// asks for a short wait, so that no single one says that something is wrong. Pure, times are passed
// in (any clock that does not step); one loop.

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "pns/breaker.hpp"

namespace pns {

class Drought {
  public:
    /// Nothing was taken for so long: that is worth telling. More than one wait of a second.
    static constexpr std::int64_t begins_after_ms = 1'500;

    /// An answer took no push and asks to come again after `after_ms`. `of_all`: it says so of
    /// every push; otherwise several targets have to get such answers. True while there is a
    /// drought.
    bool put_off(std::string_view target, std::int64_t after_ms, bool of_all, std::int64_t now_ms) {
        if (!dry_ || now_ms > next_ms_) {
            dry_ = true;
            since_ms_ = now_ms;
            targets_ = {};
        }
        const std::int64_t wait_ms = std::clamp<std::int64_t>(after_ms, 0, wait_ms_max);
        next_ms_ = std::max(next_ms_, now_ms + wait_ms + pause_ms_max);
        if (now_ms - since_ms_ < begins_after_ms) return false;
        return of_all || targets_.seen(target, now_ms);
    }
    /// An answer that said something else of a push, whatever it was.
    void taken() { dry_ = false; }

  private:
    /// When nobody asked for so long, nothing is known of the time between.
    static constexpr std::int64_t pause_ms_max = 10'000;
    static constexpr std::int64_t wait_ms_max = 86'400'000;

    bool dry_ = false;
    std::int64_t since_ms_ = 0, next_ms_ = 0;
    ManyTargets targets_;
};

}  // namespace pns
