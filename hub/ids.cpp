#include "hub/ids.hpp"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <stdexcept>

namespace hub {

namespace {

template <std::size_t n>
std::array<std::uint8_t, n> random_bytes() {
    std::array<std::uint8_t, n> bytes;
    if (RAND_bytes(bytes.data(), static_cast<int>(n)) != 1)
        throw std::runtime_error("the system's random source failed");
    return bytes;
}

std::uint64_t random_u64() {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : random_bytes<8>()) value = (value << 8) | byte;
    return value;
}

}  // namespace

std::optional<Refusal> check_registration_id(std::string_view id) {
    const bool fits = !id.empty() && id.size() <= registration_id_bytes_max;
    const bool clean = std::all_of(id.begin(), id.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '-' || c == '_' || c == '.';
    });
    if (fits && clean) return std::nullopt;
    return bad_request("A registration id has 1 to 120 letters, digits, '-', '_' or '.'.");
}

std::string new_registration_id(std::uint16_t partitions) {
    constexpr std::uint64_t positive = 0x7FFF'FFFF'FFFF'FFFFu;
    return std::to_string(random_u64() & positive) + '-' + std::to_string(random_u64() & positive) +
           '-' + std::to_string(random_u64() % partitions + 1);
}

std::string new_send_id(std::int64_t now_ms) {
    const std::time_t seconds = static_cast<std::time_t>(now_ms / 1000);
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    std::array<char, 32> stamp{};
    std::strftime(stamp.data(), stamp.size(), "%Y%m%d%H%M%S", &utc);
    std::array<char, 80> id{};
    std::snprintf(id.data(), id.size(), "NH-%s%03d-%016llx%016llx-07", stamp.data(),
                  static_cast<int>(now_ms % 1000), static_cast<unsigned long long>(random_u64()),
                  static_cast<unsigned long long>(random_u64()));
    return id.data();
}

std::string new_sas_key() {
    const auto bytes = random_bytes<32>();
    std::array<unsigned char, 48> text{};
    const int length = EVP_EncodeBlock(text.data(), bytes.data(), static_cast<int>(bytes.size()));
    return std::string(reinterpret_cast<const char*>(text.data()),
                       static_cast<std::size_t>(length));
}

}  // namespace hub
