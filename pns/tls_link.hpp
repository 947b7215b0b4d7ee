#pragma once

// One TLS connection being opened: resolve anew, try the addresses one after another, shake hands.
// Each step has a deadline; the tick of the owner's alarm calls expire() when deadline_ms() has
// come. One loop; close() ends whatever is pending.

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "pns/alarm.hpp"
#include "pns/connect_to.hpp"
#include "pns/tls.hpp"
#include "pns/tls_stream.hpp"

namespace pns {

class TlsLink {
  public:
    struct Options {
        std::string host;  ///< the name that is verified and sent as SNI
        Target target;     ///< where that name is connected to
        TlsContext tls;
        std::string
            alpn;  ///< must be chosen by the peer; "http/1.1" also if the peer chooses nothing
        std::int64_t connect_timeout_ms =
            10'000;                ///< for resolving and connecting, and again for the handshake
        std::string name_servers;  ///< as NameLookup takes them
    };

    /// `alarm` is the owner's.
    TlsLink(Executor executor, Options options, RunningAlarm& alarm);

    /// errc on failure; certificate_not_trusted is a matter of configuration, everything else of
    /// the network.
    Task<error_code> open();
    /// After open() has succeeded.
    TlsStream& stream() { return *stream_; }
    std::int64_t deadline_ms() const { return deadline_ms_; }
    void expire();
    void close();
    bool closed() const { return closed_; }

  private:
    Task<error_code> connect();
    Task<error_code> resolve(std::vector<asio::ip::tcp::endpoint>& out);
    error_code checked(const std::vector<asio::ip::tcp::endpoint>& endpoints) const;
    void set_deadline(std::int64_t deadline_ms);

    Executor executor_;
    Options options_;
    RunningAlarm& alarm_;
    std::optional<asio::posix::basic_stream_descriptor<Executor>> lookup_;  ///< while it waits
    std::optional<TlsStream::Socket> socket_;
    std::optional<TlsStream> stream_;
    std::int64_t deadline_ms_ = never_ms;
    bool expired_ = false;
    bool closed_ = false;
};

}  // namespace pns
