#pragma once

// What the files of providers share: reading credentials and messages, refusals. Only
// pns/<name>.cpp calls these. Pure; any thread.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "pns/account.hpp"
#include "pns/handles.hpp"

namespace pns {

/// A property, or empty. Java writes the word `null` for what is not set.
std::string_view property(const Credential& credential, std::string_view name);
/// Names the first of `names` that is missing.
std::optional<Refusal> missing_property(const Credential& credential,
                                        std::initializer_list<std::string_view> names);
Refusal bad_credential(std::string message);
/// May an endpoint of the credential lie there, though it is not the vendor's?
bool is_operators_host(const Credential& credential, const Origin& origin);

/// First value of a message header, or empty.
std::string_view message_header(const Message& message, std::string_view name);
/// Refuses what no provider takes: header names that repeat, values that are not one printable line
/// of 512 bytes.
std::optional<Refusal> check_message_headers(const Message& message, std::string_view prefix);
Refusal bad_format(std::string message);
Refusal bad_size(std::string_view what, std::size_t bytes, std::size_t bytes_max);

/// Does the push have an identity by which a copy of it can replace it? Pushes of sends have.
bool has_identity(const Push& push);
/// The identity in 22 letters, digits, '-' and '_'.
std::string identity_of(const Push& push);

/// Key=value pairs as application/x-www-form-urlencoded.
std::string form_of(std::initializer_list<std::pair<std::string_view, std::string_view>> fields);

/// A login with id and secret (RFC 6749 4.4), with the same form every time.
Fetched login_with(const Url& endpoint, std::string form);
/// Account::token_key of such a login.
std::string login_key(std::string_view platform, const Url& endpoint, std::string_view client_id,
                      std::string_view client_secret);

}  // namespace pns
