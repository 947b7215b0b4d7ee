#pragma once

// Registrations and hubs as Atom (docs/contracts/anh.md 3 and 10.1). Reading takes both body forms
// and any element order; writing uses the order of 3.2. Pure, any thread. Reading:
// hub/device/atom_read.cpp, writing: hub/device/atom.cpp.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "hub/device/handle_check.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/registration.hpp"

namespace hub {

constexpr std::string_view atom_entry_type = "application/atom+xml; type=entry; charset=utf-8";
constexpr std::string_view atom_feed_type = "application/atom+xml; type=feed; charset=utf-8";

/// A request body, or a bare description as bulk files have it. Platform, handle, tags, push
/// variables, tile and template are set and valid; id, ETag and times are left to the caller.
Parsed<registry::Registration> parse_registration(std::string_view body,
                                                  const NormaliseHandle& normalise);
/// The same with the body's RegistrationId, as lines of bulk files have it; empty: none.
Parsed<registry::Registration> parse_bulk_registration(std::string_view body,
                                                       const NormaliseHandle& normalise);
/// The RegistrationId of a description alone; nothing else of it is looked at.
Parsed<std::string> parse_registration_id(std::string_view body);

/// The place of an answer, from which its absolute URLs are made.
struct AtomPlace {
    std::string hub_url;  ///< "https://push.example.com/orders", no trailing slash
    std::string query;    ///< "api-version=2020-06", without '?', may be empty; repeated in ids
    std::int64_t now_ms = 0;
};

/// "https://push.example.com/orders/registrations/<id>?api-version=2020-06"
std::string registration_url(const AtomPlace& place, std::string_view id);

/// The document of 3.4.
std::string registration_entry(const registry::Registration& registration, const AtomPlace& place);
/// The description alone.
std::string registration_description(const registry::Registration& registration);
/// As files of jobs have it: an element RegistrationDescription whose i:type names the kind, which
/// is what .NET's RegistrationDescription.Deserialize reads.
std::string typed_description(const registry::Registration& registration);

/// The feed of 3.7; `path` is what follows the hub in the request ("/registrations",
/// "/tags/x/registrations"), `next_query` the query of the next page, empty on the last.
std::string registration_feed(std::span<const registry::Registration> registrations,
                              const AtomPlace& place, std::string_view path,
                              std::string_view next_query = {});

/// The entry of 10.1 around a NotificationHubDescription (hub_description.hpp). `root_url` is
/// "https://push.example.com".
struct HubEntry {
    std::string name;
    std::string description_xml;
    std::int64_t published_at_ms = 0;
    std::int64_t updated_at_ms = 0;
};
std::string hub_entry(const HubEntry& entry, std::string_view root_url, std::string_view query);
/// `next_query`: that of the next page, empty on the last.
std::string hub_feed(std::span<const HubEntry> entries, std::string_view root_url,
                     std::string_view query, std::int64_t now_ms, std::string_view next_query = {});

/// Any text as the content of CDATA, split where it holds "]]>"; broken UTF-8 is replaced.
void append_cdata(std::string& out, std::string_view text);

}  // namespace hub
