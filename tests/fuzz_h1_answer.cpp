// Bytes of a hostile provider or token endpoint as its answer over HTTP/1.1: read alike in whatever
// pieces they come, within bounds; what the answer says of a token or of channels is usable or
// refused in words.
// Inputs: up to 327681 bytes, a head and a body of the largest kind, and one byte that steers.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pns/apns_channels.hpp"
#include "pns/exchange.hpp"
#include "pns/h1_codec.hpp"
#include "pns/http_date.hpp"
#include "pns/oauth_answer.hpp"
#include "pns/retry_policy.hpp"

namespace {

using Step = pns::H1Parser::Step;

void require(bool holds) {
    if (!holds) std::abort();
}

constexpr std::size_t read_bytes = 16 * 1024;  // at a time, from a connection

bool printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

struct Read {
    Step step = Step::more;
    int status = 0;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
    bool cut = false, keep_alive = false;
    friend bool operator==(const Read&, const Read&) = default;
};

/// The answer, and what was made of it when the peer closed instead of going on.
Read read(std::string_view input, std::size_t piece, bool closes) {
    pns::H1Parser parser;
    Read out;
    while (!input.empty() && out.step == Step::more) {
        out.step = parser.feed(input.substr(0, piece));
        input.remove_prefix(std::min(piece, input.size()));
    }
    if (out.step == Step::more && closes) out.step = parser.feed_end();
    // Bytes behind an answer end the connection, whenever they come.
    if (out.step == Step::complete && !input.empty() && !parser.answer().body_cut)
        out.step = Step::broken;
    if (out.step == Step::complete) {
        const pns::Answer& answer = parser.answer();
        out.status = answer.status;
        for (const auto& [name, value] : answer.headers) out.headers.emplace_back(name, value);
        out.body = answer.body;
        out.cut = answer.body_cut;
        out.keep_alive = parser.keep_alive();
        require(answer.status >= 200 && answer.status <= 999);
        require(answer.body.size() <= pns::H1Parser::body_bytes_max);
        if (out.keep_alive) {
            parser.reset();
            require(parser.feed("HTTP/1.1 204 \r\n\r\n") == Step::complete && parser.keep_alive());
        }
    } else if (out.step == Step::more) {
        // One that never ends is given up before it takes more memory than an honest one may.
        const std::string filler(read_bytes, 'a');
        for (int i = 0; i < 64 && out.step == Step::more; ++i) out.step = parser.feed(filler);
        require(out.step != Step::more);
        out.step = Step::more;
    }
    return out;
}

void check_token(const pns::Answer& answer) {
    const auto read = pns::read_oauth_answer(answer);
    if (const auto* token = std::get_if<pns::OauthToken>(&read)) {
        require(answer.status == 200 && !token->access_token.empty() &&
                token->access_token.find(' ') == std::string::npos);
        require(printable(token->access_token));
        require(token->life_s > 0 && token->life_s <= 30 * 86'400);
    } else {
        const auto& refusal = std::get<pns::OauthRefusal>(read);
        require(!refusal.reason.empty() && refusal.reason.size() < 300);
        require(printable(refusal.reason));
        require(refusal.retry_after_ms >= 0 && refusal.retry_after_ms <= pns::retry_after_ms_max);
        require(!refusal.configuration || (answer.status >= 400 && answer.status < 500));
    }
}

void check_channels(const Read& read) {
    pns::ExchangeAnswer answer;
    answer.status = read.status;
    answer.headers = read.headers;
    answer.body = read.body;
    answer.body_cut = read.cut;
    for (const auto verb : {pns::ChannelCall::Verb::create, pns::ChannelCall::Verb::read,
                            pns::ChannelCall::Verb::list, pns::ChannelCall::Verb::remove}) {
        pns::ChannelCall call;
        call.verb = verb;
        call.id = "dHN0LXNyY2gtY2hubA==";
        const auto got = pns::read_channel_answer(call, answer, 1'795'200'000'000);
        const auto* channels = std::get_if<pns::ChannelAnswer>(&got);
        if (channels == nullptr) continue;
        for (const auto& id : channels->ids) require(pns::is_channel_id(id));
        require(verb != pns::ChannelCall::Verb::create || pns::is_channel_id(channels->id));
    }
}

constexpr std::string_view beginnings[] = {
    "",
    "HTTP/1.1 200 OK\r\ncontent-length: ",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nretry-after: ",
    "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"t\",\"expires_in\":",
    "HTTP/1.1 400 Bad\r\n\r\n{\"error\":\"",
    "HTTP/1.1 201 Created\r\napns-channel-id: ",
    "HTTP/1.1 200 OK\r\n\r\n{\"channels\":[\"",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < 1) return 0;
    std::string input(beginnings[bytes[0] % std::size(beginnings)]);
    input.append(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    const bool closes = (bytes[0] & 8) != 0;
    const std::size_t piece = 1 + (bytes[0] >> 4) * std::size_t{7};
    const Read whole = read(input, read_bytes, closes);
    // Which read a bound is met in depends on the pieces.
    if (input.size() <= pns::H1Parser::header_bytes_max) {
        const Read cut = read(input, piece, closes);
        // What is wrong in a line that has not ended may be seen now or at its end.
        if (cut.step == Step::more || whole.step == Step::more) {
            const Read& other = cut.step == Step::more ? whole : cut;
            require(other.step != Step::complete || other.cut);
        } else {
            require(cut.step == whole.step && cut.status == whole.status && cut.cut == whole.cut);
            if (!whole.cut) require(cut == whole);
        }
    }
    if (whole.step != Step::complete) return 0;
    check_channels(whole);
    std::vector<std::pair<std::string_view, std::string_view>> headers(whole.headers.begin(),
                                                                       whole.headers.end());
    pns::Answer answer;
    answer.status = whole.status;
    answer.headers = headers;
    answer.body = whole.body;
    answer.body_cut = whole.cut;
    answer.now_ms = 1'795'200'000'000;
    check_token(answer);
    return 0;
}
