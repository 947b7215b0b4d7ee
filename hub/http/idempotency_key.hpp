#pragma once

// What an idempotency key is, and which requests are the same. Pure, any thread.

#include <cstddef>
#include <string>

#include "hub/http/http.hpp"
#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t idempotency_key_bytes_max = 255;

/// The key of a request: printable ASCII without blanks, with or without quotes around it.
Parsed<std::string> read_idempotency_key(const Request& request);
/// What makes two requests the same: method, address, headers that mean something, body.
std::string request_fingerprint(const Request& request);

}  // namespace hub
