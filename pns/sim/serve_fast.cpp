// HTTP/2 for benchmarks: no HPACK, no library, one answer. Tested by tests/pns_sim_test.cpp.
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

class Answers {
  public:
    explicit Answers(const SimOptions& options) {
        if (options.platform == "apns") {
            head_ = header_block(200, {{"apns-id", "00000000-0000-4000-8000-000000000000"}});
        } else if (options.platform == "fcmv1") {
            head_ = header_block(200, {{"content-type", "application/json; charset=UTF-8"}});
            body_ = "{\n  \"name\": \"projects/" + options.trust.project +
                    "/messages/0:1500415314455276%31bd1c9631bd1c96\"\n}\n";
        }
    }
    /// `whole`: with all that the real provider sends.
    void add(std::string& out, std::int32_t stream, bool whole) const {
        if (!whole)
            return add_frame(out, FrameType::headers, flag_end_headers | flag_end_stream, stream,
                             bare_head_);
        const std::uint8_t ends = body_.empty() ? flag_end_stream : std::uint8_t{0};
        add_frame(out, FrameType::headers, flag_end_headers | ends, stream, head_);
        if (!body_.empty()) add_frame(out, FrameType::data, flag_end_stream, stream, body_);
    }

  private:
    const std::string bare_head_ = header_block(200, {});
    std::string head_ = bare_head_, body_;
};

class FastConnection final : public Connection {
  public:
    FastConnection(Loop& loop, TlsStream& stream)
        : loop_(loop), stream_(stream), answers_(loop.options) {
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
            std::size_t at = 0;
            ends_.push_back(out_.size());
            const auto ends = std::exchange(ends_, {});
            for (const std::size_t end : ends) {
                if (end == at || closed_) continue;
                const auto piece = asio::buffer(out_.data() + at, end - at);
                const auto [ec, sent] = co_await asio::async_write(stream_, piece, as_result);
                if (ec) closed_ = true;
                at = end;
            }
            if (closed_) break;
            out_.clear();
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
        const bool each_alone = loop_.each_alone;
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
                    answers_.add(out_, head.stream, each_alone);
                    if (each_alone) ends_.push_back(out_.size());
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
    const Answers answers_;
    std::string out_;
    std::vector<std::size_t> ends_;  ///< in out_, of what is written alone
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
