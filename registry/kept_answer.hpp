#pragma once

// What is kept of a request that its client may repeat.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
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

/// What is kept counts in units, so that a bound on them bounds bytes: one for each answer, and one
/// more for each so many bytes of it.
constexpr std::size_t answer_unit_bytes = 4'096;
inline std::uint64_t answer_units(const KeptAnswer& answer) {
    std::size_t bytes = answer.body.size();
    for (const auto& [name, value] : answer.headers) bytes += name.size() + value.size();
    return 1 + bytes / answer_unit_bytes;
}

/// What is kept of one hub.
struct AnswerCounts {
    std::uint64_t answers = 0;
    std::map<std::string, std::uint64_t, std::less<>> units;  ///< by scope; none is 0
    friend bool operator==(const AnswerCounts&, const AnswerCounts&) = default;
};

/// Units: of all hubs, of one, and of one scope in it.
struct AnswerUse {
    std::uint64_t all = 0, hub = 0, scope = 0;
};

}  // namespace registry
