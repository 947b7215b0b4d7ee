// Tested by tests/tagexpr_keyed_hash_test.cpp.

#include "tagexpr/keyed_hash.hpp"

#include <bit>
#include <cstring>
#include <random>

namespace tagexpr {

namespace {

struct State {
    std::uint64_t v0, v1, v2, v3;
    void round() {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }
};

struct Secret {
    std::uint64_t key0, key1;
};

Secret draw() {
    std::random_device random;
    const auto word = [&random] { return (std::uint64_t{random()} << 32) | random(); };
    const std::uint64_t first = word();
    return {first, word()};
}

}  // namespace

std::uint64_t siphash_1_3(std::uint64_t key0, std::uint64_t key1, std::string_view bytes) {
    static_assert(std::endian::native == std::endian::little);
    State s{key0 ^ 0x736F6D6570736575u, key1 ^ 0x646F72616E646F6Du, key0 ^ 0x6C7967656E657261u,
            key1 ^ 0x7465646279746573u};
    const auto take = [&s](std::uint64_t word) {
        s.v3 ^= word;
        s.round();
        s.v0 ^= word;
    };
    std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
        std::uint64_t word;
        std::memcpy(&word, bytes.data(), 8);
        take(word);
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        last |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    }
    take(last);
    s.v2 ^= 0xFF;
    for (int i = 0; i < 3; ++i) s.round();
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

std::uint64_t keyed_hash(std::string_view bytes) {
    static const Secret secret = draw();
    return siphash_1_3(secret.key0, secret.key1, bytes);
}

}  // namespace tagexpr
