#include "tagexpr/keyed_hash.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>

TEST_CASE("the keyed hash is SipHash-1-3", "[tagexpr]") {
    std::string bytes;
    for (char c = 0; c < 15; ++c) bytes += c;
    const auto hash = [&](std::size_t size) {
        return tagexpr::siphash_1_3(0x0706050403020100u, 0x0F0E0D0C0B0A0908u,
                                    std::string_view(bytes).substr(0, size));
    };
    // The reference implementation's key 00..0f, of 0, 7, 8 and 15 bytes 00, 01, ...
    CHECK(hash(0) == 0xABAC0158050FC4DCu);
    CHECK(hash(7) == 0xD3927D989BB11140u);
    CHECK(hash(8) == 0x369095118D299A8Eu);
    CHECK(hash(15) == 0xD320D86D2A519956u);
    CHECK(tagexpr::keyed_hash(bytes) == tagexpr::keyed_hash(std::string(bytes)));
    std::set<std::uint64_t> seen;
    for (std::size_t size = 0; size <= bytes.size(); ++size)
        seen.insert(tagexpr::keyed_hash(std::string_view(bytes).substr(0, size)));
    CHECK(seen.size() == bytes.size() + 1);
}
