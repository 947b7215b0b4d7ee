#pragma once

// URLs of blobs and containers at services that speak Azure Blob's REST (docs/contracts/anh.md 9):
// https only. They may hold signatures: no refusal repeats one. Pure, any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hub/text/wire_error.hpp"

namespace hub {

struct BlobUrl {
    std::string host;  ///< lower case
    std::uint16_t port = 443;
    std::string path;   ///< as given, begins with '/'
    std::string query;  ///< without '?'
};
/// https only; no user information, no fragment, printable.
Parsed<BlobUrl> parse_blob_url(std::string_view text);
/// The URL of a blob in a container.
BlobUrl blob_in(const BlobUrl& container, std::string_view name);
/// Is the host on the list? Entries: "name", "name:port", "*.name".
bool is_allowed_host(const BlobUrl& url, const std::vector<std::string>& allowed);
/// The same by an entry that is HOST or HOST:PORT, not *.DOMAIN.
bool is_named_host(const BlobUrl& url, const std::vector<std::string>& allowed);

}  // namespace hub
