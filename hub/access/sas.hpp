#pragma once

// Shared access signatures (docs/contracts/anh.md 1): who may call. Pure; OpenSSL only for HMAC and
// constant-time comparison. Keys never enter a refusal.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::int64_t sas_skew_s = 300;
constexpr std::size_t sas_header_bytes_max = 8 * 1024;

/// An authorization rule of a hub or of the namespace. The HMAC key is the key's text as it is.
struct Rule {
    std::string name;
    std::string primary_key;
    std::string secondary_key;
    bool listen = false;
    bool send = false;
    bool manage = false;
    std::int64_t created_at_ms = 0;
    std::int64_t modified_at_ms = 0;
    friend bool operator==(const Rule&, const Rule&) = default;
};

struct SasCheck {
    std::string_view authorization;   ///< the header's value; empty = absent
    std::string_view host;            ///< Host of the request, with or without a port
    std::string_view path;            ///< of the request, raw; a query is ignored
    std::span<const Rule> hub_rules;  ///< of the hub the path names; searched first
    std::span<const Rule> namespace_rules;
    std::span<const std::string> hosts{};  ///< names of this namespace; empty = the request's host
    std::int64_t now_s = 0;
    std::int64_t skew_s = sas_skew_s;
};

/// The rule whose key signed the token; points into the spans of the check.
struct SasMatch {
    const Rule* rule = nullptr;
    bool of_namespace = false;
};

/// Validation of docs/contracts/anh.md 1.2 steps 1 to 7; every refusal is a 401 that names its sub
/// code. Rights (step 8) are the route table's.
Parsed<SasMatch> check_sas(const SasCheck& check);

/// The name of the rule that a token says it is signed with, as check_sas() reads it; empty: it is
/// malformed.
std::string rule_named_in(std::string_view authorization);

/// base64(HMAC-SHA256(key, sr + '\n' + se)), both texts as transmitted.
std::string sas_signature(std::string_view key, std::string_view sr, std::string_view se);

/// A header value for our own tools; `uri` is signed lower-cased, as the SDKs do.
std::string make_sas(std::string_view uri, std::string_view rule_name, std::string_view key,
                     std::int64_t expiry_s);

}  // namespace hub
