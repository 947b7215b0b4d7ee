#pragma once

// A provider on loopback: real sockets, real TLS, the provider's own checks and answers
// (contracts/pns.md 8).
//
// A Simulator serves one provider for one app with its own threads; everything here may be called
// from any thread. A test says per handle what shall happen (rules) and reads afterwards what
// arrived. Besides this interface there is a control port, plain HTTP on loopback:
//   GET  /counters                     Counters as JSON
//   GET  /received[?outcome=refused]   one handle per line: pushes accepted (or refused) since the
//   last reset GET  /bodies?handle=<encoded>      the last body that came for a handle POST /rules
//   as read_rules(); {"add":true} keeps the handles there are POST /reset forgets what arrived;
//   {"rules":true} forgets the rules too POST /event
//   {"event":"goaway"|"reset"|"close"|"settings"|"revoke_tokens"|"clock", …}

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pns/sim/credentials.hpp"
#include "pns/sim/journal.hpp"
#include "pns/sim/rules.hpp"
#include "pns/task.hpp"

namespace pns::sim {

/// How long an answer takes.
struct Latency {
    enum class Model : std::uint8_t { none, constant, uniform, lognormal } model = Model::none;
    double low_ms = 0;   ///< constant: the value; uniform: the least; lognormal: the median
    double high_ms = 0;  ///< uniform: the most; lognormal: the 99th percentile
};

struct SimOptions {
    std::string platform;  ///< "apns", "fcmv1", "wns", "adm"
    Trust trust;
    std::string certificate_pem, key_pem;  ///< a leaf for host_names(platform), see make_leaf
    std::string client_ca_pem;  ///< APNs certificate authentication: demand client certificates
    std::string address = "127.0.0.1";
    std::uint16_t port = 0, control_port = 0;  ///< 0 = a free one
    unsigned threads = 1;
    bool fast = false;  ///< 200 to everything, no checks, no journal: for benchmarks
    std::uint32_t streams_max = 1000;
    bool starts_with_one_stream =
        true;  ///< APNs with tokens: streams_max only after a valid request
    Latency latency;
    std::uint64_t seed = 1;
    std::int64_t token_life_s = 3600;   ///< of tokens handed out (FCM, ADM; WNS: a day)
    std::uint64_t h1_requests_max = 0;  ///< HTTP/1.1: closes a connection after so many; 0 = never
    std::int64_t idle_close_ms = 300'000;
    std::size_t journal_max = 4'000'000, bodies_max = 500'000;
    std::function<std::int64_t()> clock_ms;  ///< wall clock; empty = the system's
};

/// Something done to connections now.
struct Event {
    enum class Kind : std::uint8_t { goaway, reset, close, settings } kind = Kind::goaway;
    std::uint32_t error_code = 0;     ///< goaway
    std::string reason;               ///< goaway: sent as {"reason":…}
    std::uint32_t streams_max = 100;  ///< settings
};

class Simulator {
  public:
    /// errc::bad_pem for the certificate, or what binding the ports gave.
    static Result<std::unique_ptr<Simulator>> start(SimOptions options);
    ~Simulator();  ///< stops
    Simulator(const Simulator&) = delete;
    Simulator& operator=(const Simulator&) = delete;

    std::uint16_t port() const;
    std::uint16_t control_port() const;
    std::string url() const;          ///< https://127.0.0.1:PORT
    std::string control_url() const;  ///< http://127.0.0.1:PORT
    /// Rules for Network::connect_to that lead every host name of the provider here.
    std::vector<std::string> connect_to() const;

    Counters counters() const;
    std::vector<Entry> entries(bool accepted) const;
    bool body_of(std::string_view handle, std::string& out) const;  ///< canonical handle
    void set_rules(Rules rules);                                    ///< instead of those there are
    void add_rules(Rules rules);                                    ///< see RuleBook::add
    void reset();
    void event(const Event& event);
    void revoke_tokens();
    void set_clock_offset_ms(std::int64_t offset_ms);
    void stop();

  private:
    struct Impl;
    explicit Simulator(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// `pushhub sim`: runs simulators as a process of their own until SIGINT or SIGTERM.
int sim_main(int argc, char** argv);

}  // namespace pns::sim
