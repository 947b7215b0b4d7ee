#pragma once

// Runs a loop until something has become true; no sleeping, and a bound so that a hang is a
// failure.

#include <boost/asio/io_context.hpp>
#include <chrono>

namespace support {

template <class Predicate>
bool run_until(boost::asio::io_context& loop, Predicate done, int seconds_max = 20) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds_max);
    while (!done()) {
        if (std::chrono::steady_clock::now() > end) return false;
        if (loop.stopped()) loop.restart();
        loop.run_one_for(std::chrono::milliseconds(20));
    }
    return true;
}

}  // namespace support
