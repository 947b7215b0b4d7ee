// What passes by on an HTTP/2 connection of a simulator: the peer's frames are counted and judged,
// ours get the stream limit that is offered. Tested by tests/pns_sim_faults_test.cpp.
//
// saw() is called for each frame that the peer wrote, groom() for the bytes that are about to
// leave. A stream counts as above the limit only if it began after the lower limit was
// acknowledged. Runs on the loop of the connection; nothing here answers.
#include <algorithm>

#include "pns/sim/h2_serving.hpp"

namespace pns::sim {

namespace {

constexpr std::uint32_t malformed = 1, streams_exceeded = 7, calm_down = 11;
constexpr std::uint16_t max_concurrent_streams = 3;

std::uint32_t number_at(const std::uint8_t* bytes) {
    return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
           static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3];
}

/// RFC 9113 8.2 and 8.3, but for the scheme.
bool is_well_formed(const H2Message& message) {
    if (message.method.empty() || message.path.empty() || message.scheme.empty()) return false;
    return std::all_of(message.headers.begin(), message.headers.end(), [](const H2Header& header) {
        const std::string_view name = header.name;
        if (name == "connection" || name == "keep-alive" || name == "proxy-connection" ||
            name == "transfer-encoding" || name == "upgrade" ||
            (name == "te" && header.value != "trailers"))
            return false;
        return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
            return c > ' ' && c < 0x7f && c != ':' && !(c >= 'A' && c <= 'Z');
        });
    });
}

}  // namespace

void H2Serving::saw(const FrameHead& head) {
    switch (head.type) {
        case FrameType::headers:
            pings_in_row_ = 0;
            if (head.stream <= stream_last_) break;
            stream_last_ = head.stream;
            if (goaway_seen_) loop_.journal.after_goaway();
            break;
        case FrameType::settings:
            if ((head.flags & flag_ack) == 0) {
                happened("settings received");
            } else {
                acks_.push_back(stream_last_);
            }
            break;
        case FrameType::ping:
            if ((head.flags & flag_ack) != 0) break;
            loop_.journal.ping();
            happened("ping received");
            if (habits_.pings_in_row_max > 0 && ++pings_in_row_ > habits_.pings_in_row_max)
                go_away(calm_down, "too_many_pings");
            break;
        case FrameType::goaway:
            loop_.journal.goaway();
            happened("goaway received");
            given_up_ = true;
            break;
        case FrameType::rst_stream:
            loop_.journal.reset_received();
            happened("reset received on stream " + std::to_string(head.stream));
            if (cancelled_.erase(head.stream) > 0)
                raw_ += make_frame(FrameType::headers, flag_end_headers | flag_end_stream,
                                   head.stream, header_block(200, {}));
            break;
        default:
            break;
    }
}

// SETTINGS get the limit that is offered in place of the session's own; some frames are left out.
void H2Serving::groom(std::size_t from) {
    std::size_t at = from;
    while (at + frame_head_bytes <= out_.size()) {
        const FrameHead head = read_frame_head(out_.data() + at);
        const std::size_t end = std::min(at + frame_head_bytes + head.bytes, out_.size());
        if (head.type == FrameType::settings && (head.flags & flag_ack) == 0) {
            for (std::size_t entry = at + frame_head_bytes; entry + 6 <= end; entry += 6) {
                const auto id = out_[entry] << 8 | out_[entry + 1];
                if (id != max_concurrent_streams || offers_.empty()) continue;
                if (number_at(out_.data() + entry + 2) != streams_unbounded) continue;
                offered_ = offers_.front();
                offers_.pop_front();
                for (std::size_t i = 0; i < 4; ++i)
                    out_[entry + 2 + i] = static_cast<std::uint8_t>(offered_ >> (24 - 8 * i));
            }
            unacked_.push_back(offered_);
            happened("settings sent, streams " + std::to_string(offered_));
        } else if (head.type == FrameType::window_update && no_window_updates_) {
            out_.erase(out_.begin() + static_cast<std::ptrdiff_t>(at),
                       out_.begin() + static_cast<std::ptrdiff_t>(end));
            continue;
        }
        at = end;
    }
}

void H2Serving::offer(std::uint32_t streams) {
    offers_.push_back(streams);
    session_.submit_settings_streams_max(streams_unbounded);
}

std::uint32_t H2Serving::allowed() const {
    std::uint32_t out = acknowledged_;
    for (const std::uint32_t offered : unacked_) out = std::max(out, offered);
    return out;
}

void H2Serving::go_away(std::uint32_t code, std::string_view debug, std::int32_t last) {
    if (last < 0) last = headers_last_;
    refused_above_ = std::min(refused_above_, last);
    session_.submit_goaway(code, debug, last);
    pings_.push_back(true);
    session_.submit_ping();
    happened("goaway sent, code " + std::to_string(code) +
             (debug.empty() ? "" : ", " + std::to_string(debug.size()) + " bytes"));
    wake_writer();
}

void H2Serving::on_pong() {
    if (pings_.empty()) return;
    goaway_seen_ = goaway_seen_ || pings_.front();
    pings_.pop_front();
}

// A stream that began before an acknowledgement was begun under the old limit.
void H2Serving::take_acks(std::int32_t before) {
    while (!acks_.empty() && acks_.front() < before) {
        acks_.pop_front();
        if (unacked_.empty()) continue;
        acknowledged_ = unacked_.front();
        unacked_.pop_front();
    }
}

bool H2Serving::on_request_headers(std::int32_t stream, const H2Message& message) {
    if (habits_.takes_any_scheme && !is_well_formed(message)) {
        happened("malformed request on stream " + std::to_string(stream));
        session_.reset(stream, malformed);
        return true;
    }
    take_acks(stream);
    headers_last_ = std::max(headers_last_, stream);
    loop_.journal.streams(session_.streams_open());
    if (session_.streams_open() <= allowed()) return true;
    loop_.journal.above_limit();
    happened("stream " + std::to_string(stream) + " above the limit");
    if (loop_.options.over_limit == SimOptions::OverLimit::goaway)
        go_away(streams_exceeded, habits_.over_limit_text, taken_last_);
    return false;
}

}  // namespace pns::sim
