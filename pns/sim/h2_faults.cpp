// What an HTTP/2 connection does wrong on purpose (docs/contracts/pns.md 8.2). Tested by
// tests/pns_sim_faults_test.cpp.
//
// Each strike_*() does one kind of fault at its moment: when a connection begins, when a request
// arrives, when an answer is due. What a library would not write is put between its frames as
// bytes of frames.cpp. Runs on the loop of the connection; the faults themselves were chosen by
// FaultBook.
#include <algorithm>

#include "pns/sim/h2_serving.hpp"

namespace pns::sim {

namespace {

constexpr std::uint32_t internal_error = 2, refused_stream = 7, cancel = 8, calm_down = 11;
constexpr std::int32_t stream_id_max = 0x7fffffff;
constexpr std::int64_t deaf_ms = 60'000, soon_ms = 20, drip_ms = 50, settings_late_ms = 200;
constexpr std::size_t garbage_bytes = 16 * 1024 - 8, garbage_bytes_many = 64 * 1024;
constexpr std::size_t bomb_bytes = 10 << 20;

std::int64_t time_of(const Fault& fault, std::int64_t usual_ms) {
    return fault.ms > 0 ? fault.ms : usual_ms;
}

}  // namespace

void H2Serving::strike_connection(const Fault& fault) {
    switch (fault.row->number) {
        case 6:
            go_away(fault.code, fault.text);
            break;
        case 12:
            held_until_ms_ = fault.row->variant == "never"
                                 ? never_ms
                                 : system_clock().steady_ms() + time_of(fault, settings_late_ms);
            if (held_until_ms_ != never_ms)
                after(held_until_ms_ - system_clock().steady_ms(), [this] { wake_writer(); });
            break;
        case 13:
            no_window_updates_ = true;
            break;
        default:
            break;
    }
}

bool H2Serving::strike_arrival(const Fault& fault, std::int32_t stream) {
    const std::string_view variant = fault.row->variant;
    switch (fault.row->number) {
        case 2:
            // A stream with a higher id may have been taken before: then a GOAWAY alone would lie.
            go_away(0, {}, std::max(stream - 2, taken_last_));
            if (stream <= taken_last_) session_.reset(stream, refused_stream);
            return true;
        case 4:
            if (variant.empty()) return false;
            go_away(0, {});
            mute_ = hold_open_ = true;
            return true;
        case 7:
            session_.reset(stream, refused_stream);
            return true;
        case 8: {
            const std::uint32_t code = variant == "cancel" ? cancel
                                       : variant == "calm" ? calm_down
                                                           : internal_error;
            session_.reset(stream, code);
            return true;
        }
        case 14:
            deaf_ = true;
            happened("deaf");
            after(time_of(fault, deaf_ms), [this] { close(); });
            return true;
        case 15:
            happened("tcp reset");
            reset_socket(stream_.next_layer());
            close();
            return true;
        case 19:
            return variant == "never";
        case 31:
            cancelled_[stream] = true;
            return true;
        case 36:
            happened("closed on a request");
            close();
            return true;
        default:
            return false;
    }
}

bool H2Serving::strike_answer(const Fault& fault, std::int32_t stream, const Reply& reply) {
    const int number = fault.row->number;
    if (number >= 1 && number <= 5) {
        submit(stream, reply);
        strike_goaway(fault, stream);
        return true;
    }
    if (number == 10 || number == 11) {
        strike_settings(fault);
        return false;
    }
    if (number == 20) {
        raw_ += make_frame(FrameType::headers, flag_end_headers, stream,
                           header_block(reply.status, reply.headers));
        drip(stream, reply.body.empty() ? std::string(10, ' ') : reply.body,
             time_of(fault, drip_ms));
        return true;
    }
    if ((number == 16 && fault.row->variant == "json") ||
        (number == 18 && fault.row->variant == "body")) {
        Reply changed = reply;
        changed.fault.reset();
        if (number == 16)
            changed.body.resize(changed.body.size() / 2);
        else
            changed.body.assign(bomb_bytes, 'b');
        submit(stream, changed);
        return true;
    }
    auto mangled = mangle(fault, stream, reply);
    if (!mangled) return false;
    raw_ += mangled->bytes;
    wake_writer();
    if (number == 30 && fault.row->variant == "informational") return false;
    switch (mangled->then) {
        case Mangled::Then::forget:
            session_.reset(stream, 0);
            break;
        case Mangled::Then::reset:
            session_.reset(stream, internal_error);
            break;
        case Mangled::Then::close:
            close_after_raw_ = mute_ = true;
            break;
        case Mangled::Then::mute:
            mute_ = true;
            break;
    }
    return true;
}

void H2Serving::strike_goaway(const Fault& fault, std::int32_t stream) {
    const std::string_view variant = fault.row->variant;
    switch (fault.row->number) {
        case 3:
            hold_open_ = true;
            go_away(0, {}, stream_id_max);
            after(time_of(fault, soon_ms), [this] {
                hold_open_ = false;
                go_away(0, {});
            });
            break;
        case 4:
            hold_open_ = true;
            go_away(0, {});
            break;
        case 5:
            if (variant == "certificate") {
                go_away(fault.code, R"({"reason":"BadCertificateEnvironment"})");
            } else if (variant == "empty") {
                go_away(fault.code == 0 ? internal_error : fault.code, {});
            } else if (variant == "garbage") {
                go_away(fault.code, std::string(garbage_bytes, '\xfe'));
            } else if (variant == "oversize") {
                std::string payload(8, '\0');
                for (int i = 0; i < 4; ++i)
                    payload[static_cast<std::size_t>(i)] =
                        static_cast<char>(static_cast<std::uint32_t>(stream) >> (24 - 8 * i) & 255);
                raw_ += make_frame(FrameType::goaway, 0, 0,
                                   payload + std::string(garbage_bytes_many, '\xfe'));
                mute_ = true;
            } else {
                go_away(fault.code,
                        R"({"reason":")" + (fault.text.empty() ? "Shutdown" : fault.text) + "\"}");
            }
            break;
        default:
            go_away(0, {});
    }
}

void H2Serving::strike_settings(const Fault& fault) {
    using Setting = std::pair<std::uint16_t, std::uint32_t>;
    constexpr std::uint16_t header_table_size = 1, initial_window_size = 4, max_frame_size = 5;
    constexpr std::uint32_t window_usual = 65'535, table_large = 65'536, frame_large = 65'536,
                            frame_usual = 16'384;
    const std::string_view variant = fault.row->variant;
    const std::int64_t ms = time_of(fault, soon_ms);
    if (fault.row->number == 10) {
        const std::uint32_t half = std::max(streams_max() / 2, 1U);
        offer(variant == "zero" ? 0 : 1);
        after(ms, [this, back = variant == "zero" ? streams_max() : half] { offer(back); });
        return;
    }
    Setting now{initial_window_size, 0}, then{initial_window_size, window_usual};
    if (variant == "frame") {
        now = {max_frame_size, frame_large};
        then = {max_frame_size, frame_usual};
    } else if (variant == "table") {
        now = {header_table_size, 0};
        then = {header_table_size, table_large};
    }
    session_.submit_settings(std::span(&now, 1));
    after(ms, [this, then] {
        session_.submit_settings(std::span(&then, 1));
        wake_writer();
    });
}

void H2Serving::drip(std::int32_t stream, std::string rest, std::int64_t ms) {
    wake_writer();
    after(ms, [this, stream, rest = std::move(rest), ms] {
        const bool last = rest.size() <= 1;
        raw_ += make_frame(FrameType::data, last ? flag_end_stream : std::uint8_t{0}, stream,
                           std::string_view(rest).substr(0, 1));
        if (last)
            session_.reset(stream, 0);
        else
            drip(stream, rest.substr(1), ms);
        wake_writer();
    });
}

}  // namespace pns::sim
