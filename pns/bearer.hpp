#pragma once

// Provider tokens of a process, one per Account::token_key_for, shared by all loops
// (docs/contracts/pns.md 7.3).
//
// Single flight: however many pushes find a token missing or refused, one loop fetches or signs and
// all are told. The old token is served while a new one is being fetched and, after a failed fetch,
// until it expires.
//
// Lives and waits are counted on the steady clock. A token that is signed here names the wall time
// of its signing. When the wall clock has stepped since then and the token comes from the future or
// is too old by the new time, it is signed anew at once; else it stays, since a provider may bound
// how often a token changes. A step also ends the wait after a failed fetch.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pns/account.hpp"
#include "pns/clock.hpp"
#include "pns/connect_to.hpp"
#include "pns/nursery.hpp"
#include "pns/tls.hpp"

namespace pns {

struct Bearer {
    std::string authorization;  ///< header value
    std::uint64_t serial =
        0;  ///< grows with each new token: a 401 for an older serial needs no refresh
    std::int64_t renew_at_ms = 0, expires_at_ms = 0;    ///< steady clock
    std::int64_t made_wall_ms = 0, made_steady_ms = 0;  ///< when, on both clocks
    /// By the wall clock, when it is to be renewed if that clock has stepped.
    std::int64_t renew_wall_ms = 0;
    bool self_signed = false;
    /// The provider takes no other for now, whatever the wall clock says of its age.
    bool pinned = false;
};

/// Why there is no token at the moment.
struct BearerTrouble {
    bool configuration = false;  ///< the endpoint refuses the credential, or it cannot sign
    Outcome outcome = Outcome::token_provider_unreachable;
    std::string reason;            ///< printable, no secret
    std::int64_t retry_at_ms = 0;  ///< when the next attempt may be made (wall clock)
};

/// Where self-signed tokens outlive the process: a provider that bounds how often a token may
/// change counts restarts, too. Any thread; neither call waits for a disk.
class TokenStore {
  public:
    /// What an earlier process saved under a token key; nothing if there is none.
    virtual std::optional<std::string> load(const std::string& token_key) = 0;
    /// `text` is a secret.
    virtual void save(const std::string& token_key, std::string text) = 0;

  protected:
    ~TokenStore() = default;
};

/// Any thread. Outlives every BearerUser. Also keeps the process's trust anchors, which are as
/// shared as the tokens.
class BearerCache {
  public:
    /// All that is referred to outlives the cache.
    struct Settings {
        TokenStore* store = nullptr;  ///< null: tokens end with the process
        /// The wall clock has stepped by so much against the steady one: once a step, any thread.
        std::function<void(std::int64_t step_ms)> on_clock_step;
    };
    explicit BearerCache(const Clock& clock);
    BearerCache(const Clock& clock, Settings settings);
    ~BearerCache();
    struct Impl;
    Impl& impl() { return *impl_; }
    TrustStore& trust();
    const Clock& clock() const;

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
    /// The token to use now, or null while there is none. Starts a fetch when one is due.
    std::shared_ptr<const Bearer> current();
    /// Why current() is null: the last fetch failed. Nothing while one is on its way.
    std::optional<BearerTrouble> trouble() const;
    /// The provider refused a token. True if a newer one is there or will be tried for; false if
    /// nothing can be done (signed too recently).
    bool refused(std::uint64_t serial);
    /// The provider refused a token only because it changed too soon. True if the one before it
    /// serves again, or another one is there; false if there is none that is still good.
    bool changed_too_soon(std::uint64_t serial);
    /// Ends a fetch in progress; another user takes over when it needs the token.
    void stop();
    std::uint64_t fetches() const { return fetches_; }

  private:
    struct Mailbox;
    struct Fetch;
    struct Moment;
    void consult(const Moment& now);
    void begin(const Moment& now);
    std::optional<Bearer> kept(const SelfSigned& source, const Moment& now);
    Bearer signed_bearer(const SelfSigned& source, std::string_view token, std::int64_t age_ms,
                         const Moment& now) const;
    bool is_kept() const;
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
