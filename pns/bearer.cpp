// Tested by tests/pns_bearer_test.cpp.
//
// BearerCache has one entry for each token under one mutex. A BearerUser belongs to a loop: it
// keeps the token it last saw and looks into the cache again only when that is due or was refused.
// Whoever finds a token due first fetches it on its own loop, or signs it on the spot; the others
// go on with the old one and are told by a post. The mutex is never held during a fetch or a
// signature. A failed fetch waits before the next; while the endpoint refuses the credential the
// waits grow with the time that it has done so.

#include "pns/bearer.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/post.hpp>
#include <cassert>
#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <span>
#include <utility>

#include "pns/alarm.hpp"
#include "pns/errc.hpp"
#include "pns/h1_codec.hpp"
#include "pns/oauth_answer.hpp"
#include "pns/retry_policy.hpp"
#include "pns/tls_link.hpp"

namespace pns {

namespace {

constexpr std::int64_t fetch_interval_ms_min = 1'000;
/// An endpoint that does not answer is asked again so soon: the first push goes out with its
/// return.
constexpr std::int64_t retry_wait_ms_max = 1'500;
constexpr std::int64_t retry_after_ms_max = 10 * 60'000;
constexpr std::int64_t check_interval_ms = 100;
constexpr std::int64_t step_ms_min = 60'000;  // less is no step of the wall clock
constexpr std::size_t kept_bytes_max = 16 * 1024;

std::uint64_t random_number() {
    static thread_local std::mt19937_64 engine{std::random_device{}()};
    return engine();
}

// 80 to 90 % of a life, so that the loops and processes of a credential do not renew together.
std::int64_t renewal_ms(std::int64_t life_ms) {
    return life_ms * 8 / 10 + static_cast<std::int64_t>(
                                  random_number() % (static_cast<std::uint64_t>(life_ms) / 10 + 1));
}

/// "<second of signing> <token>", as a TokenStore keeps it.
struct KeptToken {
    std::int64_t signed_s = 0;
    std::string_view token;
};
std::optional<KeptToken> read_kept(std::string_view text) {
    KeptToken out;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out.signed_s);
    const auto digits = static_cast<std::size_t>(end - text.data());
    if (ec != std::errc() || text.size() > kept_bytes_max || digits + 1 >= text.size() ||
        text[digits] != ' ')
        return std::nullopt;
    out.token = text.substr(digits + 1);
    const bool printable =
        std::all_of(out.token.begin(), out.token.end(), [](char c) { return c > ' ' && c <= '~'; });
    return printable ? std::optional(out) : std::nullopt;
}

}  // namespace

/// Both clocks at once.
struct BearerUser::Moment {
    explicit Moment(const Clock& clock) {
        std::int64_t before_ms = 0;
        do {
            before_ms = clock.steady_ms();
            wall_ms = clock.wall_ms();
            steady_ms = clock.steady_ms();
        } while (steady_ms - before_ms > 1'000);  // the process stood still between the two
    }
    std::int64_t apart_ms() const { return wall_ms - steady_ms; }
    bool has_stepped_since(const Bearer& bearer) const {
        return bearer.self_signed &&
               std::abs(apart_ms() - (bearer.made_wall_ms - bearer.made_steady_ms)) > step_ms_min;
    }
    /// The wall clock has stepped, and by its time no provider takes the token (for long).
    bool is_past(const Bearer& bearer) const {
        if (bearer.pinned || !has_stepped_since(bearer)) return false;
        return bearer.made_wall_ms > wall_ms + step_ms_min || wall_ms >= bearer.renew_wall_ms;
    }
    std::int64_t wall_ms = 0, steady_ms = 0;
};

struct BearerUser::Mailbox {
    BearerUser* user;  // touched on the user's loop only
    Executor executor;
};

struct BearerCache::Impl {
    struct Entry {
        std::shared_ptr<const Bearer> bearer;
        std::shared_ptr<const Bearer> previous;  ///< self-signed, and was not refused
        std::uint64_t serial = 0;
        std::uint64_t refused_serial = 0;
        bool fetching = false;
        unsigned failures = 0;
        std::int64_t retry_at_ms = 0;          // steady clock
        std::int64_t refused_since_ms = 0;     // the same; the endpoint refuses the credential
        std::optional<BearerTrouble> trouble;  // its `configuration`: refused_since_ms is set
        std::vector<std::shared_ptr<BearerUser::Mailbox>> users;

        bool usable(const BearerUser::Moment& now) const {
            return bearer && now.steady_ms < bearer->expires_at_ms &&
                   bearer->serial != refused_serial && !now.is_past(*bearer);
        }
    };
    Impl(const Clock& given_clock, Settings given)
        : clock(given_clock),
          settings(std::move(given)),
          apart_ms(BearerUser::Moment(clock).apart_ms()) {}

    BearerUser::Moment now() {
        const BearerUser::Moment out(clock);
        auto before_ms = apart_ms.load(std::memory_order_relaxed);
        if (std::abs(out.apart_ms() - before_ms) > step_ms_min &&
            apart_ms.compare_exchange_strong(before_ms, out.apart_ms())) {
            forget_waits();
            if (settings.on_clock_step) settings.on_clock_step(out.apart_ms() - before_ms);
        }
        return out;
    }
    /// What a wrong clock was refused for may be taken now.
    void forget_waits() {
        const std::lock_guard lock(mutex);
        for (auto& [key, entry] : entries) {
            entry.retry_at_ms = 0;
            if (!entry.trouble) continue;
            entry.trouble->configuration = false;
            tell(entry);
        }
    }

    const Clock& clock;
    const Settings settings;
    std::atomic<std::int64_t> apart_ms;  // wall minus steady clock, when last looked at
    std::mutex mutex;                    // guards entries
    std::map<std::string, Entry, std::less<>> entries;
    TrustStore trust;

    // Under the mutex: a registered user's loop is alive.
    static void tell(const Entry& entry) {
        for (const auto& mailbox : entry.users) {
            std::weak_ptr<BearerUser::Mailbox> weak = mailbox;
            asio::post(mailbox->executor, [weak] {
                const auto box = weak.lock();
                if (!box || box->user == nullptr) return;
                box->user->check_at_ms_ = 0;
                box->user->settings_.on_news();
            });
        }
    }

    void succeed(const std::string& key, Bearer&& bearer, std::int64_t steady_ms) {
        const std::lock_guard lock(mutex);
        auto& entry = entries[key];
        const bool may_serve_again = entry.bearer && entry.bearer->self_signed &&
                                     entry.bearer->serial != entry.refused_serial;
        entry.previous = may_serve_again ? entry.bearer : nullptr;
        bearer.serial = ++entry.serial;
        entry.bearer = std::make_shared<const Bearer>(std::move(bearer));
        entry.fetching = false;
        entry.failures = 0;
        entry.trouble.reset();
        entry.retry_at_ms = steady_ms + fetch_interval_ms_min;
        tell(entry);
    }

    void fail(const std::string& key, BearerTrouble trouble, std::int64_t retry_after_ms,
              std::int64_t steady_ms) {
        const std::lock_guard lock(mutex);
        auto& entry = entries[key];
        entry.fetching = false;
        const bool refused_before = entry.trouble && entry.trouble->configuration;
        if (!refused_before) entry.refused_since_ms = steady_ms;
        const auto wait_ms =
            trouble.configuration
                ? patient_wait_ms(steady_ms - entry.refused_since_ms, refused_wait_ms_min,
                                  refused_wait_ms_max)
                : std::max<std::int64_t>(
                      200, backoff_ms(1'000, retry_wait_ms_max, entry.failures, random_number()));
        ++entry.failures;
        entry.retry_at_ms =
            steady_ms + std::max(wait_ms, std::min(retry_after_ms, retry_after_ms_max));
        entry.trouble = std::move(trouble);
        tell(entry);
    }

    void give_up(const std::string& key) {
        const std::lock_guard lock(mutex);
        auto& entry = entries[key];
        entry.fetching = false;
        tell(entry);
    }
};

BearerCache::BearerCache(const Clock& clock) : BearerCache(clock, Settings()) {}
BearerCache::BearerCache(const Clock& clock, Settings settings)
    : impl_(std::make_unique<Impl>(clock, std::move(settings))) {}
BearerCache::~BearerCache() = default;
TrustStore& BearerCache::trust() {
    return impl_->trust;
}
const Clock& BearerCache::clock() const {
    return impl_->clock;
}

// The fetch in progress, in fetch()'s frame.
struct BearerUser::Fetch {
    Fetch(Executor executor, TlsLink::Options options, const Clock& clock)
        : alarm(
              executor, [this](std::int64_t now_ms) { return tick(now_ms); }, clock),
          link(executor, std::move(options), alarm) {}
    std::int64_t tick(std::int64_t now_ms) {
        if (link.deadline_ms() <= now_ms) link.expire();
        if (deadline_ms <= now_ms) link.close();
        return std::min(link.deadline_ms(), deadline_ms);
    }
    RunningAlarm alarm;
    TlsLink link;
    std::int64_t deadline_ms = never_ms;
};

BearerUser::BearerUser(BearerCache& cache, Nursery& nursery, Settings settings)
    : cache_(cache),
      nursery_(nursery),
      settings_(std::move(settings)),
      key_(settings_.account->token_key_for(settings_.origin)),
      source_(settings_.account->token_source_for(settings_.origin)) {
    if (!needed()) return;
    mailbox_ = std::make_shared<Mailbox>(Mailbox{this, nursery.executor()});
    auto& impl = cache_.impl();
    const std::lock_guard lock(impl.mutex);
    impl.entries[key_].users.push_back(mailbox_);
}

BearerUser::~BearerUser() {
    assert(fetch_ == nullptr);
    if (!needed()) return;
    mailbox_->user = nullptr;
    auto& impl = cache_.impl();
    const std::lock_guard lock(impl.mutex);
    auto& entry = impl.entries[key_];
    std::erase(entry.users, mailbox_);
    // Origins come and go with handles; a credential's own token outlives its senders.
    if (entry.users.empty() && settings_.account->tokens_per_origin()) impl.entries.erase(key_);
}

bool BearerUser::needed() const {
    return !std::holds_alternative<NoToken>(source_);
}

std::shared_ptr<const Bearer> BearerUser::current() {
    const Moment now = cache_.impl().now();
    if (local_ && now.is_past(*local_)) local_.reset();
    const bool fresh = local_ && now.steady_ms < local_->renew_at_ms;
    if (!fresh && now.steady_ms >= check_at_ms_) consult(now);
    return local_ && now.steady_ms < local_->expires_at_ms ? local_ : nullptr;
}

void BearerUser::consult(const Moment& now) {
    bool mine = false;
    {
        auto& impl = cache_.impl();
        const std::lock_guard lock(impl.mutex);
        auto& entry = impl.entries[key_];
        local_ = entry.usable(now) ? entry.bearer : nullptr;
        check_at_ms_ = now.steady_ms + check_interval_ms;
        const bool due = !local_ || now.steady_ms >= local_->renew_at_ms;
        if (due && !entry.fetching && !stopped_ && now.steady_ms >= entry.retry_at_ms) {
            entry.fetching = mine = true;
        }
    }
    if (!mine) return;
    begin(now);
    if (std::holds_alternative<Fetched>(source_)) return;
    // Signed on the spot.
    auto& impl = cache_.impl();
    const std::lock_guard lock(impl.mutex);
    const auto& entry = impl.entries[key_];
    local_ = entry.usable(now) ? entry.bearer : nullptr;
}

void BearerUser::begin(const Moment& now) {
    const auto* self_signed = std::get_if<SelfSigned>(&source_);
    if (self_signed != nullptr) {
        if (auto found = kept(*self_signed, now)) {
            return cache_.impl().succeed(key_, std::move(*found), now.steady_ms);
        }
    }
    ++fetches_;
    if (self_signed == nullptr) return nursery_.start(fetch());
    const auto now_s = now.wall_ms / 1000;
    auto token = self_signed->mint(now_s);
    if (!token) {
        BearerTrouble trouble;
        trouble.configuration = true;
        trouble.outcome = Outcome::invalid_credentials;
        trouble.reason = token.error().message();
        return cache_.impl().fail(key_, std::move(trouble), 0, now.steady_ms);
    }
    cache_.impl().succeed(key_, signed_bearer(*self_signed, *token, 0, now), now.steady_ms);
    if (is_kept()) cache_.impl().settings.store->save(key_, std::to_string(now_s) + ' ' + *token);
}

// Tokens of origins come and go with handles: only a credential's own is kept.
bool BearerUser::is_kept() const {
    return cache_.impl().settings.store != nullptr && !settings_.account->tokens_per_origin();
}

std::optional<Bearer> BearerUser::kept(const SelfSigned& source, const Moment& now) {
    if (!is_kept()) return std::nullopt;
    auto& impl = cache_.impl();
    {
        const std::lock_guard lock(impl.mutex);
        if (impl.entries[key_].serial > 0) return std::nullopt;  // this process signs its own
    }
    const auto text = impl.settings.store->load(key_);
    const auto found = text ? read_kept(*text) : std::nullopt;
    const auto now_s = now.wall_ms / 1000;
    if (!found || found->signed_s > now_s || found->signed_s < now_s - source.renew_s)
        return std::nullopt;
    Bearer bearer = signed_bearer(source, found->token, now.wall_ms - found->signed_s * 1000, now);
    return now.steady_ms < bearer.renew_at_ms ? std::optional(std::move(bearer)) : std::nullopt;
}

Bearer BearerUser::signed_bearer(const SelfSigned& source, std::string_view token,
                                 std::int64_t age_ms, const Moment& now) const {
    Bearer bearer;
    bearer.authorization = settings_.account->authorization(token);
    bearer.self_signed = true;
    bearer.made_wall_ms = now.wall_ms - age_ms;
    bearer.made_steady_ms = now.steady_ms - age_ms;
    const auto early_s = static_cast<std::int64_t>(
        random_number() % static_cast<std::uint64_t>(source.renew_s / 20 + 1));
    bearer.renew_at_ms =
        bearer.made_steady_ms + std::max(source.renew_s - early_s, source.renew_s_min) * 1000;
    bearer.expires_at_ms = bearer.made_steady_ms + source.life_s * 1000;
    bearer.renew_wall_ms = bearer.made_wall_ms + (bearer.renew_at_ms - bearer.made_steady_ms);
    return bearer;
}

std::optional<BearerTrouble> BearerUser::trouble() const {
    auto& impl = cache_.impl();
    const Moment now(cache_.clock());
    const std::lock_guard lock(impl.mutex);
    const auto& entry = impl.entries[key_];
    if (entry.fetching || !entry.trouble) return std::nullopt;
    BearerTrouble out = *entry.trouble;
    out.retry_at_ms = entry.retry_at_ms + now.apart_ms();
    return out;
}

bool BearerUser::refused(std::uint64_t serial) {
    if (!needed()) return false;
    auto& impl = cache_.impl();
    const Moment now = impl.now();
    {
        const std::lock_guard lock(impl.mutex);
        auto& entry = impl.entries[key_];
        if (entry.bearer && entry.bearer->serial == serial) {
            const auto* self_signed = std::get_if<SelfSigned>(&source_);
            if (self_signed != nullptr && !now.has_stepped_since(*entry.bearer) &&
                now.steady_ms < entry.bearer->made_steady_ms + self_signed->renew_s_min * 1000) {
                return false;
            }
            entry.refused_serial = serial;
        }
    }
    local_.reset();
    check_at_ms_ = 0;
    return true;
}

bool BearerUser::changed_too_soon(std::uint64_t serial) {
    if (!needed()) return false;
    auto& impl = cache_.impl();
    const Moment now = impl.now();
    {
        const std::lock_guard lock(impl.mutex);
        auto& entry = impl.entries[key_];
        if (!entry.bearer) return false;
        if (entry.bearer->serial == serial) {
            const auto previous = std::exchange(entry.previous, nullptr);
            if (!previous || now.steady_ms >= previous->expires_at_ms) return false;
            Bearer again = *previous;
            again.serial = ++entry.serial;
            again.pinned = true;
            entry.bearer = std::make_shared<const Bearer>(std::move(again));
        }
    }
    local_.reset();
    check_at_ms_ = 0;
    return true;
}

void BearerUser::stop() {
    stopped_ = true;
    if (fetch_ != nullptr) fetch_->link.close();
}

Task<void> BearerUser::fetch() {
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto& source = std::get<Fetched>(source_);
    auto& cache = cache_.impl();
    const Moment started(cache_.clock());
    BearerTrouble trouble;

    if (!tls_) {
        TlsClientOptions options;
        options.ca_file = settings_.ca_file;
        options.alpn = "http/1.1";
        auto made = make_client_context(cache.trust, options);
        if (made) tls_ = std::move(*made);
    }
    auto form = source.form(started.wall_ms / 1000);
    if (!form || !tls_) {
        trouble.configuration = true;
        trouble.outcome = Outcome::invalid_credentials;
        trouble.reason = form ? error_code(errc::bad_pem).message() : form.error().message();
        cache.fail(key_, std::move(trouble), 0, started.steady_ms);
        co_return;
    }

    TlsLink::Options options;
    options.host = source.origin.host;
    options.target = settings_.connect_to.resolve(source.origin.host, source.origin.port);
    options.tls = tls_;
    options.alpn = "http/1.1";
    options.connect_timeout_ms = settings_.timeout_ms;
    Nursery nursery(nursery_.executor());
    Fetch fetch(nursery_.executor(), std::move(options), cache_.clock());
    fetch_ = &fetch;
    nursery.start(fetch.alarm.run());

    error_code failed = errc::stopped;
    if (!stopped_) failed = co_await fetch.link.open();
    H1Parser parser;
    if (!failed) {
        fetch.deadline_ms = fetch.alarm.now_ms() + settings_.timeout_ms;
        fetch.alarm.at_latest(fetch.deadline_ms);
        std::array<H2Header, 2> headers;
        headers[0].name = "content-type";
        headers[0].value = "application/x-www-form-urlencoded";
        headers[1].name = "connection";
        headers[1].value = "close";
        std::string request;
        append_h1_post(request, authority_of(source.origin), source.path, nullptr, headers, *form);
        const std::span<const std::uint8_t> bytes(
            reinterpret_cast<const std::uint8_t*>(request.data()), request.size());
        const TlsStream::Moved sent = co_await fetch.link.stream().write(bytes);
        failed = sent.failure;
        std::array<std::uint8_t, 8 * 1024> in;
        auto step = H1Parser::Step::more;
        while (!failed && step == H1Parser::Step::more) {
            const TlsStream::Moved read = co_await fetch.link.stream().read_some(in);
            const std::string_view got(reinterpret_cast<const char*>(in.data()), read.bytes);
            step = read.failure ? parser.feed_end() : parser.feed(got);
            if (step == H1Parser::Step::broken) failed = errc::token_malformed;
        }
    }
    fetch.link.close();
    fetch.alarm.stop();
    co_await nursery.join();
    fetch_ = nullptr;

    const Moment now(cache_.clock());
    if (stopped_) {
        cache.give_up(key_);
        co_return;
    }
    if (failed) {
        trouble.reason = "token endpoint: " + failed.message();
        cache.fail(key_, std::move(trouble), 0, now.steady_ms);
        co_return;
    }
    Answer answer = parser.answer();
    answer.now_ms = now.wall_ms;
    auto read = read_oauth_answer(answer);
    if (const auto* refusal = std::get_if<OauthRefusal>(&read)) {
        trouble.configuration = refusal->configuration;
        if (answer.status < 500) trouble.outcome = Outcome::token_provider_interface_error;
        trouble.reason = refusal->reason;
        cache.fail(key_, std::move(trouble), refusal->retry_after_ms, now.steady_ms);
        co_return;
    }
    const auto& token = std::get<OauthToken>(read);
    Bearer bearer;
    bearer.authorization = settings_.account->authorization(token.access_token);
    // Counted from before the request: the endpoint's clock started no earlier.
    bearer.made_wall_ms = started.wall_ms;
    bearer.made_steady_ms = started.steady_ms;
    bearer.renew_at_ms = started.steady_ms + renewal_ms(token.life_s * 1000);
    bearer.expires_at_ms = started.steady_ms + token.life_s * 1000;
    cache.succeed(key_, std::move(bearer), now.steady_ms);
}

}  // namespace pns
