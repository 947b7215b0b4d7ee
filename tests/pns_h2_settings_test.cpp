// The client's obedience to SETTINGS, against a peer that is only bytes: it reads frames itself and
// keeps its own account of streams, windows and table sizes.

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include "pns/h2_session.hpp"

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t data_frame = 0, headers_frame = 1, rst_frame = 3, settings_frame = 4,
                       ping_frame = 6, goaway_frame = 7, window_frame = 8, continuation_frame = 9;
constexpr std::uint16_t table_size = 1, streams_max = 3, initial_window = 4, frame_size = 5;
constexpr std::size_t preface_bytes = 24;

struct Client final : pns::H2Events {
    explicit Client(const pns::H2Limits& limits)
        : session(pns::H2Session::Role::client, limits, *this) {}
    void on_message(std::int32_t stream, const pns::H2Message&) override { ++answered[stream]; }
    void on_lost(std::int32_t stream, const pns::H2Lost& l) override {
        ++lost[stream];
        if (l.processed_unknown) ++unknown;
    }
    pns::H2Session session;
    std::map<std::int32_t, int> answered, lost;
    int unknown = 0;
};

// What a server knows about a client from the bytes alone.
struct Peer {
    std::int64_t window = 65'535, connection_window = 65'535;
    std::size_t frame_max = 16'384;
    std::uint64_t streams_allowed = ~std::uint64_t{0};
    bool table_shrunk = false;
    std::uint32_t table_allowed = 4'096;

    struct Stream {
        std::int64_t sent = 0, granted = 0;
        std::size_t body = 0;
        bool ended = false;
    };
    std::map<std::int32_t, Stream> open;
    std::size_t acks = 0, opened = 0, peak = 0;
    std::int32_t last = 0;

    static void frame(Bytes& out, std::uint8_t type, std::uint8_t flags, std::int32_t stream,
                      const Bytes& payload) {
        const auto n = payload.size();
        for (const int shift : {16, 8, 0}) out.push_back(static_cast<std::uint8_t>(n >> shift));
        out.push_back(type);
        out.push_back(flags);
        put32(out, static_cast<std::uint32_t>(stream));
        out.insert(out.end(), payload.begin(), payload.end());
    }
    static void put32(Bytes& out, std::uint32_t v) {
        for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::uint8_t>(v >> shift));
    }
    void settings(Bytes& out, const std::vector<std::pair<std::uint16_t, std::uint32_t>>& list) {
        Bytes payload;
        for (const auto& [id, value] : list) {
            payload.push_back(0);
            payload.push_back(static_cast<std::uint8_t>(id));
            put32(payload, value);
            if (id == table_size) {
                table_shrunk = table_shrunk || value < table_allowed;
                table_allowed = value;
            }
            if (id == streams_max) streams_allowed = value;
            if (id == initial_window) window = value;
            if (id == frame_size) frame_max = value;
        }
        frame(out, settings_frame, 0, 0, payload);
    }
    void grant(Bytes& out, std::int32_t stream, std::uint32_t bytes) {
        Bytes payload;
        put32(payload, bytes);
        frame(out, window_frame, 0, stream, payload);
        (stream == 0 ? connection_window : open.at(stream).granted) += bytes;
    }
    void answer(Bytes& out, std::int32_t stream) {
        frame(out, headers_frame, 0x5, stream, Bytes{0x88});  // :status 200, END_STREAM
        open.erase(stream);
    }

    static std::uint32_t get32(const std::uint8_t* p) {
        return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 |
               p[3];
    }
    // Everything the client sent since the last call; all of it was made after the last feed().
    void read(const Bytes& in, std::size_t from) {
        while (from < in.size()) {
            REQUIRE(in.size() - from >= 9);
            const std::uint8_t* p = in.data() + from;
            const std::size_t size = std::size_t{p[0]} << 16 | std::size_t{p[1]} << 8 | p[2];
            const std::uint8_t type = p[3], flags = p[4];
            const auto stream = static_cast<std::int32_t>(get32(p + 5));
            REQUIRE(in.size() - from >= 9 + size);
            REQUIRE(size <= frame_max);
            take(type, flags, stream, p + 9, size);
            from += 9 + size;
        }
    }
    void take(std::uint8_t type, std::uint8_t flags, std::int32_t stream, const std::uint8_t* bytes,
              std::size_t size) {
        switch (type) {
            case headers_frame: {
                REQUIRE(stream > last);
                last = stream;
                open[stream];
                ++opened;
                peak = std::max(peak, open.size());
                REQUIRE(open.size() <= streams_allowed);
                if (table_shrunk) {
                    // RFC 7541 4.2: the next block begins with the new table size.
                    REQUIRE(size > 0);
                    REQUIRE((bytes[0] & 0xe0) == 0x20);
                    table_shrunk = false;
                }
                std::uint32_t table = bytes[0] & 0x1fU;
                if ((bytes[0] & 0xe0) == 0x20) {
                    if (table == 31) {
                        for (std::size_t i = 1, shift = 0; i < size; ++i, shift += 7) {
                            table += std::uint32_t{bytes[i] & 0x7fU} << shift;
                            if ((bytes[i] & 0x80) == 0) break;
                        }
                    }
                    REQUIRE(table <= table_allowed);
                }
                if ((flags & 1) != 0) open[stream].ended = true;
                break;
            }
            case data_frame: {
                connection_window -= static_cast<std::int64_t>(size);
                REQUIRE(connection_window >= 0);
                if (open.count(stream) == 0) break;  // answered early
                Stream& s = open[stream];
                s.sent += static_cast<std::int64_t>(size);
                s.body += size;
                if (size > 0) REQUIRE(s.sent <= window + s.granted);
                if ((flags & 1) != 0) s.ended = true;
                break;
            }
            case rst_frame:
                open.erase(stream);
                break;
            case settings_frame:
                acks += flags & 1;
                break;
            default:
                REQUIRE((type == ping_frame || type == goaway_frame || type == window_frame ||
                         type == continuation_frame));
        }
    }
};

}  // namespace

TEST_CASE("a client obeys every SETTINGS, however often it changes", "[pns]") {
    const unsigned seed = GENERATE(21U, 22U, 23U, 24U, 25U, 26U, 27U, 28U);
    CAPTURE(seed);
    std::mt19937 random(seed);
    pns::H2Limits limits;
    limits.streams_max_before_settings = seed % 2 == 0 ? 1 : 100;
    Client client(limits);
    Peer peer;
    peer.streams_allowed = limits.streams_max_before_settings;
    std::size_t submitted = 0, sent_settings = 0, from = preface_bytes;
    std::map<std::int32_t, std::size_t> sizes;

    const auto exchange = [&](const Bytes& in) {
        REQUIRE(client.session.feed(in));
        Bytes out;
        while (client.session.drain(out)) {
        }
        peer.read(out, std::min(from, out.size()));
        from = 0;
    };
    const auto submit_all = [&](int most) {
        for (int i = 0; i < most && client.session.may_submit(); ++i) {
            const auto size = random() % 3 == 0 ? random() % 20'000 : random() % 300;
            const std::string path = "/3/device/" + std::to_string(submitted);
            const std::vector<pns::H2Header> headers{{":method", "POST"},
                                                     {":scheme", "https"},
                                                     {":path", path},
                                                     {":authority", "push.test"},
                                                     {"authorization", "bearer x", true},
                                                     {"apns-topic", "topic.of.some.length"}};
            const auto id = client.session.submit_request(
                headers, std::make_shared<const std::string>(size, 'x'));
            REQUIRE(id > 0);
            sizes[id] = size;
            ++submitted;
        }
    };

    submit_all(200);  // before any SETTINGS
    CHECK(submitted == limits.streams_max_before_settings);
    exchange({});
    for (int step = 0; step < 1'500; ++step) {
        Bytes in;
        if (step == 0 || random() % 5 == 0) {
            std::vector<std::pair<std::uint16_t, std::uint32_t>> list;
            if (step == 0) list.emplace_back(streams_max, 10);
            if (random() % 2 == 0) list.emplace_back(streams_max, random() % 60);
            if (random() % 3 == 0) list.emplace_back(initial_window, random() % 70'000);
            if (random() % 3 == 0) list.emplace_back(frame_size, 16'384 + random() % 9'000);
            if (random() % 3 == 0) list.emplace_back(table_size, random() % 6'000);
            peer.settings(in, list);
            ++sent_settings;
        }
        std::vector<std::int32_t> ids;
        for (const auto& [id, s] : peer.open) ids.push_back(id);
        for (const auto id : ids) {
            const auto& s = peer.open.at(id);
            if (s.ended && s.body == sizes[id] && random() % 3 == 0) {
                peer.answer(in, id);
            } else if (!s.ended && random() % 3 == 0) {
                peer.grant(in, id, static_cast<std::uint32_t>(1 + random() % 20'000));
            } else if (random() % 200 == 0) {
                peer.answer(in, id);  // before the request was all sent
            }
        }
        if (peer.connection_window < 30'000)
            peer.grant(in, 0, static_cast<std::uint32_t>(1 + random() % 60'000));
        exchange(in);
        submit_all(static_cast<int>(random() % 30));
        exchange({});
        REQUIRE(peer.acks == sent_settings);
        REQUIRE(client.session.streams_open() <= submitted);
    }
    CHECK(peer.opened == submitted);
    CHECK(submitted > 500);
    CHECK(peer.peak > 10);
    client.session.abandon();
    std::size_t ended = 0;
    for (const auto& [id, size] : sizes) {
        const int ends = client.answered[id] + client.lost[id];
        REQUIRE(ends == 1);
        ++ended;
    }
    CHECK(ended == submitted);
}

TEST_CASE("streams whose bytes never left are not processed, the others may be", "[pns]") {
    Client client({});
    Bytes out;
    while (client.session.drain(out)) {
    }
    std::vector<std::size_t> begins;
    const std::vector<pns::H2Header> headers{
        {":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", "push.test"}};
    out.clear();
    for (int i = 0; i < 10; ++i) {
        REQUIRE(client.session.submit_request(headers,
                                              std::make_shared<const std::string>(100, 'x')) > 0);
        begins.push_back(out.size());
        while (client.session.drain(out)) {
        }
    }
    const std::size_t left = GENERATE_COPY(std::size_t{0}, std::size_t{1}, begins[1], begins[4] + 3,
                                           out.size(), out.size() * 9);
    const std::size_t unsent = left > out.size() ? out.size() * 9 : out.size() - left;
    client.session.abandon(unsent);
    CHECK(client.lost.size() == 10);
    const auto begun = std::count_if(begins.begin(), begins.end(), [&](std::size_t begin) {
        return left <= out.size() && begin < left;
    });
    CHECK(client.unknown == begun);
}
