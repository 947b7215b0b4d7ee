#pragma once

// Counters and gauges of the process in Prometheus' text exposition. Thread-safe; counting is a
// relaxed atomic add.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace hub {

class Metrics {
  public:
    Metrics();
    ~Metrics();

    /// pushhub_http_requests_total{method,route,status}
    void request(std::string_view method, std::string_view route, int status, double seconds);
    /// pushhub_pushes_total{platform,outcome}
    void pushes(std::string_view platform, std::string_view outcome, std::uint64_t count);
    void retired(std::string_view platform, std::uint64_t count);
    /// pushhub_handles_accused_total{platform,proof}: a provider spoke against a handle, and what
    /// that was worth (hub/send/prune_proof.hpp).
    void accused(std::string_view platform, std::string_view proof);
    void send_opened(std::string_view format);
    /// pushhub_requests_limited_total{by}: answered 429 because of a rate; by key or connection.
    void limited(std::string_view by);
    /// A gauge read when the page is served (queue depths, sends open, registrations, ...).
    void gauge(std::string name, std::string help, std::function<double()> read);
    std::string text() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hub
