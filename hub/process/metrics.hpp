#pragma once

// Counters, gauges and histograms of the process in Prometheus' text exposition; docs/metrics.md
// lists each. Thread-safe; counting takes a short lock. Nothing that strangers choose becomes a
// label, and what operators choose is bounded: hubs beyond hubs_max and reasons beyond reasons_max
// are "other".

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hub {

class Metrics {
  public:
    static constexpr std::size_t hubs_max = 50;     ///< with a label of their own
    static constexpr std::size_t reasons_max = 40;  ///< a platform

    Metrics();
    ~Metrics();

    void request(std::string_view method, std::string_view route, int status, double seconds);
    void pushes(std::string_view hub, std::string_view platform, std::string_view outcome,
                std::uint64_t count);
    /// Answers of a provider and what else an attempt to push may come to, final or not.
    void attempts(std::string_view hub, std::string_view platform, std::string_view result,
                  std::uint64_t count);
    /// A provider did not take pushes; `reason` is its word, or ours (hub/send/attempt_counts.hpp).
    void refused(std::string_view platform, std::string_view reason, std::uint64_t count);
    /// The provider took pushes at this time (wall clock).
    void succeeded(std::string_view hub, std::string_view platform, std::int64_t at_ms);
    /// One push of a sample: from its rendering to its writing, and from there to the answer.
    void push_times(std::string_view platform, double queued_seconds, double answered_seconds);
    void retired(std::string_view hub, std::string_view platform, std::uint64_t count);
    /// A provider spoke against a handle, and what that was worth (hub/send/prune_proof.hpp).
    void accused(std::string_view platform, std::string_view proof);
    void send_opened(std::string_view hub, std::string_view format);
    /// From its acceptance to its last checkpoint.
    void send_ended(std::string_view hub, std::string_view state, double seconds);
    /// Answered 429 because of a rate; by key or connection.
    void limited(std::string_view by);

    using Labels = std::vector<std::pair<std::string, std::string>>;
    struct Sample {
        Labels labels;
        double value = 0;
    };
    using Read = std::function<double()>;
    using ReadAll = std::function<std::vector<Sample>()>;
    /// Read when the page is served. A gauge goes up and down; a counter only goes up, and its name
    /// ends in _total. Names have base units: _seconds, _bytes.
    void gauge(std::string name, std::string help, Read read);
    void gauges(std::string name, std::string help, ReadAll read);
    void counter(std::string name, std::string help, Read read);

    /// As the label `hub` has it.
    std::string hub_label(std::string_view hub);
    std::string text() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hub
