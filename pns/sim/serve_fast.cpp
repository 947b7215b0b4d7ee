// HTTP/2 for benchmarks: no HPACK, no library, one answer. Tested by tests/pns_sim_test.cpp.
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include "pns/sim/frames.hpp"
#include "pns/sim/serving.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t preface_bytes = 24, read_bytes = 64 * 1024;
constexpr std::uint32_t window_bytes = 1U << 30;
constexpr std::uint32_t window_refill_bytes = 1U << 28;

void add_number(std::string& out, std::uint32_t value) {
    for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(value >> shift & 255);
}

std::string first_words(std::uint32_t streams_max) {
    std::string settings("\0\3", 2);
    add_number(settings, streams_max);
    std::string window;
    add_number(window, window_bytes);
    return make_frame(FrameType::settings, 0, 0, settings) +
           make_frame(FrameType::window_update, 0, 0, window);
}

/// HEADERS with END_STREAM, `:status: 200` from the static table.
void add_answer(std::string& out, std::int32_t stream) {
    std::array<char, frame_head_bytes + 1> frame = {
        0, 0, 1, 1, static_cast<char>(flag_end_headers | flag_end_stream)};
    const auto id = static_cast<std::uint32_t>(stream);
    for (std::size_t i = 0; i < 4; ++i) frame[5 + i] = static_cast<char>(id >> (24 - 8 * i) & 255);
    frame[9] = static_cast<char>(0x88);
    out.append(frame.data(), frame.size());
}

class FastConnection final : public Connection {
  public:
    FastConnection(Loop& loop, TlsStream& stream) : loop_(loop), stream_(stream) {
        loop_.connections.insert(this);
    }
    ~FastConnection() { loop_.connections.erase(this); }
    FastConnection(const FastConnection&) = delete;
    FastConnection& operator=(const FastConnection&) = delete;

    void on_event(const Event& event) override {
        if (event.kind == Event::Kind::reset) reset_socket(stream_.next_layer());
        if (event.kind != Event::Kind::close && event.kind != Event::Kind::goaway) return;
        closed_ = true;
        close_socket(stream_.next_layer());
    }

    Task<void> run() {
        out_ = first_words(loop_.options.streams_max != 0 ? loop_.options.streams_max
                                                          : loop_.provider.habits().streams_max);
        while (!closed_) {
            if (!out_.empty()) {
                const auto [ec, sent] =
                    co_await asio::async_write(stream_, asio::buffer(out_), as_result);
                if (ec) break;
                out_.clear();
            }
            const auto [ec, size] = co_await stream_.async_read_some(
                asio::buffer(in_.data() + have_, in_.size() - have_), as_result);
            if (ec) break;
            have_ += size;
            answer_all();
        }
    }

  private:
    void answer_all() {
        std::size_t at = 0;
        std::uint64_t answers = 0;
        while (at < have_) {
            if (skip_ > 0) {
                const std::size_t n = std::min(skip_, have_ - at);
                skip_ -= n;
                at += n;
                continue;
            }
            if (have_ - at < frame_head_bytes) break;
            const FrameHead head = read_frame_head(in_.data() + at);
            const bool ping = head.type == FrameType::ping && (head.flags & flag_ack) == 0;
            if (ping && have_ - at < frame_head_bytes + head.bytes) break;
            if (ping)
                out_ +=
                    make_frame(FrameType::ping, flag_ack, 0,
                               {reinterpret_cast<const char*>(in_.data() + at) + frame_head_bytes,
                                std::min<std::size_t>(head.bytes, 8)});
            at += frame_head_bytes;
            skip_ = head.bytes;
            switch (head.type) {
                case FrameType::data:
                    received_ += static_cast<std::uint32_t>(head.bytes);
                    [[fallthrough]];
                case FrameType::headers:
                    if ((head.flags & flag_end_stream) == 0) break;
                    add_answer(out_, head.stream);
                    ++answers;
                    break;
                case FrameType::settings:
                    if ((head.flags & flag_ack) == 0)
                        out_ += make_frame(FrameType::settings, flag_ack, 0, {});
                    break;
                default:
                    break;
            }
        }
        std::copy(in_.begin() + static_cast<std::ptrdiff_t>(at),
                  in_.begin() + static_cast<std::ptrdiff_t>(have_), in_.begin());
        have_ -= at;
        if (answers > 0) loop_.count_fast(answers);
        if (received_ < window_refill_bytes) return;
        std::string increment;
        add_number(increment, received_);
        out_ += make_frame(FrameType::window_update, 0, 0, increment);
        received_ = 0;
    }

    Loop& loop_;
    TlsStream& stream_;
    std::vector<std::uint8_t> in_ = std::vector<std::uint8_t>(read_bytes);
    std::string out_;
    std::size_t have_ = 0, skip_ = preface_bytes;
    std::uint32_t received_ = 0;
    bool closed_ = false;
};

}  // namespace

Task<void> serve_fast(Loop& loop, TlsStream& stream) {
    FastConnection connection(loop, stream);
    co_await connection.run();
}

}  // namespace pns::sim
