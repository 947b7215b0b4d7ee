#pragma once

// Canonical spellings of device handles, one function per kind of handle, and the rules for URLs in
// them (docs/contracts/pns.md 3.4, 5.7). Whether a push may go to the host is EndpointGuard's.
// Pure; any thread. A refusal never repeats the handle: it is a secret.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pns/account.hpp"
#include "pns/platform.hpp"
#include "pns/text.hpp"

namespace pns {

Checked<std::string> normalise_apns_handle(std::string_view handle);  ///< upper-case hex
Checked<std::string> normalise_fcm_handle(std::string_view handle);
Checked<std::string> normalise_wns_handle(
    std::string_view handle);  ///< http[s]://<host>[:<port>]/<target>, of any host
Checked<std::string> normalise_mpns_handle(std::string_view handle);
Checked<std::string> normalise_adm_handle(std::string_view handle);
Checked<std::string> normalise_baidu_handle(std::string_view handle);    ///< <userId>-<channelId>
Checked<std::string> normalise_browser_handle(std::string_view handle);  ///< compact JSON, see .cpp
Checked<std::string> normalise_xiaomi_handle(std::string_view handle);
/// The origin of a canonical Web Push handle.
std::optional<Origin> browser_origin(std::string_view handle);

/// An absolute http(s) URL of a DNS host: no user info, no fragment, no IP literal, no trailing
/// dot.
struct Url {
    bool secure = true;
    Origin origin;       ///< host in lower case
    std::string target;  ///< path and query, at least "/"
};
std::optional<Url> parse_url(std::string_view text, std::size_t bytes_max = 2048);
/// True when `host` is `domain` or a name below it, on label boundaries. Both lower case.
bool within_domain(std::string_view host, std::string_view domain);

}  // namespace pns
