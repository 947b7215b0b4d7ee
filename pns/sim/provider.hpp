#pragma once

// What a simulated provider does with one request, without any socket. One object per simulator,
// called from all its loops: what it keeps is behind mutexes; what belongs to one connection is in
// Visit.

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pns/h2_session.hpp"
#include "pns/sim/faults.hpp"
#include "pns/sim/journal.hpp"
#include "pns/sim/rules.hpp"
#include "pns/sim/simulator.hpp"

namespace pns::sim {

struct Request {
    std::string_view method, path, authority, body;
    std::span<const H2Header> headers;  ///< names lower case
    std::string_view header(std::string_view name) const;
};

struct Reply {
    enum class End : std::uint8_t { answer, never, reset, close } end = End::answer;
    int status = 200;
    Headers headers;
    std::string body;
    std::string word;       ///< the reason, for the counters
    bool accepted = false;  ///< this push was taken
    bool trusted = false;   ///< its credential was good: APNs raises its stream limit
    std::int64_t delay_ms = 0;
    // How it goes out. What HTTP/1.1 has no word for is left out there.
    FaultHit fault;                            ///< what to do wrong with it
    std::size_t data_bytes_max = 0;            ///< of one DATA frame; 0 = as large as can be
    bool empty_last = false;                   ///< END_STREAM comes in an empty DATA frame
    bool ping_after = false;                   ///< a PING follows
    std::optional<std::uint32_t> streams_max;  ///< SETTINGS follows
    struct Goodbye {
        std::uint32_t error_code = 0;
        std::string debug;
    };
    std::optional<Goodbye> goodbye;  ///< GOAWAY follows
};

/// What a provider remembers about one connection.
struct Visit {
    std::uint64_t connection = 0;  ///< ordinal, from 1
    std::int32_t stream = 0;       ///< of the request at hand; HTTP/1.1: its ordinal
    bool h1 = false;               ///< HTTP/1.1: some faults have no meaning there
    std::string peer;              ///< address
    std::int64_t latency_ms = 0, latency_refused_ms = 0;  ///< the model's samples for it
    std::string key_id;                                   ///< APNs: bound at the first push
    std::uint32_t client_errors = 0;
    std::uint32_t streams_max = 0;  ///< APNs: what was offered last
    std::string authorization;      ///< the last one that was found good
    std::int64_t good_until_ms = 0;
    std::uint64_t good_epoch = 0;
    std::int64_t token_since_ms = 0;  ///< APNs: when this connection's present token was first seen
    bool opened = false;              ///< a first valid request was answered
};

/// A push as far as the checks of its provider understood it.
struct Incoming {
    std::string handle;  ///< canonical
    std::string id;      ///< the message's, if the provider has one
    bool dry_run = false;
    bool broadcast = false;  ///< APNs: to a channel
    std::string opened;      ///< an encrypted body as the device reads it: what the journal keeps
};

/// Opaque bearer tokens, handed out and checked. Any thread.
class TokenDesk {
  public:
    explicit TokenDesk(std::string prefix) : prefix_(std::move(prefix)) {}
    std::string issue(std::int64_t now_ms, std::int64_t life_s);
    enum class State : std::uint8_t { good, expired, unknown };
    State check(std::string_view token, std::int64_t now_ms, std::int64_t& good_until_ms) const;
    void revoke_all();
    std::uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }

  private:
    std::string prefix_;
    mutable std::mutex mutex_;
    std::map<std::string, std::int64_t, std::less<>> expiry_ms_;
    std::uint64_t issued_ = 0;
    std::atomic<std::uint64_t> epoch_{1};
};

/// How a provider keeps its HTTP/2 connections, unless SimOptions says otherwise.
struct Habits {
    std::uint32_t streams_max = 1000;
    bool opens_with_one_stream = false;  ///< until a first valid request
    std::uint32_t pings_in_row_max = 0;  ///< then GOAWAY too_many_pings; 0 = any number
    std::int64_t idle_ms = 300'000;      ///< then GOAWAY session_timeout
    std::int64_t age_ms = 0;             ///< then GOAWAY max_age; 0 = any age
    /// Takes the scheme "https:", which is none, as Google does: firebase-admin for Node sends it.
    bool takes_any_scheme = false;
    std::string over_limit_text = "Maximum active streams violated for this endpoint.";
};

class Provider {
  public:
    Provider(const SimOptions& options, RuleBook& rules, Journal& journal);
    virtual ~Provider() = default;
    Provider(const Provider&) = delete;
    Provider& operator=(const Provider&) = delete;

    Reply answer(const Request& request, Visit& visit);
    virtual bool is_token_request(const Request& request) const = 0;
    virtual void revoke_tokens() {}
    virtual Habits habits() const { return {}; }
    void set_faults(FaultBook& faults) { faults_ = &faults; }
    std::int64_t now_ms() const;
    void set_clock_offset_ms(std::int64_t offset_ms) { clock_offset_ms_.store(offset_ms); }

  protected:
    virtual Reply mint(const Request& request, std::int64_t now_ms) = 0;
    /// The answer to what is neither a push nor a token request; nothing otherwise.
    virtual std::optional<Reply> administer(const Request&, Visit&, std::int64_t) {
        return std::nullopt;
    }
    /// Fills `push` as far as it goes; a Reply is a refusal.
    virtual std::optional<Reply> check(const Request& request, Visit& visit, std::int64_t now_ms,
                                       Incoming& push) = 0;
    /// This provider's way to do what a rule says; never called with never, reset, close.
    virtual Reply act(const Behaviour& behaviour, const Incoming& push, std::int64_t now_ms) = 0;

    /// The last word on a reply to a push, refused or not: what a connection adds to it.
    virtual void finish(const Request&, Visit&, const Incoming&, Reply&, std::int64_t) {}
    /// The credential as a whole is refused (F26).
    virtual Reply refuse_credential(const Incoming& push);

    /// `Bearer <token>` against the desk, remembered per connection.
    TokenDesk::State check_bearer(const TokenDesk& desk, const Request& request, Visit& visit,
                                  std::int64_t now_ms) const;

    const SimOptions& options_;

    RuleBook& rules_;
    Journal& journal_;

  private:
    Reply answer_token(const Request& request, std::int64_t now_ms);
    Reply decide(const Request& request, Visit& visit, std::int64_t now_ms, Incoming& push,
                 bool& gone);
    bool apply(const Fault& fault, Behaviour& behaviour, std::int64_t now_ms) const;
    void strike(const FaultHit& fault, const Incoming& push, Reply& reply);

    FaultBook* faults_ = nullptr;
    std::atomic<std::uint64_t> ordinal_{0};
    std::atomic<std::int64_t> clock_offset_ms_{0};
};

/// Nothing for a platform without simulator.
std::unique_ptr<Provider> make_provider(const SimOptions& options, RuleBook& rules,
                                        Journal& journal);

Reply reply_of(int status, std::string word, std::string body = {});
/// A rule's status, headers and body, `made_body` when it names none.
Reply rule_answer(const Behaviour& behaviour, std::string made_body);
/// The fields of application/x-www-form-urlencoded text.
std::map<std::string, std::string> read_form(std::string_view text);
/// The answer of an OAuth endpoint.
Reply token_reply(const std::string& token, const std::string& expires_in_json,
                  std::string_view type);
Reply token_refusal(int status, std::string_view error, std::string_view description);

}  // namespace pns::sim
