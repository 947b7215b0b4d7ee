// Tested by tests/pns_bearer_test.cpp.

#include "pns/bearer.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <cassert>
#include <map>
#include <mutex>
#include <random>

#include "pns/alarm.hpp"
#include "pns/errc.hpp"
#include "pns/h1_codec.hpp"
#include "pns/oauth_answer.hpp"
#include "pns/retry_policy.hpp"
#include "pns/tls_link.hpp"

namespace pns {

namespace {

constexpr std::int64_t fetch_interval_ms_min = 1'000;
constexpr std::int64_t configuration_wait_ms = 60'000;
constexpr std::int64_t retry_after_ms_max = 10 * 60'000;
constexpr std::int64_t check_interval_ms = 100;

std::uint64_t random_number() {
    static thread_local std::mt19937_64 engine{std::random_device{}()};
    return engine();
}

// 80 to 90 % of a life, so that the loops and processes of a credential do not renew together.
std::int64_t renewal_ms(std::int64_t life_ms) {
    return life_ms * 8 / 10 + static_cast<std::int64_t>(
                                  random_number() % (static_cast<std::uint64_t>(life_ms) / 10 + 1));
}

}  // namespace

struct BearerUser::Mailbox {
    BearerUser* user;  // touched on the user's loop only
    Executor executor;
};

struct BearerCache::Impl {
    struct Entry {
        std::shared_ptr<const Bearer> bearer;
        std::uint64_t serial = 0;
        std::uint64_t refused_serial = 0;
        bool fetching = false;
        unsigned failures = 0;
        std::int64_t retry_at_ms = 0;
        std::int64_t signed_at_ms = 0;
        std::optional<BearerTrouble> trouble;
        std::vector<std::shared_ptr<BearerUser::Mailbox>> users;

        bool usable(std::int64_t now_ms) const {
            return bearer && now_ms < bearer->expires_at_ms && bearer->serial != refused_serial;
        }
    };
    std::mutex mutex;  // guards entries
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

    void succeed(const std::string& key, Bearer&& bearer, std::int64_t now_ms, bool is_signed) {
        const std::lock_guard lock(mutex);
        auto& entry = entries[key];
        bearer.serial = ++entry.serial;
        entry.bearer = std::make_shared<const Bearer>(std::move(bearer));
        entry.fetching = false;
        entry.failures = 0;
        entry.trouble.reset();
        entry.retry_at_ms = now_ms + fetch_interval_ms_min;
        if (is_signed) entry.signed_at_ms = now_ms;
        tell(entry);
    }

    void fail(const std::string& key, BearerTrouble trouble, std::int64_t retry_after_ms,
              std::int64_t now_ms) {
        const std::lock_guard lock(mutex);
        auto& entry = entries[key];
        entry.fetching = false;
        const auto wait_ms =
            trouble.configuration
                ? configuration_wait_ms
                : std::max<std::int64_t>(
                      200, backoff_ms(1'000, 60'000, entry.failures, random_number()));
        ++entry.failures;
        entry.retry_at_ms =
            now_ms + std::max(wait_ms, std::min(retry_after_ms, retry_after_ms_max));
        trouble.retry_at_ms = entry.retry_at_ms;
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

BearerCache::BearerCache() : impl_(std::make_unique<Impl>()) {}
BearerCache::~BearerCache() = default;
TrustStore& BearerCache::trust() {
    return impl_->trust;
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

std::shared_ptr<const Bearer> BearerUser::current(std::int64_t now_ms) {
    const bool fresh = local_ && now_ms < local_->renew_at_ms;
    if (!fresh && now_ms >= check_at_ms_) consult(now_ms);
    return local_ && now_ms < local_->expires_at_ms ? local_ : nullptr;
}

void BearerUser::consult(std::int64_t now_ms) {
    bool mine = false;
    {
        auto& impl = cache_.impl();
        const std::lock_guard lock(impl.mutex);
        auto& entry = impl.entries[key_];
        local_ = entry.usable(now_ms) ? entry.bearer : nullptr;
        check_at_ms_ = now_ms + check_interval_ms;
        const bool due = !local_ || now_ms >= local_->renew_at_ms;
        if (due && !entry.fetching && !stopped_ && now_ms >= entry.retry_at_ms) {
            entry.fetching = mine = true;
        }
    }
    if (!mine) return;
    begin(now_ms);
    if (std::holds_alternative<Fetched>(source_)) return;
    // Signed on the spot.
    auto& impl = cache_.impl();
    const std::lock_guard lock(impl.mutex);
    const auto& entry = impl.entries[key_];
    local_ = entry.usable(now_ms) ? entry.bearer : nullptr;
}

void BearerUser::begin(std::int64_t now_ms) {
    ++fetches_;
    const auto* self_signed = std::get_if<SelfSigned>(&source_);
    if (self_signed == nullptr) return nursery_.start(fetch());
    auto token = self_signed->mint(now_ms / 1000);
    if (!token) {
        BearerTrouble trouble;
        trouble.configuration = true;
        trouble.outcome = Outcome::invalid_credentials;
        trouble.reason = token.error().message();
        return cache_.impl().fail(key_, std::move(trouble), 0, now_ms);
    }
    Bearer bearer;
    bearer.authorization = settings_.account->authorization(*token);
    const auto early_s = static_cast<std::int64_t>(
        random_number() % static_cast<std::uint64_t>(self_signed->renew_s / 20 + 1));
    bearer.renew_at_ms =
        now_ms + std::max(self_signed->renew_s - early_s, self_signed->renew_s_min) * 1000;
    bearer.expires_at_ms = now_ms + self_signed->life_s * 1000;
    cache_.impl().succeed(key_, std::move(bearer), now_ms, true);
}

std::optional<BearerTrouble> BearerUser::trouble() const {
    auto& impl = cache_.impl();
    const std::lock_guard lock(impl.mutex);
    const auto& entry = impl.entries[key_];
    return entry.fetching ? std::nullopt : entry.trouble;
}

bool BearerUser::refused(std::uint64_t serial, std::int64_t now_ms) {
    if (!needed()) return false;
    auto& impl = cache_.impl();
    {
        const std::lock_guard lock(impl.mutex);
        auto& entry = impl.entries[key_];
        if (entry.bearer && entry.bearer->serial == serial) {
            const auto* self_signed = std::get_if<SelfSigned>(&source_);
            if (self_signed != nullptr &&
                now_ms < entry.signed_at_ms + self_signed->renew_s_min * 1000) {
                return false;
            }
            entry.refused_serial = serial;
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
    const auto started_ms = wall_now_ms();
    BearerTrouble trouble;

    if (!tls_) {
        TlsClientOptions options;
        options.ca_file = settings_.ca_file;
        options.alpn = "http/1.1";
        auto made = make_client_context(cache.trust, options);
        if (made) tls_ = std::move(*made);
    }
    auto form = source.form(started_ms / 1000);
    if (!form || !tls_) {
        trouble.configuration = true;
        trouble.outcome = Outcome::invalid_credentials;
        trouble.reason = form ? error_code(errc::bad_pem).message() : form.error().message();
        cache.fail(key_, std::move(trouble), 0, started_ms);
        co_return;
    }

    TlsLink::Options options;
    options.host = source.origin.host;
    options.target = settings_.connect_to.resolve(source.origin.host, source.origin.port);
    options.tls = tls_;
    options.alpn = "http/1.1";
    options.connect_timeout_ms = settings_.timeout_ms;
    Nursery nursery(nursery_.executor());
    Fetch fetch(nursery_.executor(), std::move(options), system_clock());
    fetch_ = &fetch;
    nursery.start(fetch.alarm.run());

    error_code failed = errc::stopped;
    if (!stopped_) failed = co_await fetch.link.open();
    H1Parser parser;
    if (!failed) {
        fetch.deadline_ms = steady_now_ms() + settings_.timeout_ms;
        fetch.alarm.at_latest(fetch.deadline_ms);
        std::array<H2Header, 2> headers;
        headers[0].name = "content-type";
        headers[0].value = "application/x-www-form-urlencoded";
        headers[1].name = "connection";
        headers[1].value = "close";
        std::string request;
        append_h1_post(request, authority_of(source.origin), source.path, headers, *form);
        auto [written_ec, written] =
            co_await asio::async_write(fetch.link.stream(), asio::buffer(request), as_result);
        failed = written_ec;
        std::array<char, 8 * 1024> in;
        auto step = H1Parser::Step::more;
        while (!failed && step == H1Parser::Step::more) {
            auto [ec, size] =
                co_await fetch.link.stream().async_read_some(asio::buffer(in), as_result);
            step = ec ? parser.feed_end() : parser.feed(std::string_view(in.data(), size));
            if (step == H1Parser::Step::broken) failed = errc::token_malformed;
        }
    }
    fetch.link.close();
    fetch.alarm.stop();
    co_await nursery.join();
    fetch_ = nullptr;

    const auto now_ms = wall_now_ms();
    if (stopped_) {
        cache.give_up(key_);
        co_return;
    }
    if (failed) {
        trouble.configuration = failed == errc::certificate_not_trusted;
        trouble.reason = "token endpoint: " + failed.message();
        cache.fail(key_, std::move(trouble), 0, now_ms);
        co_return;
    }
    auto read = read_oauth_answer(parser.answer());
    if (const auto* refusal = std::get_if<OauthRefusal>(&read)) {
        trouble.configuration = refusal->configuration;
        if (parser.answer().status < 500) trouble.outcome = Outcome::token_provider_interface_error;
        trouble.reason = refusal->reason;
        cache.fail(key_, std::move(trouble), refusal->retry_after_ms, now_ms);
        co_return;
    }
    const auto& token = std::get<OauthToken>(read);
    Bearer bearer;
    bearer.authorization = settings_.account->authorization(token.access_token);
    // Counted from before the request: the endpoint's clock started no earlier.
    bearer.renew_at_ms = started_ms + renewal_ms(token.life_s * 1000);
    bearer.expires_at_ms = started_ms + token.life_s * 1000;
    cache.succeed(key_, std::move(bearer), now_ms, false);
}

}  // namespace pns
