#include "pns/clock.hpp"

#include <chrono>

namespace pns {

namespace {

template <class Clock, class Unit>
std::int64_t now_in() {
    return std::chrono::duration_cast<Unit>(Clock::now().time_since_epoch()).count();
}

}  // namespace

std::int64_t steady_now_us() {
    return now_in<std::chrono::steady_clock, std::chrono::microseconds>();
}

std::int64_t steady_now_ms() {
    return now_in<std::chrono::steady_clock, std::chrono::milliseconds>();
}

std::int64_t wall_now_us() {
    return now_in<std::chrono::system_clock, std::chrono::microseconds>();
}

std::int64_t wall_now_ms() {
    return now_in<std::chrono::system_clock, std::chrono::milliseconds>();
}

}  // namespace pns
