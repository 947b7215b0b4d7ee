#pragma once

// Rules that send connections for a provider's name elsewhere, for tests and simulators:
// HOST:PORT=ADDRESS:PORT. Name and certificate checks still use HOST. Pure; any thread. What bounds
// every connection of a process goes the same way.

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "pns/task.hpp"

namespace pns {

struct Target {
    std::string host;  ///< name or address literal, IPv6 without brackets
    std::uint16_t port = 443;
    bool public_only =
        false;  ///< connect to no private or special address (pns/endpoint_guard.hpp)
    /// A socket with this number or a higher one is not used: the descriptors that are left then
    /// belong to others.
    int descriptors_below = std::numeric_limits<int>::max();
    friend bool operator==(const Target&, const Target&) = default;
};

class ConnectTo {
  public:
    /// errc::bad_connect_to if a rule is none. HOST ignores case; "*.example" covers every name
    /// under example, not itself.
    static Result<ConnectTo> parse(const std::vector<std::string>& rules,
                                   int descriptors_below = std::numeric_limits<int>::max());
    /// Where to connect for host:port: by the first rule that covers it, else there.
    Target resolve(std::string_view host, std::uint16_t port) const;

  private:
    struct Rule {
        std::string host;  // lower case, without "*."
        bool wildcard = false;
        std::uint16_t port = 0;
        Target target;
    };
    std::vector<Rule> rules_;
    int descriptors_below_ = std::numeric_limits<int>::max();
};

}  // namespace pns
