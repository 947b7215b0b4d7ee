#pragma once

// Numbers out of numbers and texts that are the same in every build and every process: choices that
// must come out alike again. No secrets and no defence against someone who chooses the input.

#include <cstdint>
#include <string_view>

namespace pns {

inline constexpr std::uint64_t fnv1a_begin = 0xcbf29ce484222325U;

/// FNV-1a; another beginning gives another hash.
constexpr std::uint64_t fnv1a(std::string_view text, std::uint64_t hash = fnv1a_begin) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return hash;
}

/// The end of splitmix64: every bit of `x` reaches every bit.
constexpr std::uint64_t mixed(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

/// What splitmix64 adds from number to number.
inline constexpr std::uint64_t golden_gap = 0x9e3779b97f4a7c15U;

}  // namespace pns
