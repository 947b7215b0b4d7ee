// Tested by tests/hub_loops_test.cpp.

#include "hub/process/loops.hpp"

#include <cstdlib>

#include "hub/process/log.hpp"

namespace hub {

Loops::Loops(unsigned count) {
    for (unsigned i = 0; i < count; ++i) lanes_.push_back(std::make_unique<Lane>());
}

Loops::~Loops() {
    stop();
}

void Loops::run() {
    for (auto& lane : lanes_) {
        lane->thread = std::thread([&lane = *lane] {
            Mailbox::set_here(&lane.mailbox);
            try {
                lane.io.run();
            } catch (const std::exception& bug) {
                // A lane that has lost a completion cannot be trusted with the next one.
                log_error("a lane ended by an exception", {{"what", bug.what()}});
                std::abort();
            }
        });
    }
}

void Loops::stop() {
    for (auto& lane : lanes_) lane->work.reset();
    for (auto& lane : lanes_) {
        if (lane->thread.joinable()) lane->thread.join();
    }
}

}  // namespace hub
