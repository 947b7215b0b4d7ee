// URLs of blobs, their signatures, names and ranges from clients: no crash; nobody gets in without
// the key, no name leads out of its container, no range out of its blob.
// Inputs: up to 8192 bytes, a target.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "hub/bulk/blob_url.hpp"
#include "hub/bulk/blobs.hpp"
#include "hub/bulk/byte_range.hpp"
#include "hub/bulk/job_xml.hpp"
#include "hub/http/http.hpp"
#include "hub/text/text.hpp"
#include "tests/support/fuzzing.hpp"

namespace {

using support::require;
using support::take_line;

constexpr std::int64_t now_ms = 1'795'200'000'000;

std::string text_of(const hub::BlobUrl& url) {
    std::string text = "https://" + url.host + ':' + std::to_string(url.port) + url.path;
    return url.query.empty() ? text : text + '?' + url.query;
}

bool same(const hub::BlobUrl& a, const hub::BlobUrl& b) {
    return a.host == b.host && a.port == b.port && a.path == b.path && a.query == b.query;
}

void check_url(std::string_view text, std::string_view name, std::string_view allowed) {
    const auto parsed = hub::parse_blob_url(text);
    if (!hub::ok(parsed)) {
        require(std::get<hub::Refusal>(parsed).status == 400);
        return;
    }
    const auto& url = std::get<hub::BlobUrl>(parsed);
    require(!url.host.empty() && url.host.size() <= 253 && url.host == hub::lower(url.host));
    require(url.port != 0 && url.path.starts_with('/') && url.path.find('?') == url.path.npos);
    require(url.host.find_first_of("/?#@\"< \r\n") == std::string::npos);
    const auto again = hub::parse_blob_url(text_of(url));
    require(hub::ok(again) && same(std::get<hub::BlobUrl>(again), url));

    const auto inside = hub::blob_in(url, name);
    require(inside.host == url.host && inside.port == url.port && inside.query == url.query);
    require(inside.path.find('?') == std::string::npos &&
            inside.path.find('#') == std::string::npos);
    const auto read = hub::parse_blob_url(text_of(inside));
    require(hub::ok(read) && same(std::get<hub::BlobUrl>(read), inside));

    const std::vector<std::string> list{std::string(allowed)};
    if (hub::is_named_host(url, list)) require(hub::is_allowed_host(url, list));
}

void check_name(std::string_view text) {
    const auto parsed = hub::Blobs::blob_name(text);
    if (!hub::ok(parsed)) return;
    const auto& name = std::get<std::string>(parsed);
    const auto again = hub::Blobs::blob_name(name);
    require(hub::ok(again) && std::get<std::string>(again) == name);
    require(name.size() <= hub::blob_name_bytes_max && name.find('\0') == std::string::npos);
    const std::filesystem::path root("/r/hub/uploads"), path = root / name;
    require(path.lexically_normal() == path && path.native() == root.native() + '/' + name);
}

/// What the query of a URL says of its signature.
hub::BlobSignature signature_in(const hub::Request& request) {
    hub::BlobSignature given;
    given.resource = request.param("sr").value_or("");
    given.rights = request.param("sp").value_or("");
    given.expiry = request.param("se").value_or("");
    given.signature = request.param("sig").value_or("");
    return given;
}

void check_signature(std::string_view name, std::string_view query, std::string_view rights) {
    static const hub::Blobs blobs("/r", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    hub::BlobPlace place{7, "orders", "uploads", std::string(name)};
    hub::Request request;
    request.method = "GET";
    request.target = "/b?";
    request.target += query;
    if (hub::parse_target(request)) {
        for (const char right : {'r', 'w', 'l'})
            require(!blobs.admits(place, right, signature_in(request), now_ms));
    }
    // Signed by us, with whatever rights, and then read from the URL as a client sends it.
    hub::Request own;
    own.method = "GET";
    own.target = "/b?" + blobs.sign(place, "rl", now_ms + 1'000);
    require(hub::parse_target(own));
    auto given = signature_in(own);
    require(blobs.admits(place, 'r', given, now_ms) && !blobs.admits(place, 'w', given, now_ms));
    require(!blobs.admits(place, 'r', given, now_ms + 1'000));
    if (rights != "rl") {
        given.rights = rights;
        require(!blobs.admits(place, 'r', given, now_ms));
    }
    place.name += 'x';
    given = signature_in(own);
    require(blobs.admits(place, 'r', given, now_ms) == name.empty());
}

void check_range(std::string_view text, std::uint64_t size) {
    const auto range = hub::read_byte_range(text, size);
    if (!range) return;
    require(range->count > 0 && range->first < size && range->count <= size - range->first);
    const std::string again = "bytes=" + std::to_string(range->first) + '-' +
                              std::to_string(range->first + range->count - 1);
    const auto same_range = hub::read_byte_range(again, size);
    require(same_range && same_range->first == range->first && same_range->count == range->count);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    std::string_view rest = input;
    const auto first = take_line(rest), second = take_line(rest), third = take_line(rest);
    check_url(input, "a", "a");
    check_url("https://" + std::string(first), second, third);
    check_name(input);
    check_signature(first, second, third);
    for (const std::uint64_t bound :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1'000}, ~std::uint64_t{0}}) {
        check_range(first, bound);
        check_range("bytes=" + std::string(first), bound);
    }
    return 0;
}
