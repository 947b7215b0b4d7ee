#pragma once

// HTTP/2 without I/O: nghttp2 behind feed() and drain(). The only file that knows nghttp2 is
// h2_session.cpp.
//
// One session belongs to one loop. Its owner reads bytes from the socket into feed(), writes what
// drain() gives, and hears about streams through H2Events. Calls into the session from inside an
// event are allowed, except destroying it. Client role: every stream submitted ends in exactly one
// of on_message or on_lost, also when the session is abandoned. Server role: on_request_headers
// comes first, and then on_message, unless the stream ends before. Until the whole answer is
// submitted, on_lost may say at any time that the answer is no longer wanted. Answers to streams
// that are gone are ignored.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pns {

/// Names lower case. Pseudo headers included (":status", ":path").
struct H2Header {
    std::string_view name;
    std::string_view value;
    bool never_index =
        false;  ///< a secret or a value that never repeats: stays out of HPACK's table
};

/// Header fields that many requests have in common, without pseudo headers. Immutable once shared.
struct H2Field {
    std::string name, value;  ///< name lower case
    bool never_index = false;
};
using H2Fields = std::vector<H2Field>;

/// A request over https whose fields are partly those of many others. Views are needed during
/// submit_request only, but for `authority`, which outlives the session.
struct H2Request {
    std::string_view method = "POST", authority, path;
    std::shared_ptr<const H2Fields> common;   ///< may be null
    std::span<const H2Header> own;            ///< go out behind them, never in HPACK's table
    std::shared_ptr<const std::string> body;  ///< may be null
    void* context = nullptr;                  ///< comes back in the stream's event
};

/// A complete request (server role) or response (client role). Views live during the event only.
struct H2Message {
    int status = 0;  ///< client role: the final :status; informational ones are skipped
    std::string_view method, path, authority, scheme;  ///< server role
    std::span<const H2Header> headers;                 ///< without pseudo headers
    std::string_view body;
    bool body_cut = false;    ///< headers or body incomplete: over a cap, or reset after the final
                              ///< status (docs/contracts/pns.md 0)
    void* context = nullptr;  ///< client role: what submit_request was given
    std::string_view header(std::string_view name) const;  ///< first value, or empty
};

/// Why a stream ended without a message.
struct H2Lost {
    bool processed_unknown = false;  ///< false: provably not processed (REFUSED_STREAM, above
                                     ///< GOAWAY's id, never written)
    std::uint32_t error_code = 0;    ///< HTTP/2 error code; 0 when the connection just ended
    void* context = nullptr;         ///< client role: what submit_request was given
};

struct H2Goaway {
    std::int32_t last_stream_id = 0;
    std::uint32_t error_code = 0;
    std::string_view debug;  ///< capped
};

/// Server role: a part of a request's body.
struct H2Piece {
    std::string bytes;
    bool last = false;
};

class H2Events {
  public:
    virtual void on_message(std::int32_t stream, const H2Message& message) = 0;
    virtual void on_lost(std::int32_t stream, const H2Lost& lost) = 0;
    virtual void on_settings() {}  ///< streams_max() may have changed
    virtual void on_goaway(const H2Goaway&) {}
    virtual void on_pong() {}
    /// Server role: the request's headers are complete, its body not. Return false to refuse the
    /// stream.
    virtual bool on_request_headers(std::int32_t, const H2Message&) { return true; }
    /// Server role: take() has something, or all that was appended to an open answer is drained.
    virtual void on_ready(std::int32_t) {}

  protected:
    ~H2Events() = default;
};

struct H2Limits {
    std::size_t header_list_bytes_max = 64 * 1024;
    std::size_t headers_max = 256;
    std::size_t body_bytes_max =
        256 * 1024;  ///< beyond it: client cuts the body, server resets with on_lost
    std::uint32_t streams_max_before_settings = 100;  ///< client role: 1 for APNs token connections
    std::uint32_t streams_max_offered = 250;  ///< server role: SETTINGS_MAX_CONCURRENT_STREAMS
    std::uint32_t window_bytes = 65'535;      ///< initial stream window offered
    std::uint32_t connection_window_bytes = 1 << 20;
    std::uint32_t stream_id_first = 1;  ///< client role, odd: higher in tests only
    bool messages_checked = true;  ///< false: RFC 9113 section 8 (header names, pseudo headers,
                                   ///< content-length) is left to the owner
    /// Server role: a header block that decodes to more is given up at once and told of as
    /// H2Chores::oversize; 0 = no bound.
    std::size_t header_block_bytes_max = 0;
    bool early_bodies_stopped = false;  ///< server role: who is answered before the end of its body
                                        ///< is told to send no more of it (RFC 9113 8.1)
};

/// Server role: what a peer has made the session do besides carrying requests. Its owner bounds it.
struct H2Chores {
    std::size_t frames = 0;     ///< that carry nothing: all but HEADERS and DATA with content
    std::size_t resets = 0;     ///< streams that either side has reset, for whatever reason
    std::size_t heads = 0;      ///< HEADERS frames
    std::uint64_t drained = 0;  ///< bytes that drain() gave
    bool oversize = false;      ///< a header block was over header_block_bytes_max
};

class H2Session {
  public:
    enum class Role { client, server };

    H2Session(Role role, const H2Limits& limits, H2Events& events);
    ~H2Session();
    H2Session(const H2Session&) = delete;
    H2Session& operator=(const H2Session&) = delete;

    /// Takes bytes from the peer. An exception of an event comes out here, and the session is
    /// beyond repair then. False: the connection is beyond repair; drain() what is left and close.
    bool feed(std::span<const std::uint8_t> bytes);
    /// Appends frames to `out` until it holds about `bytes_max` or nothing is pending. True if
    /// something was added.
    bool drain(std::vector<std::uint8_t>& out, std::size_t bytes_max = 64 * 1024);
    /// False once both directions are finished: close the socket.
    bool alive() const;

    /// Client role. Starts a request; `headers` are copied. `body_shared` (may be null) is held by
    /// reference count: many streams share one body without a copy. `context` comes back in the
    /// stream's event. Returns the stream id, or a negative number if no stream may be started now.
    std::int32_t submit_request(std::span<const H2Header> headers,
                                std::shared_ptr<const std::string> body_shared,
                                void* context = nullptr);
    /// The same, for one of many: what it has in common with others is coded once for all of them.
    std::int32_t submit_request(const H2Request& request);
    /// Server role, from inside on_request_headers: no on_message will come, take() gives the body.
    /// What is not taken keeps the stream's window shut, so that a body never holds more than that.
    void hand_out(std::int32_t stream);
    /// What has come of such a body since the last time. Nothing: the stream is gone or answered.
    std::optional<H2Piece> take(std::int32_t stream);
    /// Server role. What has come of the request's body is dropped, as is what still comes.
    void submit_response(std::int32_t stream, int status, std::span<const H2Header> headers,
                         std::string body);
    /// The same with a body that many streams share without a copy; null: none.
    void submit_response_shared(std::int32_t stream, int status, std::span<const H2Header> headers,
                                std::shared_ptr<const std::string> body);
    /// The same in DATA frames of at most `data_bytes_max` (0 = no bound); END_STREAM comes in an
    /// empty one if `empty_last`.
    void submit_response_split(std::int32_t stream, int status, std::span<const H2Header> headers,
                               std::string body, std::size_t data_bytes_max, bool empty_last);
    /// Server role: an answer whose body comes in pieces, by append().
    void submit_response_open(std::int32_t stream, int status, std::span<const H2Header> headers);
    /// Adds to such an answer, `last` ends it. False: the stream is gone.
    bool append(std::int32_t stream, std::string_view bytes, bool last);
    /// Bytes of such an answer that were not drained yet.
    std::size_t unread(std::int32_t stream) const;
    /// Server role: bytes of answers that were not drained, all streams, without shared bodies.
    std::size_t answers_bytes() const;
    /// Server role: bytes of request bodies that are held here, all streams.
    std::size_t bodies_bytes() const;
    /// Server role: resets each stream whose answer has not moved for `limit_ms`: neither has all
    /// been drained that lay there, nor `least_bytes` of it. To be called now and then with the
    /// time; a stream's time begins at the first call. False: no answer is waiting.
    bool reset_stalled(std::int64_t now_ms, std::int64_t limit_ms, std::size_t least_bytes,
                       std::uint32_t error_code);
    /// Server role: since the last call.
    H2Chores take_chores();
    /// Frames besides DATA that drain() has not given yet. An owner that goes on feeding a peer
    /// that does not read makes them grow.
    std::size_t frames_waiting() const;
    /// Ends a stream early; on_lost is NOT called for it. False: the peer has certainly not seen
    /// the stream (client role).
    bool reset(std::int32_t stream, std::uint32_t error_code);
    void submit_ping();
    /// Sends GOAWAY with the last processed id, or a lower one given (server: streams above it end
    /// in on_lost); streams in flight go on.
    void submit_goaway(std::uint32_t error_code = 0, std::string_view debug = {},
                       std::int32_t last_stream_id = -1);
    void submit_settings_streams_max(std::uint32_t streams_max);
    /// One SETTINGS frame; identifiers of RFC 9113 6.5.2.
    void submit_settings(std::span<const std::pair<std::uint16_t, std::uint32_t>> entries);

    /// Client role: requests in flight, and how many the peer allows at once now.
    std::size_t streams_open() const;
    std::size_t streams_max() const;
    /// Client role: how many may be submitted before the stream ids are used up.
    std::uint32_t requests_left() const;
    /// Client role: a new request may be submitted (not going away, ids left, a slot free).
    bool may_submit() const;
    bool going_away() const;
    /// The connection is gone, and the last `bytes_unsent` that drain() gave never left: reports
    /// every open stream through on_lost. Streams whose headers lie in those bytes are certainly
    /// not processed.
    void abandon(std::size_t bytes_unsent = 0);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pns
