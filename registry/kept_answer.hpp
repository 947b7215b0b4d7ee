#pragma once

// What is kept of a request that its client may repeat.

#include <cstdint>
#include <string>

#include "registry/registration.hpp"

namespace registry {

/// What was answered to a request whose client may repeat it under the same key. `status` 0: the
/// request was begun, and `body` is the id chosen for what it creates.
struct KeptAnswer {
    std::string scope;        ///< who asked: keys of different callers never meet
    std::string key;          ///< as the client chose it
    std::string fingerprint;  ///< hash of the request
    std::int64_t kept_at_ms = 0;
    std::int64_t expires_at_ms = 0;
    std::uint16_t status = 0;
    Headers headers;
    std::string body;
    friend bool operator==(const KeptAnswer&, const KeptAnswer&) = default;
};

}  // namespace registry
