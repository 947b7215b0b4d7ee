#pragma once

// A provider that only speaks HTTP/2 and says 200 after a fixed time, or nothing: the far end of
// `pushhub bench wire`. It has a thread of its own.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "pns/own_authority.hpp"

namespace bench {

struct WireSinkOptions {
    pns::CertificatePair certificate;
    std::uint32_t streams_max = 1'000;  ///< per connection
    std::int64_t delay_us = 0;          ///< between a request and its answer
    bool stall = false;                 ///< takes requests and never answers
};

class WireSink {
  public:
    /// Listens on a free port of 127.0.0.1. Throws boost::system::system_error.
    explicit WireSink(const WireSinkOptions& options);
    ~WireSink();
    WireSink(const WireSink&) = delete;
    WireSink& operator=(const WireSink&) = delete;

    /// The rule that leads HOST:443 here.
    std::string rule(const std::string& host) const;
    std::uint64_t connects() const { return connects_.load(std::memory_order_relaxed); }
    /// Average time from the arrival of a request to the writing of its answer.
    double response_us() const;

  private:
    struct Serving;
    struct Conversation;

    std::atomic<std::uint64_t> connects_{0}, answered_{0}, waited_us_{0};
    std::uint16_t port_ = 0;
    std::unique_ptr<Serving> serving_;
    std::thread thread_;
};

}  // namespace bench
