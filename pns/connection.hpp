#pragma once

// What a pool needs of a connection to a provider, HTTP/2 or HTTP/1.1. One loop owns it; its owner
// starts run() in a nursery and keeps it until run() has ended. Every request submitted ends in
// exactly one on_answer or on_lost, before run() ends at the latest. Events may call submit, drain
// and close.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "pns/account.hpp"
#include "pns/alarm.hpp"
#include "pns/connect_to.hpp"
#include "pns/h2_session.hpp"
#include "pns/tls.hpp"

namespace pns {

struct ConnectionSettings {
    Origin origin;
    Target target;
    TlsContext tls;
    SenderSettings times;
    std::uint32_t streams_max_before_settings = 100;
    std::size_t answer_bytes_max = 256 * 1024;  ///< HTTP/2: what is longer is cut
    std::uint32_t stream_id_first = 1;          ///< HTTP/2, odd: higher in tests only
    const Clock* clock = nullptr;               ///< must be set; outlives the connection
};

/// A POST, or over HTTP/2 another method. Views are needed during submit only.
struct WireRequest {
    std::string_view method = "POST";
    std::string_view path;
    /// Without pseudo headers, host and content-length: those of many requests, and its own.
    std::shared_ptr<const H2Fields> common;
    std::span<const H2Header> headers;
    std::shared_ptr<const std::string> body;
    std::optional<std::int64_t> steady_ms = std::nullopt;  ///< now, where the caller knows it
};

struct Lost {
    bool processed_unknown = false;
    bool timed_out = false;
    std::uint32_t h2_error = 0;
};

class Connection;

class ConnectionEvents {
  public:
    virtual void on_answer(Connection& connection, void* tag, const Answer& answer) = 0;
    virtual void on_lost(Connection& connection, void* tag, const Lost& lost) = 0;
    /// State or room may have changed; at most once per turn of the loop.
    virtual void on_change(Connection& connection) = 0;
    /// GOAWAY; `debug` is the peer's word, unchecked.
    virtual void on_goaway(Connection& connection, std::uint32_t h2_error,
                           std::string_view debug) = 0;

  protected:
    ~ConnectionEvents() = default;
};

class Connection {
  public:
    enum class State : std::uint8_t {
        connecting,
        ready,
        draining,  ///< takes no new requests, waits for answers
        closed,
    };
    virtual ~Connection() = default;

    /// Opens, serves and closes; the reason why it ended.
    virtual Task<error_code> run() = 0;
    /// Only when room() > 0. False if the request was not taken after all (it gets no event).
    virtual bool submit(const WireRequest& request, void* tag) = 0;
    /// Takes no new requests; closes when the last has ended, or after drain_ms_max.
    virtual void drain() = 0;
    virtual void close(error_code why) = 0;

    virtual State state() const = 0;
    virtual std::size_t room() const = 0;  ///< requests that may be submitted now
    virtual std::size_t in_flight() const = 0;
    virtual std::size_t window() const = 0;     ///< requests the peer allows at once
    virtual std::uint64_t answers() const = 0;  ///< ever
    virtual std::int64_t shrunk_ms()
        const = 0;  ///< when the window last became smaller (steady clock); 0 = never
    virtual std::int64_t ready_ms() const = 0;  ///< when it became ready (steady clock); 0 = never
    /// To be replaced by its owner, and drained when that is done (`now_ms`: steady clock).
    /// HTTP/1.1: never, an old one ends itself after its request.
    virtual bool is_old(std::int64_t now_ms) const = 0;
};

}  // namespace pns
