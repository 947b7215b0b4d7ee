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
};

/// What a provider remembers about one connection.
struct Visit {
    std::string authorization;  ///< the last one that was found good
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

class Provider {
  public:
    Provider(const SimOptions& options, RuleBook& rules, Journal& journal);
    virtual ~Provider() = default;
    Provider(const Provider&) = delete;
    Provider& operator=(const Provider&) = delete;

    Reply answer(const Request& request, Visit& visit);
    virtual bool is_token_request(const Request& request) const = 0;
    virtual void revoke_tokens() {}
    std::int64_t now_ms() const;
    void set_clock_offset_ms(std::int64_t offset_ms) { clock_offset_ms_.store(offset_ms); }

  protected:
    virtual Reply mint(const Request& request, std::int64_t now_ms) = 0;
    /// Fills `push` as far as it goes; a Reply is a refusal.
    virtual std::optional<Reply> check(const Request& request, Visit& visit, std::int64_t now_ms,
                                       Incoming& push) = 0;
    /// This provider's way to do what a rule says; never called with never, reset, close.
    virtual Reply act(const Behaviour& behaviour, const Incoming& push, std::int64_t now_ms) = 0;

    /// `Bearer <token>` against the desk, remembered per connection.
    TokenDesk::State check_bearer(const TokenDesk& desk, const Request& request, Visit& visit,
                                  std::int64_t now_ms) const;

    const SimOptions& options_;

  private:
    RuleBook& rules_;
    Journal& journal_;
    std::atomic<std::int64_t> clock_offset_ms_{0};
};

std::unique_ptr<Provider> make_apns(const SimOptions& options, RuleBook& rules, Journal& journal);
std::unique_ptr<Provider> make_fcm(const SimOptions& options, RuleBook& rules, Journal& journal);
std::unique_ptr<Provider> make_wns(const SimOptions& options, RuleBook& rules, Journal& journal);
std::unique_ptr<Provider> make_adm(const SimOptions& options, RuleBook& rules, Journal& journal);
/// Nothing for a platform without simulator.
std::unique_ptr<Provider> make_provider(const SimOptions& options, RuleBook& rules,
                                        Journal& journal);

Reply reply_of(int status, std::string word, std::string body = {});
/// A rule's status, headers and body, `made_body` when it names none.
Reply rule_answer(const Behaviour& behaviour, std::string made_body);
/// The fields of application/x-www-form-urlencoded text.
std::map<std::string, std::string> read_form(std::string_view text);
std::string percent_decoded(std::string_view text, bool plus_is_space);
/// The answer of an OAuth endpoint.
Reply token_reply(const std::string& token, const std::string& expires_in_json,
                  std::string_view type);
Reply token_refusal(int status, std::string_view error, std::string_view description);

}  // namespace pns::sim
