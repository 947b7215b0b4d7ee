#pragma once

// Provider tokens of a process, one per Account::token_key_for, shared by all loops
// (docs/contracts/pns.md 7.3).
//
// Single flight: however many pushes find a token missing or refused, one loop fetches or signs and
// all are told. The old token is served while a new one is being fetched and, after a failed fetch,
// until it expires.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pns/account.hpp"
#include "pns/connect_to.hpp"
#include "pns/nursery.hpp"
#include "pns/tls.hpp"

namespace pns {

struct Bearer {
    std::string authorization;  ///< header value
    std::uint64_t serial =
        0;  ///< grows with each new token: a 401 for an older serial needs no refresh
    std::int64_t renew_at_ms = 0, expires_at_ms = 0;
};

/// Why there is no token at the moment.
struct BearerTrouble {
    bool configuration = false;  ///< the endpoint refuses the credential, or it cannot sign
    Outcome outcome = Outcome::token_provider_unreachable;
    std::string reason;            ///< printable, no secret
    std::int64_t retry_at_ms = 0;  ///< when the next attempt may be made (wall clock)
};

/// Any thread. Outlives every BearerUser. Also keeps the process's trust anchors, which are as
/// shared as the tokens.
class BearerCache {
  public:
    BearerCache();
    ~BearerCache();
    struct Impl;
    Impl& impl() { return *impl_; }
    TrustStore& trust();

  private:
    std::unique_ptr<Impl> impl_;
};

/// One sender's view of its token, on its loop.
class BearerUser {
  public:
    struct Settings {
        const Account* account = nullptr;
        Origin origin;  ///< whose token, when Account::tokens_per_origin
        ConnectTo connect_to;
        std::string ca_file;
        std::int64_t timeout_ms =
            10'000;  ///< connecting to the token endpoint, and again for its answer
        std::function<void()> on_news;  ///< on this loop: a token came or a fetch failed
    };
    /// Fetches run in `nursery`.
    BearerUser(BearerCache& cache, Nursery& nursery, Settings settings);
    /// No fetch of this user may be running: stop(), then join the nursery.
    ~BearerUser();
    BearerUser(const BearerUser&) = delete;
    BearerUser& operator=(const BearerUser&) = delete;

    /// False for accounts without tokens.
    bool needed() const;
    /// The token to use now (wall clock), or null while there is none. Starts a fetch when one is
    /// due.
    std::shared_ptr<const Bearer> current(std::int64_t now_ms);
    /// Why current() is null: the last fetch failed. Nothing while one is on its way.
    std::optional<BearerTrouble> trouble() const;
    /// The provider refused a token. True if a newer one is there or will be tried for; false if
    /// nothing can be done (signed too recently).
    bool refused(std::uint64_t serial, std::int64_t now_ms);
    /// Ends a fetch in progress; another user takes over when it needs the token.
    void stop();
    std::uint64_t fetches() const { return fetches_; }

  private:
    struct Mailbox;
    struct Fetch;
    void consult(std::int64_t now_ms);
    void begin(std::int64_t now_ms);
    Task<void> fetch();
    friend struct BearerCache::Impl;

    BearerCache& cache_;
    Nursery& nursery_;
    Settings settings_;
    std::string key_;
    TokenSource source_;
    std::shared_ptr<Mailbox> mailbox_;
    std::shared_ptr<const Bearer> local_;
    std::int64_t check_at_ms_ = 0;
    TlsContext tls_;
    Fetch* fetch_ = nullptr;
    bool stopped_ = false;
    std::uint64_t fetches_ = 0;
};

}  // namespace pns
