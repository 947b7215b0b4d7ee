#pragma once

// One simulator as seen through its control port: plain HTTP on loopback. Calls block and throw
// std::runtime_error.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace bench {

class SimControl {
  public:
    explicit SimControl(std::string url) : url_(std::move(url)) {}

    /// From now on these handles are answered as gone.
    void kill(const std::vector<std::string>& handles) const;
    /// What goes wrong from now on, as pns::sim::read_faults() reads it, in place of what did.
    void set_faults(const nlohmann::json& faults) const;
    /// From now on a fast one writes each answer alone, with all that the real provider sends.
    void answer_each_alone(bool on) const;
    /// Ends all connections with a TCP reset, until none is left.
    void reset_connections() const;
    /// Empties the list of accepted pushes.
    void forget() const;

    struct Accepted {
        std::vector<std::string>
            handles;  ///< of accepted pushes since forget(), in the order of arrival
        std::int64_t first_at_ms = 0, last_at_ms = 0;  ///< wall clock; 0 = none
    };
    Accepted accepted() const;
    /// Only the figures: pushes taken since forget(), and when the first and last of them came.
    struct Taken {
        std::uint64_t pushes = 0;
        std::int64_t first_at_us = 0, last_at_us = 0;  ///< wall clock; 0 = none
    };
    Taken taken() const;
    /// Of what was taken since forget(): pushes that had been taken before.
    std::uint64_t doubles() const;
    struct Arrival {
        std::int64_t at_us = 0;  ///< wall clock
        std::string handle;
    };
    std::vector<Arrival> arrivals() const;  ///< accepted pushes on record, in order
    /// The last body that arrived for a handle; nothing if the simulator kept none: it keeps the
    /// bodies of so many handles.
    std::optional<std::string> body_of(const std::string& handle) const;

  private:
    std::string url_;
};

}  // namespace bench
