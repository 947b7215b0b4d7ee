// Bytes of a hostile peer into an HTTP/2 session of either role, in pieces, with streams open.
// Every stream of a client must end exactly once.
// Inputs: up to 65536 bytes, a few frames of the largest kind.

#include <algorithm>
#include <cstdlib>
#include <map>

#include "pns/h2_session.hpp"

namespace {

struct Counter final : pns::H2Events {
    explicit Counter(pns::H2Session::Role role) : session(role, {}, *this) {}
    void on_message(std::int32_t stream, const pns::H2Message& m) override {
        ++ends[stream];
        if (m.status == 0) session.submit_response(stream, 200, m.headers, std::string(m.body));
    }
    bool on_request_headers(std::int32_t stream, const pns::H2Message&) override {
        if (stream % 4 == 3) session.hand_out(stream);
        return true;
    }
    void on_ready(std::int32_t stream) override {
        if (stream % 8 == 3) return;  // never taken
        const auto piece = session.take(stream);
        if (piece && piece->last) session.submit_response(stream, 200, {}, "ok");
    }
    void on_lost(std::int32_t stream, const pns::H2Lost&) override { ++ends[stream]; }
    std::map<std::int32_t, int> ends;
    pns::H2Session session;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < 2) return 0;
    const bool client = (bytes[0] & 1) != 0;
    const std::size_t piece = bytes[1] + std::size_t{1};
    std::span<const std::uint8_t> input(bytes + 2, size - 2);
    Counter counter(client ? pns::H2Session::Role::client : pns::H2Session::Role::server);
    std::vector<std::uint8_t> out;
    std::map<std::int32_t, int> submitted;
    if (client) {
        const auto body = std::make_shared<const std::string>(1'000, 'b');
        const pns::H2Header headers[] = {
            {":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", "push.test"}};
        for (int i = 0; i < 5; ++i) ++submitted[counter.session.submit_request(headers, body)];
    } else {
        constexpr std::string_view preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        counter.session.feed(
            std::span(reinterpret_cast<const std::uint8_t*>(preface.data()), preface.size()));
    }
    counter.session.drain(out);
    while (!input.empty()) {
        const auto n = std::min(piece, input.size());
        if (!counter.session.feed(input.first(n))) break;
        input = input.subspan(n);
        out.clear();
        counter.session.drain(out);
    }
    counter.session.abandon();
    if (client && counter.ends != submitted) std::abort();
    return 0;
}
