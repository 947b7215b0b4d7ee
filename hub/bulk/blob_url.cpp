// Tested by tests/hub_blob_client_test.cpp.

#include "hub/bulk/blob_url.hpp"

#include <algorithm>
#include <charconv>

#include "hub/text/text.hpp"

namespace hub {

Parsed<BlobUrl> parse_blob_url(std::string_view text) {
    const auto wrong = [] {
        return bad_request("A blob URL must be https://HOST/PATH without user information.");
    };
    constexpr std::string_view scheme = "https://";
    if (lower(text.substr(0, scheme.size())) != scheme) return wrong();
    const bool printable = std::all_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte > 0x20 && byte < 0x7f && c != '#' && c != '@' && c != '"' && c != '<';
    });
    if (!printable) return wrong();
    text.remove_prefix(scheme.size());
    const auto slash = std::min(text.find_first_of("/?"), text.size());
    std::string_view host = text.substr(0, slash);
    text.remove_prefix(slash);
    BlobUrl url;
    const auto colon = host.rfind(':');
    if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos) {
        const auto digits = host.substr(colon + 1);
        std::uint16_t port = 0;
        const auto [end, failure] =
            std::from_chars(digits.data(), digits.data() + digits.size(), port);
        if (failure != std::errc() || end != digits.data() + digits.size() || port == 0)
            return wrong();
        url.port = port;
        host = host.substr(0, colon);
    }
    if (host.empty() || host.size() > 253) return wrong();
    url.host = lower(host);
    const auto question = std::min(text.find('?'), text.size());
    url.path = text.substr(0, question);
    url.query = text.substr(std::min(question + 1, text.size()));
    if (url.path.empty()) url.path = "/";
    return url;
}

BlobUrl blob_in(const BlobUrl& container, std::string_view name) {
    BlobUrl url = container;
    while (url.path.ends_with('/')) url.path.pop_back();
    url.path += '/';
    while (!name.empty()) {
        const auto end = std::min(name.find('/'), name.size());
        append_percent_encoded(url.path, name.substr(0, end));
        if (end < name.size()) url.path += '/';
        name.remove_prefix(std::min(end + 1, name.size()));
    }
    return url;
}

namespace {

bool covers(const std::string& entry, const BlobUrl& url, bool by_name_only) {
    std::string name = lower(entry);
    std::uint64_t port = 443;
    if (const auto colon = name.rfind(':'); colon != std::string::npos) {
        port = 0;
        std::from_chars(name.data() + colon + 1, name.data() + name.size(), port);
        name.resize(colon);
    }
    if (port != url.port) return false;
    if (!name.starts_with("*.")) return name == url.host;
    return !by_name_only && url.host.size() + 1 > name.size() && url.host.ends_with(name.substr(1));
}

}  // namespace

bool is_allowed_host(const BlobUrl& url, const std::vector<std::string>& allowed) {
    return std::any_of(allowed.begin(), allowed.end(),
                       [&](const std::string& entry) { return covers(entry, url, false); });
}

bool is_named_host(const BlobUrl& url, const std::vector<std::string>& allowed) {
    return std::any_of(allowed.begin(), allowed.end(),
                       [&](const std::string& entry) { return covers(entry, url, true); });
}

}  // namespace hub
