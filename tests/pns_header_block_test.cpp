#include "pns/header_block.hpp"

#include <nghttp2/nghttp2.h>
#include <catch2/catch.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;
using Bytes = std::vector<std::uint8_t>;

/// nghttp2 as the peer that reads.
class Peer {
  public:
    Peer() { REQUIRE(nghttp2_hd_inflate_new(&inflater_) == 0); }
    ~Peer() { nghttp2_hd_inflate_del(inflater_); }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    void set_limit(std::size_t bytes) {
        REQUIRE(nghttp2_hd_inflate_change_table_size(inflater_, bytes) == 0);
    }
    Fields read(Bytes block, std::size_t* never_indexed = nullptr) {
        Fields out;
        std::uint8_t* at = block.data();
        std::size_t left = block.size();
        for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
            nghttp2_nv nv;
            const auto taken = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, at, left, 1);
            REQUIRE(taken >= 0);
            at += taken;
            left -= static_cast<std::size_t>(taken);
            if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0) continue;
            if (never_indexed != nullptr && (nv.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0)
                ++*never_indexed;
            out.emplace_back(std::string(reinterpret_cast<const char*>(nv.name), nv.namelen),
                             std::string(reinterpret_cast<const char*>(nv.value), nv.valuelen));
        }
        nghttp2_hd_inflate_end_headers(inflater_);
        return out;
    }

  private:
    nghttp2_hd_inflater* inflater_ = nullptr;
};

std::vector<pns::H2Header> push(const std::string& path, const std::string& token,
                                const std::string& id) {
    return {{":method", "POST"},
            {":scheme", "https"},
            {":path", path},
            {":authority", "api.push.apple.com"},
            {"authorization", token, true},
            {"apns-topic", "com.example.games"},
            {"apns-push-type", "alert"},
            {"apns-id", id, true}};
}

Fields fields_of(const std::vector<pns::H2Header>& headers) {
    Fields out;
    for (const auto& h : headers) out.emplace_back(h.name, h.value);
    return out;
}

}  // namespace

TEST_CASE("header blocks say what they were given, and repeat little", "[pns]") {
    pns::HeaderBlocks blocks;
    Peer peer;
    const std::string token(200, 't');
    std::size_t first = 0;
    for (int i = 0; i < 100; ++i) {
        const std::string path = "/3/device/" + std::to_string(i), id = "id-" + std::to_string(i);
        const auto headers = push(path, token, id);
        Bytes block;
        blocks.encode(headers, block);
        std::size_t never_indexed = 0;
        CHECK(peer.read(block, &never_indexed) == fields_of(headers));
        CHECK(never_indexed == 2);
        if (i == 0) first = block.size();
        const std::size_t own = path.size() + token.size() + id.size();
        if (i > 0) CHECK(block.size() < own + 30);
        if (i == 0) CHECK(block.size() > own + 60);
    }
    CHECK(first > 0);
}

TEST_CASE("what blocks have in common is coded anew when the table has changed", "[pns]") {
    pns::HeaderBlocks blocks;
    Peer peer;
    std::vector<std::shared_ptr<const pns::H2Fields>> sets;
    for (int i = 0; i < 12; ++i) {  // more than are remembered
        const pns::H2Fields fields{{"authorization", "bearer t", true},
                                   {"apns-topic", "topic-" + std::to_string(i)},
                                   {"apns-priority", "10"}};
        sets.push_back(std::make_shared<const pns::H2Fields>(fields));
    }
    for (int i = 0; i < 2'000; ++i) {
        const auto& common = sets[static_cast<std::size_t>(i < 1'000 ? i % 3 : i % 12)];
        if (i % 97 == 0) {
            const std::size_t limit = i % 2 == 0 ? 4'096 : 120;
            blocks.set_limit(limit);
            peer.set_limit(limit);
        }
        if (i % 211 == 0) blocks.forget();
        const std::string value = "/3/device/" + std::to_string(i), id = "id-" + std::to_string(i);
        std::string path, own;
        pns::HeaderBlocks::append_literal({":path", value}, path);
        pns::HeaderBlocks::append_literal({"apns-id", id, true}, own);
        Bytes block;
        blocks.encode("POST", "push.test", common, path, own, block);
        Fields expected{{":method", "POST"},
                        {":scheme", "https"},
                        {":authority", "push.test"},
                        {":path", value}};
        for (const pns::H2Field& one : *common) expected.emplace_back(one.name, one.value);
        expected.emplace_back("apns-id", id);
        std::size_t never_indexed = 0;
        REQUIRE(peer.read(block, &never_indexed) == expected);
        REQUIRE(never_indexed == 2);
    }
}

TEST_CASE("header blocks keep to the table that the peer allows", "[pns]") {
    pns::HeaderBlocks blocks;
    Peer peer;
    const std::string path = "/3/device/a", token = "t", id = "i";
    const auto headers = push(path, token, id);
    const auto sent = [&] {
        Bytes block;
        blocks.encode(headers, block);
        CHECK(peer.read(block) == fields_of(headers));
        return block.size();
    };
    const auto limit = [&](std::size_t bytes) {
        blocks.set_limit(bytes);
        peer.set_limit(bytes);
    };
    const std::size_t whole = sent();
    const std::size_t indexed = sent();
    CHECK(indexed < whole);
    limit(0);
    CHECK(sent() > indexed);
    CHECK(sent() > indexed);
    limit(100);
    limit(65'536);  // the smaller one must be told, too
    sent();
    CHECK(sent() == indexed);
    limit(8'192);  // more than the table has, but lowered: some peers wait for a word
    CHECK(sent() > indexed);
    CHECK(sent() == indexed);
    blocks.forget();
    CHECK(sent() > indexed);
    CHECK(sent() == indexed);
}

TEST_CASE("many values that differ push out no more than the table holds", "[pns]") {
    pns::HeaderBlocks blocks;
    Peer peer;
    for (int i = 0; i < 2'000; ++i) {
        const std::string topic = "topic-" + std::to_string(i % 300) + std::string(i % 90, 'x');
        const std::string large(1'500, static_cast<char>('a' + i % 26));
        const std::vector<pns::H2Header> headers{
            {":method", i % 2 == 0 ? "POST" : "PUT"}, {"apns-topic", topic}, {"x-large", large}};
        Bytes block;
        blocks.encode(headers, block);
        REQUIRE(peer.read(block) == fields_of(headers));
    }
}
