#pragma once

// A provider on loopback: real sockets, real TLS, the provider's own checks and answers
// (docs/contracts/pns.md 8).
//
// A Simulator serves one provider for one app with its own threads; everything here may be called
// from any thread. A test says per handle what shall happen (rules), and what goes wrong on the way
// (faults), and reads afterwards what arrived. Besides this interface there is a control port,
// plain HTTP on loopback (control.hpp).

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pns/own_authority.hpp"
#include "pns/sim/credentials.hpp"
#include "pns/sim/faults.hpp"
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
    std::string platform;  ///< one of sim_platforms()
    Trust trust;
    std::string certificate_pem, key_pem;  ///< a leaf for host_names(platform), see make_leaf
    std::string client_ca_pem;  ///< APNs certificate authentication: demand client certificates
    std::string address = "127.0.0.1";
    std::uint16_t port = 0, control_port = 0;  ///< 0 = a free one
    unsigned threads = 1;
    bool fast = false;  ///< 200 to everything, no checks, no journal: for benchmarks
    /// With `fast`: each answer is a TLS record of its own and has what the real provider sends.
    bool each_alone = false;
    /// With `fast`, HTTP/2: pushes whose path holds this are recorded, the last segment of their
    /// path as the handle. Empty = none.
    std::string watch;
    std::uint32_t streams_max = 0;  ///< per HTTP/2 connection; 0 = what the provider has
    bool starts_with_one_stream =
        true;  ///< APNs with tokens: streams_max only after a valid request
    enum class OverLimit : std::uint8_t { goaway, refuse } over_limit = OverLimit::goaway;
    Latency latency;
    std::optional<Latency> latency_refused;  ///< of answers that are no success, if it differs
    std::uint64_t seed = 1;
    std::int64_t token_life_s = 3600;   ///< of tokens handed out (FCM, ADM; WNS: a day)
    std::uint64_t h1_requests_max = 0;  ///< HTTP/1.1: closes a connection after so many; 0 = never
    std::int64_t idle_close_ms = 0;     ///< 0 = what the provider has
    std::int64_t age_max_ms = -1;       ///< HTTP/2; -1 = what the provider has, 0 = any age
    // What a provider does to senders that misbehave. 0 = never.
    bool collapse = false;  ///< APNs: stream limit 1 after a refused push, back after a success
    bool jwt_by_address = false;          ///< APNs: counts new tokens by address, not connection
    std::uint32_t client_errors_max = 0;  ///< APNs: GOAWAY after so many (a bad handle is two)
    std::uint32_t handle_second_max = 0;  ///< APNs: pushes to one handle in a second
    std::string sandbox_prefix;  ///< APNs: handles that begin so are of the sandbox, others not
    std::uint64_t quota_minute_max = 600'000;                        ///< FCM, per project
    std::uint32_t handle_minute_max = 240, handle_hour_max = 5'000;  ///< FCM
    double split_share = 0;     ///< HTTP/2: of the answers, in DATA frames with an empty last one
    bool ping_answers = false;  ///< HTTP/2: a PING after every answer
    std::string order_key;      ///< a number in the body that must not go down per handle
    CertificatePair ca;         ///< signs the wrong certificates of F27; empty = a new one
    std::size_t journal_max = 4'000'000, bodies_max = 500'000;
    std::function<std::int64_t()> clock_ms;  ///< wall clock; empty = the system's
};

/// Something done to connections now.
struct Event {
    enum class Kind : std::uint8_t { goaway, reset, close, settings, ping } kind = Kind::goaway;
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
    const Trust& trust() const;
    std::string url() const;          ///< https://127.0.0.1:PORT
    std::string control_url() const;  ///< http://127.0.0.1:PORT
    /// Rules for Network::connect_to that lead every host name of the provider here.
    std::vector<std::string> connect_to() const;

    Counters counters() const;
    std::vector<Entry> entries(bool accepted) const;
    bool body_of(std::string_view handle, std::string& out) const;  ///< canonical handle
    void set_rules(Rules rules);                                    ///< instead of those there are
    void add_rules(Rules rules);                                    ///< see RuleBook::add
    std::vector<Entry> all_entries() const;
    std::vector<Happening> happenings() const;
    /// Instead of those there are; an empty list ends all. `seed`: which arrivals are struck.
    void set_faults(std::vector<Fault> faults, std::optional<std::uint64_t> seed = std::nullopt);
    bool speaks_h1() const;
    std::uint64_t seed() const;
    void reset();
    void event(const Event& event);
    void revoke_tokens();
    void set_clock_offset_ms(std::int64_t offset_ms);
    /// As SimOptions::each_alone, from now on.
    void set_each_alone(bool on);
    void stop();

  private:
    struct Impl;
    explicit Simulator(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// `pushhub sim`: runs simulators as a process of their own until SIGINT or SIGTERM.
int sim_main(int argc, char** argv);

}  // namespace pns::sim
