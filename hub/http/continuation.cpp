// Tested by tests/hub_http_test.cpp.

#include "hub/http/continuation.hpp"

#include <openssl/evp.h>

#include <array>
#include <stdexcept>

#include "pns/jwt.hpp"

namespace hub {

namespace {

constexpr std::size_t check_bytes = 6;
constexpr std::size_t token_bytes_max = 4'096;

std::string check_of(std::string_view list, std::string_view place) {
    std::string text(list);
    text.push_back('\0');
    text += place;
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    if (EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1)
        throw std::runtime_error("SHA-256 is not available");
    return {digest.begin(), digest.begin() + check_bytes};
}

}  // namespace

std::string list_name(std::string_view kind, std::uint32_t hub,
                      std::initializer_list<std::string_view> narrowed_by) {
    std::string name = std::string(kind) + '\n' + std::to_string(hub);
    for (const auto part : narrowed_by)
        name.append("\n").append(std::to_string(part.size())).append(":").append(part);
    return name;
}

std::string filter_name(const std::optional<std::string_view>& parameter) {
    return parameter ? "=" + std::string(*parameter) : std::string();
}

std::string continuation_token(std::string_view list, std::string_view place) {
    return pns::base64url(check_of(list, place) + std::string(place));
}

std::optional<std::string> continuation_place(std::string_view list, std::string_view token) {
    if (token.size() > token_bytes_max) return std::nullopt;
    auto bytes = pns::from_base64url(token);
    if (!bytes || bytes->size() <= check_bytes) return std::nullopt;
    std::string place = bytes->substr(check_bytes);
    bytes->resize(check_bytes);
    if (*bytes != check_of(list, place)) return std::nullopt;
    return place;
}

}  // namespace hub
