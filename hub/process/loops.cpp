// Tested by tests/hub_loops_test.cpp.

#include "hub/process/loops.hpp"

#include <cstdlib>
#include <functional>

#include "hub/process/log.hpp"

namespace hub {

Loops::Loops(unsigned count) {
    for (unsigned i = 0; i < count; ++i) lanes_.push_back(std::make_unique<Lane>());
    const auto work = [this](Lane& lane) {
        go_.wait(Go::wait);
        if (go_ == Go::end) return;
        Mailbox::set_here(&lane.mailbox);
        try {
            lane.io.run();
        } catch (const std::exception& bug) {
            // A lane that has lost a completion cannot be trusted with the next one.
            log_error("a lane ended by an exception", {{"what", bug.what()}});
            std::abort();
        }
    };
    try {
        for (auto& lane : lanes_) lane->thread = std::thread(work, std::ref(*lane));
    } catch (...) {
        stop();
        throw;
    }
}

Loops::~Loops() {
    stop();
}

void Loops::run() {
    auto waiting = Go::wait;
    if (go_.compare_exchange_strong(waiting, Go::run)) go_.notify_all();
}

void Loops::stop() {
    auto waiting = Go::wait;
    if (go_.compare_exchange_strong(waiting, Go::end)) go_.notify_all();
    for (auto& lane : lanes_) lane->work.reset();
    for (auto& lane : lanes_) {
        if (lane->thread.joinable()) lane->thread.join();
    }
}

StorePool::StorePool(std::size_t threads) : io_(static_cast<int>(threads)) {
    try {
        for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { io_.run(); });
    } catch (...) {
        join();
        throw;
    }
}

void StorePool::join() {
    work_.reset();
    for (auto& thread : threads_) thread.join();
    threads_.clear();
}

}  // namespace hub
