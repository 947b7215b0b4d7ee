#pragma once

// The connections of one loop of a simulator. Everything here belongs to that loop, except the
// counters.

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <random>
#include <set>
#include <thread>

#include "pns/alarm.hpp"
#include "pns/nursery.hpp"
#include "pns/sim/provider.hpp"
#include "pns/tls.hpp"

namespace pns::sim {

using Socket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;
using TlsStream = asio::ssl::stream<Socket>;

inline constexpr std::size_t request_body_bytes_max = 64 * 1024;

class Connection {
  public:
    virtual void on_event(const Event& event) = 0;

  protected:
    ~Connection() = default;
};

struct Loop {
    Loop(const SimOptions& sim_options, Provider& sim_provider, Journal& sim_journal,
         TlsContext context, std::uint64_t seed)
        : options(sim_options),
          provider(sim_provider),
          journal(sim_journal),
          tls(std::move(context)),
          nursery(io.get_executor()),
          acceptor(io.get_executor()),
          random(seed) {}

    const SimOptions& options;
    Provider& provider;
    Journal& journal;
    TlsContext tls;
    asio::io_context io{1};
    Nursery nursery;
    Acceptor acceptor;
    std::mt19937_64 random;
    std::set<Connection*> connections;
    bool stopping = false;
    alignas(64) std::atomic<std::uint64_t> fast_answers{0};  ///< written by this loop only
    std::atomic<std::int64_t> fast_first_us{0}, fast_last_us{0};
    std::thread thread;

    void count_fast();
    std::int64_t latency_ms();  ///< a sample of the model
};

/// Accepts until the acceptor is closed.
Task<void> accept_connections(Loop& loop);
/// From the accepted socket to its end: handshake, then by ALPN.
Task<void> serve_connection(Loop& loop, Socket socket);
Task<void> serve_h2(Loop& loop, TlsStream& stream);
Task<void> serve_h1(Loop& loop, TlsStream& stream);

/// Ends a connection so that the peer sees a reset instead of an orderly end.
void reset_socket(Socket& socket);
void close_socket(Socket& socket);

}  // namespace pns::sim
