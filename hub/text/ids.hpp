#pragma once

// Fresh ids and keys from the system's random source. Any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t registration_id_bytes_max = 120;
/// What clients may choose as the id of a registration.
std::optional<Refusal> check_registration_id(std::string_view id);

/// For ids, many of which are drawn from the source at a time; never for keys.
std::uint64_t random_u64();
/// `<int64>-<int64>-<n>`, n = partition + 1 (docs/contracts/anh.md 3.5), from three drawn numbers.
std::string registration_id_of(std::uint64_t first, std::uint64_t second, std::uint64_t third,
                               std::uint16_t partitions);
/// One of random numbers.
std::string new_registration_id(std::uint16_t partitions);
/// `NH-<yyyyMMddHHmmssfff>-<32 hex>-07` (docs/contracts/anh.md 5.2).
std::string new_send_id(std::int64_t now_ms);
/// 44 characters: base64 of 32 random bytes (docs/contracts/anh.md 1.1).
std::string new_sas_key();

}  // namespace hub
