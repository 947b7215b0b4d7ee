#pragma once

// The connections of one loop of a simulator. Everything here belongs to that loop, except what is
// atomic.

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
#include "pns/sim/wrong_tls.hpp"
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

/// A connection as it was accepted.
struct Arrival {
    std::uint64_t connection = 0;  ///< ordinal, from 1
    std::string peer;
    FaultHit fault;
};

struct Loop {
    Loop(const SimOptions& sim_options, Provider& sim_provider, Journal& sim_journal,
         FaultBook& fault_book, WrongTls& wrong, TlsContext context, std::uint64_t seed)
        : options(sim_options),
          provider(sim_provider),
          journal(sim_journal),
          faults(fault_book),
          wrong_tls(wrong),
          tls(std::move(context)),
          nursery(io.get_executor()),
          acceptor(io.get_executor()),
          random(seed),
          each_alone(sim_options.each_alone) {}

    const SimOptions& options;
    Provider& provider;
    Journal& journal;
    FaultBook& faults;
    WrongTls& wrong_tls;
    TlsContext tls;
    asio::io_context io{1};
    Nursery nursery;
    Acceptor acceptor;
    std::mt19937_64 random;
    std::set<Connection*> connections;
    std::atomic<bool> each_alone;  ///< as SimOptions has it; any thread sets it
    bool stopping = false;
    std::uint16_t port = 0;
    bool held = false;                 ///< the port is bound, nobody listens
    std::int64_t closed_until_ms = 0;  ///< nobody listens before (steady clock)
    std::int64_t paused_until_ms = 0;  ///< nobody accepts before
    alignas(64) std::atomic<std::uint64_t> fast_answers{0};  ///< written by this loop only
    std::atomic<std::int64_t> fast_first_us{0}, fast_last_us{0};
    std::thread thread;

    void count_fast(std::uint64_t answers);
    std::int64_t latency_ms(const Latency& model);  ///< a sample
};

/// Stops to listen and keeps the port, so that nobody else gets it meanwhile.
void hold_port(Loop& loop);
/// The port that was bound. `shared`: with the other loops of this process.
Result<std::uint16_t> listen(Acceptor& acceptor, const std::string& address, std::uint16_t port,
                             bool shared = true);
/// Accepts until the loop stops.
Task<void> accept_connections(Loop& loop);
/// From the accepted socket to its end: handshake, then by ALPN.
Task<void> serve_connection(Loop& loop, Socket socket);
Task<void> serve_h2(Loop& loop, TlsStream& stream, const Arrival& arrival);
Task<void> serve_h1(Loop& loop, TlsStream& stream, const Arrival& arrival);
/// Benchmarks: 200 to every stream, looking at frame heads only.
Task<void> serve_fast(Loop& loop, TlsStream& stream);

/// Ends a connection so that the peer sees a reset instead of an orderly end.
void reset_socket(Socket& socket);
void close_socket(Socket& socket);

}  // namespace pns::sim
