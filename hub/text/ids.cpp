#include "hub/text/ids.hpp"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "hub/text/times.hpp"
#include "registry/registration.hpp"

namespace hub {

namespace {

void fill_random(void* to, std::size_t size) {
    if (RAND_bytes(static_cast<unsigned char*>(to), static_cast<int>(size)) != 1)
        throw std::runtime_error("the system's random source failed");
}

}  // namespace

std::uint64_t random_u64() {
    thread_local std::array<std::uint64_t, 128> drawn;
    thread_local std::size_t left = 0;
    if (left == 0) {
        fill_random(drawn.data(), sizeof drawn);
        left = drawn.size();
    }
    return std::exchange(drawn[--left], 0);
}

std::optional<Refusal> check_registration_id(std::string_view id) {
    const bool fits = !id.empty() && id.size() <= registration_id_bytes_max;
    const bool clean = std::all_of(id.begin(), id.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '-' || c == '_' || c == '.';
    });
    if (fits && clean) return std::nullopt;
    return bad_request("A registration id has 1 to 120 letters, digits, '-', '_' or '.'.");
}

std::string registration_id_of(std::uint64_t first, std::uint64_t second, std::uint64_t third,
                               std::uint16_t partitions) {
    return std::to_string(first % registry::part_ids_from) + '-' + std::to_string(second >> 1) +
           '-' + std::to_string(third % partitions + 1);
}

std::string new_registration_id(std::uint16_t partitions) {
    return registration_id_of(random_u64(), random_u64(), random_u64(), partitions);
}

std::string new_send_id(std::int64_t now_ms) {
    std::string id = "NH-";
    for (const char c : iso_ms(now_ms)) {
        if (c >= '0' && c <= '9') id += c;
    }
    id += '-';
    for (const std::uint64_t half : {random_u64(), random_u64()}) {
        for (int shift = 60; shift >= 0; shift -= 4) id += "0123456789abcdef"[(half >> shift) & 15];
    }
    return id + "-07";
}

std::string new_sas_key() {
    std::array<unsigned char, 32> bytes{};
    fill_random(bytes.data(), bytes.size());
    std::array<unsigned char, 48> text{};
    const int length = EVP_EncodeBlock(text.data(), bytes.data(), static_cast<int>(bytes.size()));
    return std::string(reinterpret_cast<const char*>(text.data()),
                       static_cast<std::size_t>(length));
}

}  // namespace hub
