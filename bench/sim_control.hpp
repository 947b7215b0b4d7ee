#pragma once

// One simulator as seen through its control port: plain HTTP on loopback. Calls block and throw
// std::runtime_error.

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

class SimControl {
  public:
    explicit SimControl(std::string url) : url_(std::move(url)) {}

    /// From now on these handles are answered as gone.
    void kill(const std::vector<std::string>& handles) const;
    /// Empties the list of accepted pushes.
    void forget() const;

    struct Accepted {
        std::vector<std::string>
            handles;  ///< of accepted pushes since forget(), in the order of arrival
        std::int64_t first_at_ms = 0, last_at_ms = 0;  ///< wall clock; 0 = none
    };
    Accepted accepted() const;
    /// The last body that arrived for a handle.
    std::string body_of(const std::string& handle) const;

  private:
    std::string url_;
};

}  // namespace bench
