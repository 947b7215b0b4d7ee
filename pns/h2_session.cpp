// The only user of nghttp2. Tested by tests/pns_h2_session_test.cpp, tests/fuzz_h2.cpp.
//
// Impl holds nghttp2's session and a slab of Stream objects that are used again. nghttp2's
// callbacks collect header blocks and bodies within the limits; a stream leaves the books before
// its owner hears of it, so an event may submit at once. What went out is counted in bytes, so
// after a loss each stream is known as processed, not processed or in doubt. No I/O, no clock, no
// lock: one loop. No callback may destroy the session.

#include "pns/h2_session.hpp"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstring>
#include <deque>
#include <exception>
#include <limits>
#include <utility>

#include "pns/header_block.hpp"

namespace pns {

namespace {

constexpr std::size_t goaway_debug_bytes_max = 512;
constexpr std::size_t frame_head_bytes = 9;
constexpr std::size_t frame_bytes_max = 16 * 1024;  // every peer takes so much (RFC 9113 4.2)
constexpr std::size_t spare_bytes_max = 8 * 1024;   // buffers larger than this are not kept
// Ids run out at 2^31 - 1; the connection is retired a little earlier.
constexpr std::uint32_t stream_id_last = (1U << 31) - 1024;

struct HeaderAt {
    std::uint32_t name, name_size, value, value_size;
    bool never_index;
};

struct Stream {
    static constexpr std::int64_t no_mark = -1;
    std::int32_t id = 0;
    int status = 0;             // client: of the header block being read, then the final one
    bool open = false;          // known to nghttp2, or submitted and not yet closed
    bool collecting = false;    // the header block now arriving is wanted
    bool final_status = false;  // client
    bool announced = false;     // server: on_request_headers returned true
    bool complete = false;      // END_STREAM seen after final headers / request delivered
    bool cut = false;           // something was left out of headers or body
    bool mute = false;          // ended by the owner: no events
    bool written = false;       // client: HEADERS went out through drain()
    bool response_submitted = false;
    bool handed_out = false;       // server: `body` is what take() has not given yet
    std::uint64_t written_at = 0;  // client: bytes drained before its HEADERS
    std::size_t header_bytes = 0;
    std::string block;  // names and values of the header block: client: the request's until it
                        // goes out, then what is received
    std::vector<HeaderAt> headers;
    std::shared_ptr<const H2Fields> common;  // client, until it goes out: block is literals then
    std::size_t path_bytes = 0;              // of block, before its own fields
    std::string method;
    std::string_view authority;
    std::string body;
    std::shared_ptr<const std::string> out;  // body being sent
    std::size_t out_offset = 0;
    std::size_t out_piece = 0;    // most bytes of one DATA frame; 0 = no bound
    bool out_empty_last = false;  // END_STREAM in a frame of its own
    bool out_open = false;        // server role: more of `out` may come
    bool out_shared = false;      // `out` is not this stream's alone
    std::uint64_t out_total = 0;  // server role: bytes of the answer that were drained
    std::uint64_t out_mark = 0;   // reset_stalled(): drained when it last moved enough
    std::size_t out_marked = 0;   // and what was left then
    std::int64_t out_marked_ms = no_mark;
    void* context = nullptr;  // client: the owner's

    void clear() {
        auto reuse = [](std::string& s) {
            if (s.capacity() > spare_bytes_max) {
                s = std::string();
            } else {
                s.clear();
            }
        };
        reuse(block);
        reuse(body);
        if (headers.capacity() > spare_bytes_max / sizeof(HeaderAt)) {
            headers = std::vector<HeaderAt>();
        } else {
            headers.clear();
        }
        out.reset();
        common.reset();
        id = status = 0;
        out_offset = out_piece = header_bytes = 0;
        out_empty_last = out_open = out_shared = false;
        out_total = out_mark = out_marked = 0;
        out_marked_ms = no_mark;
        written_at = 0;
        context = nullptr;
        open = collecting = final_status = announced = complete = cut = mute = written =
            response_submitted = handed_out = false;
    }
};

/// Follows the heads of frames (RFC 9113 4.1) to count those that carry nothing: nghttp2 tells of
/// some of them only.
class FrameMeter {
  public:
    explicit FrameMeter(std::size_t preface_bytes) : skip_(preface_bytes) {}

    void feed(std::span<const std::uint8_t> bytes, H2Chores& chores) {
        while (!bytes.empty()) {
            const std::size_t skipped = std::min(skip_, bytes.size());
            skip_ -= skipped;
            bytes = bytes.subspan(skipped);
            const std::size_t taken = std::min(head_.size() - have_, bytes.size());
            std::copy_n(bytes.begin(), taken, head_.begin() + static_cast<std::ptrdiff_t>(have_));
            have_ += taken;
            bytes = bytes.subspan(taken);
            if (have_ < head_.size()) continue;
            count(chores);
            have_ = 0;
        }
    }

  private:
    void count(H2Chores& chores) {
        const std::size_t length =
            (std::size_t{head_[0]} << 16) | (std::size_t{head_[1]} << 8) | head_[2];
        const std::uint8_t type = head_[3], flags = head_[4];
        skip_ = length;
        constexpr std::size_t padding_max = 256;
        const bool padded = (flags & NGHTTP2_FLAG_PADDED) != 0 && length <= padding_max;
        const bool empty = (length == 0 || padded) && (flags & NGHTTP2_FLAG_END_STREAM) == 0;
        if (type == NGHTTP2_HEADERS) {
            ++chores.heads;
        } else if (type != NGHTTP2_DATA || empty) {
            ++chores.frames;
        }
        if (type == NGHTTP2_RST_STREAM) ++chores.resets;
    }

    std::array<std::uint8_t, 9> head_{};
    std::size_t have_ = 0;
    std::size_t skip_;
};

std::string_view view(const std::uint8_t* bytes, std::size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
}

nghttp2_nv name_value(std::string_view name, std::string_view value, bool never_index) {
    nghttp2_nv nv;
    // nghttp2 takes mutable pointers and, without NO_COPY flags, only reads them.
    nv.name = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(name.data()));
    nv.value = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(value.data()));
    nv.namelen = name.size();
    nv.valuelen = value.size();
    nv.flags = never_index ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    return nv;
}

}  // namespace

std::string_view H2Message::header(std::string_view name) const {
    for (const auto& h : headers) {
        if (h.name == name) return h.value;
    }
    return {};
}

struct H2Session::Impl {
    Role role;
    H2Limits limits;
    H2Events& events;
    nghttp2_session* session = nullptr;

    std::deque<Stream> slab;  // addresses stay: nghttp2 holds them as user data
    std::vector<Stream*> spare;
    std::size_t streams_open = 0;
    std::uint64_t bytes_drained = 0;
    std::uint64_t bytes_left = std::numeric_limits<std::uint64_t>::max();  // that left this process
    std::vector<nghttp2_nv> nvs;  // of the submit in progress
    std::vector<H2Header> views;  // lent to the event in progress
    bool abandoned = false;
    bool goaway_sent = false;
    bool goaway_received = false;
    bool broken = false;
    bool in_nghttp2 = false;
    HeaderBlocks blocks;  // client
    FrameMeter meter{NGHTTP2_CLIENT_MAGIC_LEN};
    H2Chores chores;
    std::uint64_t drained_told = 0;
    std::size_t block_bytes = 0;    // decoded of the header block now arriving
    std::size_t bodies_bytes = 0;   // server: in Stream::body
    std::size_t answers_bytes = 0;  // server: left in Stream::out, unless shared
    std::size_t shared_bytes = 0;   // and if it is
    std::exception_ptr thrown;      // by an event inside nghttp2, which knows no exceptions

    Impl(Role r, const H2Limits& l, H2Events& e) : role(r), limits(l), events(e) {}
    ~Impl() { nghttp2_session_del(session); }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    bool client() const { return role == Role::client; }

    /// Runs what a callback of nghttp2 does: an exception must not pass through its frames.
    template <class Function>
    int call(Function function) noexcept {
        if (thrown) return NGHTTP2_ERR_CALLBACK_FAILURE;
        try {
            return function();
        } catch (...) {
            thrown = std::current_exception();
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }
    /// After nghttp2 has returned.
    void rethrow() {
        if (!thrown) return;
        broken = true;
        std::rethrow_exception(std::exchange(thrown, nullptr));
    }

    void keep(Stream& s, std::string_view bytes) {
        s.body.append(bytes);
        if (!client()) bodies_bytes += bytes.size();
    }
    std::string give_body(Stream& s) {
        if (!client()) bodies_bytes -= s.body.size();
        return std::exchange(s.body, std::string());
    }
    /// A small buffer is used again.
    void drop(std::string& body) {
        if (!client()) bodies_bytes -= body.size();
        if (body.capacity() > spare_bytes_max) {
            body = std::string();
        } else {
            body.clear();
        }
    }
    std::size_t left_of(const Stream& s) const { return s.out ? s.out->size() - s.out_offset : 0; }
    std::size_t& bytes_of(const Stream& s) { return s.out_shared ? shared_bytes : answers_bytes; }
    void set_out(Stream& s, std::shared_ptr<const std::string> bytes, bool shared) {
        forget_out(s);
        s.out = std::move(bytes);
        s.out_offset = 0;
        s.out_shared = shared;
        if (!client()) bytes_of(s) += left_of(s);
    }
    void forget_out(Stream& s) {
        if (!client()) bytes_of(s) -= left_of(s);
        s.out.reset();
        s.out_offset = 0;
    }

    Stream* acquire() {
        if (spare.empty()) {
            slab.emplace_back();
            spare.push_back(&slab.back());
        }
        Stream* s = spare.back();
        spare.pop_back();
        s->open = true;
        ++streams_open;
        return s;
    }

    Stream* find(std::int32_t id) const {
        return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
    }

    // The stream leaves the books before its owner hears, so that the owner may use the slot at
    // once; its buffers are given back only after the event.
    void close(Stream& s, std::uint32_t error_code) {
        if (!s.open) return;
        s.open = false;
        --streams_open;
        drop_body(s);
        if (!s.mute) {
            if (client()) {
                close_client(s, error_code);
            } else if (s.announced && (!s.response_submitted || s.out_open)) {
                H2Lost lost;
                lost.processed_unknown = true;
                lost.error_code = error_code;
                events.on_lost(s.id, lost);
            }
        }
        forget_out(s);
        drop(s.body);
        s.clear();
        spare.push_back(&s);
    }

    /// What was not taken of it must not keep the connection's window shut.
    void drop_body(Stream& s) {
        if (!s.handed_out) return;
        s.handed_out = false;
        consumed(s.id, s.body.size());
        drop(s.body);
    }

    void consumed(std::int32_t id, std::size_t bytes) {
        if (bytes > 0) nghttp2_session_consume(session, id, bytes);
    }

    void close_client(Stream& s, std::uint32_t error_code) {
        if (s.final_status) {
            s.cut = s.cut || !s.complete;
            deliver(s, [&](const H2Message& m) { events.on_message(s.id, m); });
            return;
        }
        H2Lost lost;
        lost.error_code = error_code;
        lost.context = s.context;
        const bool left = s.written && s.written_at < bytes_left;
        lost.processed_unknown = left && error_code != NGHTTP2_REFUSED_STREAM;
        events.on_lost(s.id, lost);
    }

    template <class Event>
    void deliver(Stream& s, Event event) {
        std::vector<H2Header> lent;
        lent.swap(views);  // an event may cause another one inside (abandon)
        lent.clear();
        H2Message m;
        m.status = client() ? s.status : 0;
        m.context = s.context;
        const std::string_view block = s.block;
        for (const auto& h : s.headers) {
            const auto name = block.substr(h.name, h.name_size);
            const auto value = block.substr(h.value, h.value_size);
            if (!name.starts_with(':')) {
                lent.push_back({name, value, h.never_index});
            } else if (name == ":method") {
                m.method = value;
            } else if (name == ":path") {
                m.path = value;
            } else if (name == ":authority") {
                m.authority = value;
            } else if (name == ":scheme") {
                m.scheme = value;
            }
        }
        m.headers = lent;
        m.body = s.body;
        m.body_cut = s.cut;
        event(m);
        views.swap(lent);
    }

    /// Null: gone, or answered.
    Stream* answerable(std::int32_t id) const {
        assert(!client());
        Stream* s = abandoned ? nullptr : find(id);
        return s == nullptr || s->mute || s->response_submitted ? nullptr : s;
    }

    void respond(Stream& s, int status, std::span<const H2Header> headers) {
        const std::string code = std::to_string(status);
        nvs.clear();
        nvs.push_back(name_value(":status", code, false));
        for (const auto& h : headers) nvs.push_back(name_value(h.name, h.value, h.never_index));
        s.response_submitted = true;
        drop_body(s);
        if (!s.complete) drop(s.body);  // else it is lent to an event now, or was
        nghttp2_data_provider provider = reading_from(s);
        nghttp2_submit_response(session, s.id, nvs.data(), nvs.size(), s.out ? &provider : nullptr);
    }

    void refuse(Stream& s, std::uint32_t error_code) {
        s.mute = true;
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s.id, error_code);
    }

    void begin_headers(const nghttp2_frame& frame) {
        if (frame.hd.type != NGHTTP2_HEADERS) return;
        block_bytes = 0;
        Stream* s = nullptr;
        if (!client() && frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
            s = acquire();
            s->id = frame.hd.stream_id;
            nghttp2_session_set_stream_user_data(session, s->id, s);
        } else {
            s = find(frame.hd.stream_id);
        }
        if (s == nullptr) return;
        // Trailers come after the final headers; informational responses before.
        s->collecting = !s->final_status && !s->announced && !s->mute;
        if (!s->collecting) return;
        s->status = 0;
        s->header_bytes = 0;
        s->block.clear();
        s->headers.clear();
    }

    /// False: too much, whatever it belongs to. A few bytes on the wire may decode to thousands, so
    /// what comes after in this block is not even looked at.
    bool is_bounded(std::string_view name, std::string_view value) {
        block_bytes += name.size() + value.size() + 32;
        if (limits.header_block_bytes_max == 0 || block_bytes <= limits.header_block_bytes_max)
            return !chores.oversize;
        chores.oversize = true;
        return false;
    }

    void header(std::int32_t id, std::string_view name, std::string_view value, bool never_index) {
        Stream* s = find(id);
        if (s == nullptr || !s->collecting) return;
        if (client() && name == ":status") {
            std::from_chars(value.data(), value.data() + value.size(), s->status);
            return;
        }
        s->header_bytes += name.size() + value.size() + 32;  // RFC 9113 6.5.2
        if (s->headers.size() >= limits.headers_max ||
            s->header_bytes > limits.header_list_bytes_max) {
            s->cut = true;
            return;
        }
        keep_header(*s, name, value, never_index);
    }

    static void keep_header(Stream& s, std::string_view name, std::string_view value,
                            bool never_index) {
        HeaderAt at{};
        at.name = static_cast<std::uint32_t>(s.block.size());
        at.name_size = static_cast<std::uint32_t>(name.size());
        at.value = at.name + at.name_size;
        at.value_size = static_cast<std::uint32_t>(value.size());
        at.never_index = never_index;
        s.block.append(name).append(value);
        s.headers.push_back(at);
    }

    void headers_done(const nghttp2_frame& frame) {
        Stream* s = find(frame.hd.stream_id);
        if (s == nullptr || s->mute) return;
        if (s->collecting) {
            s->collecting = false;
            if (client()) {
                s->final_status = s->status >= 200;
                if (!s->final_status) s->cut = false;
            } else if (s->cut) {
                refuse(*s, NGHTTP2_ENHANCE_YOUR_CALM);
                return;
            } else {
                s->announced = true;
                bool wanted = true;
                deliver(*s, [&](const H2Message& m) {
                    wanted = events.on_request_headers(frame.hd.stream_id, m);
                });
                if (!wanted) refuse(*s, NGHTTP2_REFUSED_STREAM);
                if (!wanted || s->mute) return;
            }
        }
        if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) end_stream(*s);
    }

    void data(std::int32_t id, const std::uint8_t* bytes, std::size_t size) {
        Stream* s = find(id);
        if (s != nullptr && s->handed_out && !s->mute) {
            keep(*s, view(bytes, size));
            events.on_ready(id);
            return;
        }
        if (!client()) consumed(id, size);
        if (s == nullptr || s->mute || s->cut || s->complete || s->response_submitted) return;
        if (s->body.size() + size <= limits.body_bytes_max) {
            keep(*s, view(bytes, size));
            return;
        }
        s->cut = true;
        if (client()) s->body.append(view(bytes, limits.body_bytes_max - s->body.size()));
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id,
                                  client() ? NGHTTP2_CANCEL : NGHTTP2_ENHANCE_YOUR_CALM);
    }

    void end_stream(Stream& s) {
        if (s.complete || (!client() && (s.cut || s.response_submitted))) return;
        if (client()) {
            if (!s.final_status) return;
            s.complete = true;
            // An answer before the request was all sent: what is left of the request is not wanted.
            if (nghttp2_session_get_stream_local_close(session, s.id) == 0) {
                nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s.id, NGHTTP2_NO_ERROR);
            }
            return;
        }
        s.complete = true;
        if (s.handed_out) return events.on_ready(s.id);
        deliver(s, [&](const H2Message& m) { events.on_message(s.id, m); });
        drop(s.body);
    }

    void frame_received(const nghttp2_frame& frame) {
        switch (frame.hd.type) {
            case NGHTTP2_HEADERS:
                headers_done(frame);
                break;
            case NGHTTP2_DATA:
                if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
                    Stream* s = find(frame.hd.stream_id);
                    if (s != nullptr && !s->mute) end_stream(*s);
                }
                break;
            case NGHTTP2_SETTINGS:
                if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) break;
                for (std::size_t i = 0; i < frame.settings.niv; ++i) {
                    const auto& entry = frame.settings.iv[i];
                    if (entry.settings_id == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE)
                        blocks.set_limit(entry.value);
                }
                events.on_settings();
                break;
            case NGHTTP2_PING:
                if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) events.on_pong();
                break;
            case NGHTTP2_GOAWAY: {
                goaway_received = true;
                H2Goaway g;
                g.last_stream_id = frame.goaway.last_stream_id;
                g.error_code = frame.goaway.error_code;
                g.debug = view(frame.goaway.opaque_data,
                               std::min(frame.goaway.opaque_data_len, goaway_debug_bytes_max));
                events.on_goaway(g);
                break;
            }
            default:
                break;
        }
    }

    void install_callbacks(nghttp2_session_callbacks* cb);
    std::size_t put(std::span<const std::uint8_t> frame, std::vector<std::uint8_t>& out);
    std::int32_t begin_request(Stream& s, std::string_view method,
                               std::shared_ptr<const std::string> body_shared, void* context);
    std::size_t put_request(std::span<const std::uint8_t> frame, Stream& s,
                            std::vector<std::uint8_t>& out);
    void frame_sent(const nghttp2_frame& frame);
    static nghttp2_data_provider reading_from(Stream& s);
};

void H2Session::Impl::install_callbacks(nghttp2_session_callbacks* cb) {
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        cb, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
            auto& impl = *static_cast<Impl*>(self);
            return impl.call([&] {
                impl.begin_headers(*frame);
                return 0;
            });
        });
    nghttp2_session_callbacks_set_on_header_callback(
        cb, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
               std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
               std::uint8_t flags, void* self) {
            auto& impl = *static_cast<Impl*>(self);
            return impl.call([&]() -> int {
                const auto named = view(name, name_size), valued = view(value, value_size);
                if (!impl.is_bounded(named, valued)) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
                impl.header(frame->hd.stream_id, named, valued,
                            (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0);
                return 0;
            });
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        cb, [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
               std::size_t size, void* self) {
            auto& impl = *static_cast<Impl*>(self);
            return impl.call([&] {
                impl.data(id, bytes, size);
                return 0;
            });
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        cb, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
            auto& impl = *static_cast<Impl*>(self);
            return impl.call([&] {
                impl.frame_received(*frame);
                return 0;
            });
        });
    nghttp2_session_callbacks_set_before_frame_send_callback(
        cb, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
            auto& impl = *static_cast<Impl*>(self);
            if (frame->hd.type == NGHTTP2_HEADERS) {
                if (Stream* s = impl.find(frame->hd.stream_id)) {
                    s->written = true;
                    s->written_at = impl.bytes_drained;
                }
            }
            return 0;
        });
    nghttp2_session_callbacks_set_on_frame_send_callback(
        cb, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
            static_cast<Impl*>(self)->frame_sent(*frame);
            return 0;
        });
    nghttp2_session_callbacks_set_on_frame_not_send_callback(
        cb, [](nghttp2_session*, const nghttp2_frame* frame, int, void* self) {
            auto& impl = *static_cast<Impl*>(self);
            return impl.call([&] {
                if (!impl.client() || frame->hd.type != NGHTTP2_HEADERS) return 0;
                if (Stream* s = impl.find(frame->hd.stream_id)) {
                    nghttp2_session_set_stream_user_data(impl.session, s->id, nullptr);
                    impl.close(*s, NGHTTP2_REFUSED_STREAM);
                }
                return 0;
            });
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        cb, [](nghttp2_session*, std::int32_t id, std::uint32_t error_code, void* self) {
            auto& impl = *static_cast<Impl*>(self);
            return impl.call([&] {
                if (Stream* s = impl.find(id)) {
                    nghttp2_session_set_stream_user_data(impl.session, id, nullptr);
                    impl.close(*s, error_code);
                }
                return 0;
            });
        });
}

void H2Session::Impl::frame_sent(const nghttp2_frame& frame) {
    if (client()) return;
    const auto id = frame.hd.stream_id;
    if (frame.hd.type == NGHTTP2_RST_STREAM && frame.rst_stream.error_code != NGHTTP2_NO_ERROR)
        ++chores.resets;
    const bool carries = frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA;
    const bool last = carries && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (last && limits.early_bodies_stopped &&
        nghttp2_session_get_stream_remote_close(session, id) == 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
}

H2Session::H2Session(Role role, const H2Limits& limits, H2Events& events)
    : impl_(std::make_unique<Impl>(role, limits, events)) {
    nghttp2_session_callbacks* cb = nullptr;
    nghttp2_option* option = nullptr;
    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&option) != 0) {
        nghttp2_session_callbacks_del(cb);
        throw std::bad_alloc();
    }
    impl_->install_callbacks(cb);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, limits.streams_max_before_settings);
    nghttp2_option_set_no_auto_window_update(option, role == Role::server ? 1 : 0);
    nghttp2_option_set_no_http_messaging(option, limits.messages_checked ? 0 : 1);
    // A hub that cancels many streams at once is no attacker (server role only).
    nghttp2_option_set_stream_reset_rate_limit(option, 100'000, 10'000);
    const int rv = role == Role::client
                       ? nghttp2_session_client_new2(&impl_->session, cb, impl_.get(), option)
                       : nghttp2_session_server_new2(&impl_->session, cb, impl_.get(), option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    if (rv != 0) throw std::bad_alloc();
    if (role == Role::client && limits.stream_id_first > 1) {
        nghttp2_session_set_next_stream_id(impl_->session,
                                           static_cast<std::int32_t>(limits.stream_id_first));
    }

    std::vector<nghttp2_settings_entry> settings;
    if (role == Role::client) {
        settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
    } else {
        settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams_max_offered});
    }
    settings.push_back({NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.window_bytes});
    settings.push_back({NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                        static_cast<std::uint32_t>(limits.header_list_bytes_max)});
    nghttp2_submit_settings(impl_->session, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
    nghttp2_session_set_local_window_size(
        impl_->session, NGHTTP2_FLAG_NONE, 0,
        static_cast<std::int32_t>(std::min<std::uint32_t>(
            limits.connection_window_bytes, std::numeric_limits<std::int32_t>::max())));
}

H2Session::~H2Session() {
    assert(!impl_->in_nghttp2);
}

bool H2Session::feed(std::span<const std::uint8_t> bytes) {
    auto& impl = *impl_;
    assert(!impl.in_nghttp2);
    if (impl.broken || impl.abandoned) return false;
    if (!impl.client()) impl.meter.feed(bytes, impl.chores);
    impl.in_nghttp2 = true;
    const auto taken = nghttp2_session_mem_recv(impl.session, bytes.data(), bytes.size());
    impl.in_nghttp2 = false;
    impl.rethrow();
    if (taken < 0) impl.broken = true;
    return taken >= 0;
}

/// A frame as nghttp2 has made it, but for the header blocks of requests; how many bytes it took.
std::size_t H2Session::Impl::put(std::span<const std::uint8_t> frame,
                                 std::vector<std::uint8_t>& out) {
    if (client() && frame.size() >= frame_head_bytes && frame[3] == NGHTTP2_HEADERS) {
        const std::uint32_t id = std::uint32_t{frame[5]} << 24 | std::uint32_t{frame[6]} << 16 |
                                 std::uint32_t{frame[7]} << 8 | frame[8];
        Stream* const s = find(static_cast<std::int32_t>(id));
        if (s != nullptr && (s->common || !s->headers.empty())) return put_request(frame, *s, out);
        blocks.forget();
    }
    out.insert(out.end(), frame.begin(), frame.end());
    return frame.size();
}

std::size_t H2Session::Impl::put_request(std::span<const std::uint8_t> frame, Stream& s,
                                         std::vector<std::uint8_t>& out) {
    const std::string_view block = s.block;
    const std::size_t begin = out.size();
    out.insert(out.end(), frame.begin(), frame.begin() + frame_head_bytes);
    if (s.common) {
        blocks.encode(s.method, s.authority, s.common, block.substr(0, s.path_bytes),
                      block.substr(s.path_bytes), out);
        s.common.reset();
    } else {
        views.clear();
        for (const auto& h : s.headers)
            views.push_back({block.substr(h.name, h.name_size), block.substr(h.value, h.value_size),
                             h.never_index});
        blocks.encode(views, out);
        s.headers.clear();
    }
    s.block.clear();
    // Of a block that is too long for a frame the rest goes into CONTINUATION frames.
    std::size_t head = begin, left = out.size() - begin - frame_head_bytes;
    for (;;) {
        const std::size_t here = std::min(left, frame_bytes_max);
        for (std::size_t i = 0; i < 3; ++i)
            out[head + i] = static_cast<std::uint8_t>(here >> (16 - 8 * i));
        left -= here;
        if (left == 0) break;
        out[head + 4] &= static_cast<std::uint8_t>(~NGHTTP2_FLAG_END_HEADERS);
        head += frame_head_bytes + here;
        std::array<std::uint8_t, frame_head_bytes> next{0, 0, 0, NGHTTP2_CONTINUATION,
                                                        NGHTTP2_FLAG_END_HEADERS};
        std::copy_n(frame.begin() + 5, 4, next.begin() + 5);
        out.insert(out.begin() + static_cast<std::ptrdiff_t>(head), next.begin(), next.end());
    }
    return out.size() - begin;
}

bool H2Session::drain(std::vector<std::uint8_t>& out, std::size_t bytes_max) {
    auto& impl = *impl_;
    assert(!impl.in_nghttp2);
    if (impl.abandoned) return false;
    const auto before = out.size();
    impl.in_nghttp2 = true;
    while (out.size() < bytes_max) {
        const std::uint8_t* bytes = nullptr;
        const auto size = nghttp2_session_mem_send(impl.session, &bytes);
        if (size < 0) impl.broken = true;
        if (size <= 0) break;
        impl.call([&] {
            impl.bytes_drained += impl.put({bytes, static_cast<std::size_t>(size)}, out);
            return 0;
        });
        if (impl.thrown) break;
    }
    impl.in_nghttp2 = false;
    impl.rethrow();
    return out.size() > before;
}

bool H2Session::alive() const {
    return !impl_->broken && !impl_->abandoned &&
           (nghttp2_session_want_read(impl_->session) != 0 ||
            nghttp2_session_want_write(impl_->session) != 0);
}

nghttp2_data_provider H2Session::Impl::reading_from(Stream& s) {
    nghttp2_data_provider provider;
    provider.source.ptr = &s;
    provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room,
                                std::uint32_t* flags, nghttp2_data_source* source,
                                void* self) -> ssize_t {
        auto& stream = *static_cast<Stream*>(source->ptr);
        auto& impl = *static_cast<Impl*>(self);
        const std::size_t left = impl.left_of(stream);
        if (left == 0 && stream.out_open) {
            const int failed = impl.call([&] {
                impl.events.on_ready(stream.id);
                return 0;
            });
            return failed != 0 ? failed : NGHTTP2_ERR_DEFERRED;
        }
        const std::size_t piece = stream.out_piece == 0 ? room : std::min(room, stream.out_piece);
        const std::size_t n = std::min(piece, left);
        std::memcpy(to, stream.out->data() + stream.out_offset, n);
        stream.out_offset += n;
        stream.out_total += n;
        if (!impl.client()) impl.bytes_of(stream) -= n;
        if (n == left && !stream.out_open && (n == 0 || !stream.out_empty_last))
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        return static_cast<ssize_t>(n);
    };
    return provider;
}

std::int32_t H2Session::submit_request(std::span<const H2Header> headers,
                                       std::shared_ptr<const std::string> body_shared,
                                       void* context) {
    if (!may_submit()) return -1;
    Stream* s = impl_->acquire();
    std::string_view method;
    for (const auto& h : headers) {
        if (h.name == ":method") method = h.value;
        Impl::keep_header(*s, h.name, h.value, h.never_index);
    }
    return impl_->begin_request(*s, method, std::move(body_shared), context);
}

std::int32_t H2Session::submit_request(const H2Request& request) {
    static const auto none = std::make_shared<const H2Fields>();
    if (!may_submit()) return -1;
    Stream* s = impl_->acquire();
    s->method = request.method;
    s->authority = request.authority;
    s->common = request.common ? request.common : none;
    HeaderBlocks::append_literal({":path", request.path}, s->block);
    s->path_bytes = s->block.size();
    for (const H2Header& h : request.own) HeaderBlocks::append_literal(h, s->block);
    return impl_->begin_request(*s, request.method, request.body, request.context);
}

/// nghttp2 needs the method alone: the block that goes out is ours (put_request).
std::int32_t H2Session::Impl::begin_request(Stream& s, std::string_view method,
                                            std::shared_ptr<const std::string> body_shared,
                                            void* context) {
    assert(client());
    s.out = std::move(body_shared);
    s.context = context;
    const bool has_body = s.out && !s.out->empty();
    nghttp2_data_provider body = reading_from(s);
    const nghttp2_nv nv = name_value(":method", method, false);
    const auto id =
        nghttp2_submit_request(session, nullptr, &nv, 1, has_body ? &body : nullptr, &s);
    if (id < 0) {
        s.mute = true;
        close(s, 0);
        return -1;
    }
    s.id = id;
    return id;
}

void H2Session::hand_out(std::int32_t stream) {
    if (Stream* s = impl_->find(stream)) s->handed_out = true;
}

std::optional<H2Piece> H2Session::take(std::int32_t stream) {
    Stream* s = impl_->abandoned ? nullptr : impl_->find(stream);
    if (s == nullptr || s->mute || !s->handed_out) return std::nullopt;
    H2Piece piece;
    piece.bytes = impl_->give_body(*s);
    piece.last = s->complete;
    impl_->consumed(stream, piece.bytes.size());
    return piece;
}

void H2Session::submit_response(std::int32_t stream, int status, std::span<const H2Header> headers,
                                std::string body) {
    submit_response_split(stream, status, headers, std::move(body), 0, false);
}

void H2Session::submit_response_shared(std::int32_t stream, int status,
                                       std::span<const H2Header> headers,
                                       std::shared_ptr<const std::string> body) {
    auto& impl = *impl_;
    Stream* s = impl.answerable(stream);
    if (s == nullptr) return;
    if (body && !body->empty()) impl.set_out(*s, std::move(body), true);
    impl.respond(*s, status, headers);
}

void H2Session::submit_response_split(std::int32_t stream, int status,
                                      std::span<const H2Header> headers, std::string body,
                                      std::size_t data_bytes_max, bool empty_last) {
    auto& impl = *impl_;
    Stream* s = impl.answerable(stream);
    if (s == nullptr) return;
    s->out_piece = data_bytes_max;
    s->out_empty_last = empty_last;
    if (!body.empty())
        impl.set_out(*s, std::make_shared<const std::string>(std::move(body)), false);
    impl.respond(*s, status, headers);
}

void H2Session::submit_response_open(std::int32_t stream, int status,
                                     std::span<const H2Header> headers) {
    Stream* s = impl_->answerable(stream);
    if (s == nullptr) return;
    s->out_open = true;
    impl_->set_out(*s, std::make_shared<const std::string>(), false);
    impl_->respond(*s, status, headers);
}

bool H2Session::append(std::int32_t stream, std::string_view bytes, bool last) {
    Stream* s = impl_->abandoned ? nullptr : impl_->find(stream);
    if (s == nullptr || s->mute || !s->out_open) return false;
    std::string rest = s->out->substr(s->out_offset);
    rest += bytes;
    impl_->set_out(*s, std::make_shared<const std::string>(std::move(rest)), false);
    s->out_open = !last;
    nghttp2_session_resume_data(impl_->session, stream);
    return true;
}

std::size_t H2Session::answers_bytes() const {
    return impl_->answers_bytes;
}

std::size_t H2Session::bodies_bytes() const {
    return impl_->bodies_bytes;
}

bool H2Session::reset_stalled(std::int64_t now_ms, std::int64_t limit_ms, std::size_t least_bytes,
                              std::uint32_t error_code) {
    auto& impl = *impl_;
    if (impl.abandoned || impl.answers_bytes + impl.shared_bytes == 0) return false;
    bool waiting = false;
    for (Stream& s : impl.slab) {
        const std::size_t left = s.open && !s.mute ? impl.left_of(s) : 0;
        if (left == 0) {
            s.out_marked_ms = Stream::no_mark;
            continue;
        }
        const std::uint64_t moved = s.out_total - s.out_mark;
        const bool fresh = s.out_marked_ms == Stream::no_mark;
        if (fresh || moved >= std::min(least_bytes, s.out_marked)) {
            s.out_mark = s.out_total;
            s.out_marked = left;
            s.out_marked_ms = now_ms;
        } else if (now_ms - s.out_marked_ms >= limit_ms) {
            impl.refuse(s, error_code);
            continue;
        }
        waiting = true;
    }
    return waiting;
}

H2Chores H2Session::take_chores() {
    auto& impl = *impl_;
    H2Chores chores = std::exchange(impl.chores, H2Chores());
    chores.drained = impl.bytes_drained - std::exchange(impl.drained_told, impl.bytes_drained);
    return chores;
}

std::size_t H2Session::frames_waiting() const {
    return impl_->abandoned ? 0 : nghttp2_session_get_outbound_queue_size(impl_->session);
}

std::size_t H2Session::unread(std::int32_t stream) const {
    const Stream* s = impl_->abandoned ? nullptr : impl_->find(stream);
    return s == nullptr ? 0 : impl_->left_of(*s);
}

bool H2Session::reset(std::int32_t stream, std::uint32_t error_code) {
    auto& impl = *impl_;
    Stream* s = nullptr;
    if (impl.abandoned) return true;
    s = impl.find(stream);
    if (s == nullptr) {  // submitted, HEADERS not drained yet: nghttp2 does not know it as a stream
        for (auto& candidate : impl.slab) {
            if (candidate.open && candidate.id == stream) s = &candidate;
        }
    }
    if (s == nullptr || s->mute) return true;
    const bool seen = s->written || !impl.client();
    impl.refuse(*s, error_code);
    return seen;
}

void H2Session::submit_ping() {
    if (!impl_->abandoned) nghttp2_submit_ping(impl_->session, NGHTTP2_FLAG_NONE, nullptr);
}

void H2Session::submit_goaway(std::uint32_t error_code, std::string_view debug,
                              std::int32_t last_stream_id) {
    auto& impl = *impl_;
    if (impl.abandoned) return;
    impl.goaway_sent = true;
    if (last_stream_id < 0) {
        last_stream_id = impl.client() ? 0 : nghttp2_session_get_last_proc_stream_id(impl.session);
    }
    nghttp2_submit_goaway(impl.session, NGHTTP2_FLAG_NONE, last_stream_id, error_code,
                          reinterpret_cast<const std::uint8_t*>(debug.data()), debug.size());
}

void H2Session::submit_settings_streams_max(std::uint32_t streams_max) {
    const nghttp2_settings_entry entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams_max};
    if (!impl_->abandoned) nghttp2_submit_settings(impl_->session, NGHTTP2_FLAG_NONE, &entry, 1);
}

void H2Session::submit_settings(std::span<const std::pair<std::uint16_t, std::uint32_t>> entries) {
    if (impl_->abandoned) return;
    std::vector<nghttp2_settings_entry> settings;
    for (const auto& [id, value] : entries) settings.push_back({id, value});
    nghttp2_submit_settings(impl_->session, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
}

std::size_t H2Session::streams_open() const {
    return impl_->streams_open;
}

std::size_t H2Session::streams_max() const {
    return nghttp2_session_get_remote_settings(impl_->session,
                                               NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

std::uint32_t H2Session::requests_left() const {
    const auto next = nghttp2_session_get_next_stream_id(impl_->session);
    return next < stream_id_last ? (stream_id_last - next + 1) / 2 : 0;
}

bool H2Session::may_submit() const {
    const auto& impl = *impl_;
    return impl.client() && !impl.abandoned && !impl.broken && !going_away() &&
           impl.streams_open < streams_max() && requests_left() > 0 &&
           nghttp2_session_check_request_allowed(impl.session) != 0;
}

bool H2Session::going_away() const {
    return impl_->goaway_received || impl_->goaway_sent;
}

void H2Session::abandon(std::size_t bytes_unsent) {
    auto& impl = *impl_;
    if (impl.abandoned) return;
    impl.abandoned = true;
    impl.bytes_left =
        impl.bytes_drained - std::min<std::uint64_t>(bytes_unsent, impl.bytes_drained);
    // Events cannot add streams any more: may_submit() is false.
    for (auto& s : impl.slab) {
        if (s.open) impl.close(s, 0);
    }
}

}  // namespace pns
