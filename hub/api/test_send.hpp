#pragma once

// Test sends (docs/contracts/anh.md 5.6): an ordinary send to few devices whose answer waits for
// the verdicts and tells them device by device.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "hub/http/http.hpp"
#include "hub/send/admission.hpp"

namespace hub {

constexpr std::size_t test_devices_max = 10;
constexpr std::size_t test_calls_max = 10;  ///< per hub and period
constexpr std::int64_t test_period_ms = 60'000;
constexpr std::int64_t test_wait_ms_max = 25'000;  ///< what has no verdict by then is not listed

/// Waits for the verdicts of one test send. On the loop of its handler.
class TestVerdicts {
  public:
    TestVerdicts(const pns::Executor& loop, const Fanout& fanout, std::uint32_t hub);
    /// Has the send go to few devices, and listens to it. Before it is accepted.
    void listen(NewSend& send);
    /// Until every device has its verdict, or test_wait_ms_max. For a send that reaches somebody.
    pns::Task<void> all_in();
    /// Tells the devices that have theirs.
    Response answer() const;

  private:
    /// Lives until both the waiting handler and the fan-out have let go of it.
    struct Waiting;
    const std::shared_ptr<DeviceResults> results_;
    const std::shared_ptr<Waiting> waiting_;
};

}  // namespace hub
