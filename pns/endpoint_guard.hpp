#pragma once

// Keeps URLs that clients hand in (Web Push endpoints, WNS channels) from leading into the
// operator's network (docs/contracts/pns.md 5.7): which hosts may be named, and which addresses may
// be connected to once a name is resolved. The text of a URL is checked by parse_url()
// (pns/handles.hpp); TlsLink resolves once and connects to the very addresses that were checked.
// Immutable; any thread.

#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pns/account.hpp"
#include "pns/task.hpp"

namespace pns {

class EndpointGuard {
  public:
    static constexpr std::size_t rules_max = 256;

    /// Rules are NAME (that host), *.NAME (hosts below it, on label boundaries) or * (any public
    /// name), each with :PORT when it is not 443. No rules = `otherwise`. errc::bad_push_service if
    /// one is none or there are too many.
    static Result<EndpointGuard> parse(const std::vector<std::string>& rules,
                                       const std::vector<std::string>& otherwise);
    /// Without rules: the push services of the known browsers.
    static Result<EndpointGuard> parse(const std::vector<std::string>& rules);
    /// `origin` as parse_url() made it.
    bool allows(const Origin& origin) const;
    /// The rules in force, in words for an error text: "fcm.googleapis.com, …".
    const std::string& rules_text() const { return text_; }

  private:
    struct Rule {
        std::string name;  // lower case; empty = any
        bool below = false;
        std::uint16_t port = 443;
    };
    std::vector<Rule> rules_;
    std::string text_;
};

/// The push services of Chrome, Edge, Firefox and Safari.
const std::vector<std::string>& known_push_services();
/// Where channels of WNS lie.
const std::vector<std::string>& known_wns_hosts();

/// False for every address that is not of a single host on the public Internet: loopback, private,
/// link-local, shared (CGNAT), documentation, benchmark, multicast, reserved, unspecified, and IPv6
/// forms that carry one of those.
bool is_public_address(const asio::ip::address& address);

}  // namespace pns
