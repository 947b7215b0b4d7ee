#pragma once

// The answer of an OAuth token endpoint (RFC 6749 5). Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "pns/account.hpp"

namespace pns {

struct OauthToken {
    std::string access_token;
    std::int64_t life_s = 0;
};
struct OauthRefusal {
    bool configuration = false;  ///< trying again with the same credential is of no use
    std::string reason;          ///< status, OAuth error code and description, printable
    std::int64_t retry_after_ms = 0;
};

/// `expires_in` may be a number or a string; missing or senseless it counts as five minutes.
std::variant<OauthToken, OauthRefusal> read_oauth_answer(const Answer& answer);

}  // namespace pns
