// Tested by tests/pns_sender_test.cpp.

#include "pns/sender.hpp"

#include <algorithm>
#include <boost/system/system_error.hpp>
#include <list>
#include <map>

#include "pns/bearer.hpp"
#include "pns/errc.hpp"
#include "pns/outlet.hpp"

namespace pns {

namespace {

constexpr std::size_t origins_max = 256;
constexpr unsigned configuration_in_row_max = 8;
constexpr std::int64_t halt_ms_first = 30'000, halt_ms_max = 10 * 60'000;

Verdict retry_later(Outcome outcome, std::string reason, std::int64_t after_ms) {
    Verdict v;
    v.kind = Verdict::Kind::retry_later;
    v.outcome = outcome;
    v.reason = std::move(reason);
    v.retry_after_ms = after_ms;
    return v;
}

template <class T>
T or_throw(Result<T>&& made) {
    if (!made) throw boost::system::system_error(made.error());
    return std::move(*made);
}

class AccountSender final : public Sender, private OutletOwner {
  public:
    AccountSender(Executor executor, std::unique_ptr<Account> account,
                  const SenderSettings& settings, const Network& network, BearerCache& bearers)
        : account_(std::move(account)),
          settings_(settings),
          connect_to_(or_throw(ConnectTo::parse(network.connect_to))),
          tls_(open_tls(network, bearers)),
          nursery_(executor),
          alarm_(executor, [this] { return tick(); }),
          stopped_(executor, SteadyTimer::time_point::max()),
          bearer_(bearers, nursery_, bearer_settings(network)) {}

    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const override {
        return account_->prepare(message);
    }
    std::size_t room() const override {
        if (stopping_ || queued() >= settings_.queue_pushes_max) return 0;
        return settings_.queue_pushes_max - queued();
    }
    void submit(Push& push) override;
    void when_room(std::size_t low, std::function<void()> on_room) override {
        watches_.push_back(RoomWatch(low, std::move(on_room), room() < low));
    }
    SenderFigures figures() const override;
    Task<void> stop(std::int64_t drain_ms) override;

  private:
    struct RoomWatch {
        RoomWatch(std::size_t l, std::function<void()> f, bool b)
            : low(l), on_room(std::move(f)), below(b) {}
        std::size_t low;
        std::function<void()> on_room;
        bool below;
    };

    TlsContext open_tls(const Network& network, BearerCache& bearers) const {
        TlsClientOptions options;
        options.ca_file = network.ca_file;
        auto [certificate, key] = account_->client_certificate();
        options.certificate_pem = std::move(certificate);
        options.key_pem = std::move(key);
        options.alpn = account_->protocol() == Account::Protocol::h2 ? "h2" : "http/1.1";
        return or_throw(make_client_context(bearers.trust(), options));
    }
    BearerUser::Settings bearer_settings(const Network& network) {
        BearerUser::Settings out;
        out.account = account_.get();
        out.connect_to = connect_to_;
        out.ca_file = network.ca_file;
        out.timeout_ms = settings_.connect_timeout_ms;
        out.on_news = [this] { wake(); };
        return out;
    }

    Outlet* outlet_for(std::string_view handle);
    std::size_t queued() const { return figures_.queued; }
    std::int64_t tick();
    Outlet::May may_do(std::int64_t now_ms, std::int64_t wall_ms);
    void forget_unused_origins();
    void fail_all(std::int64_t now_ms, std::int64_t waited_ms, const Verdict& verdict);
    void fail_unroutable();
    void tell_room();
    bool has_connections() const;

    void finish(Push& push, Verdict&& verdict) override;
    bool send(Push& push, Connection& connection) override;
    Judgement judge(const Push& push, const Answer& answer) override {
        return account_->judge(push, answer);
    }
    bool token_refused(const Push& push) override {
        return bearer_.refused(push.bearer_serial, wall_now_ms());
    }
    void hold_credential(std::int64_t ms) override {
        held_until_ms_ = std::max(held_until_ms_, steady_now_ms() + ms);
    }
    void wake() override { alarm_.wake(); }
    bool stopping() const override { return stopping_; }
    SenderFigures& counters() override { return figures_; }

    std::unique_ptr<Account> account_;
    SenderSettings settings_;
    ConnectTo connect_to_;
    TlsContext tls_;
    Nursery nursery_;
    Alarm alarm_;
    SteadyTimer stopped_;  // a latch for stop()
    BearerUser bearer_;
    std::map<Origin, std::unique_ptr<Outlet>> outlets_;
    std::vector<Push*> unroutable_;  // no outlet to spare
    std::list<RoomWatch> watches_;
    SenderFigures figures_;

    std::shared_ptr<const Bearer> token_;
    Encoded encoded_;  // reused from push to push
    std::vector<H2Header> headers_;
    std::int64_t held_until_ms_ = 0;
    unsigned configuration_in_row_ = 0;
    std::int64_t halted_until_ms_ = 0;
    std::int64_t halt_ms_ = halt_ms_first;
    Verdict halt_verdict_;
    bool started_ = false;
    bool stopping_ = false;
};

Outlet* AccountSender::outlet_for(std::string_view handle) {
    const Origin origin = account_->origin(handle);
    const auto found = outlets_.find(origin);
    if (found != outlets_.end()) return found->second.get();
    if (outlets_.size() >= origins_max) return nullptr;
    PoolSettings pool;
    pool.protocol = account_->protocol();
    pool.connection.origin = origin;
    pool.connection.target = connect_to_.resolve(origin.host, origin.port);
    pool.connection.tls = tls_;
    pool.connection.times = settings_;
    pool.connection.streams_max_before_settings = account_->starts_with_one_stream() ? 1 : 100;
    auto outlet =
        std::make_unique<Outlet>(static_cast<OutletOwner&>(*this), nursery_, std::move(pool));
    return outlets_.emplace(origin, std::move(outlet)).first->second.get();
}

void AccountSender::submit(Push& push) {
    if (!started_) {
        started_ = true;
        nursery_.start(alarm_.run());
    }
    push.queued_at_ms = steady_now_ms();
    push.resends = 0;
    push.reauthorised = false;
    if (Outlet* outlet = outlet_for(push.handle)) {
        outlet->enqueue(push);
    } else {
        unroutable_.push_back(&push);
        ++figures_.queued;
    }
    for (auto& watch : watches_) watch.below = watch.below || room() < watch.low;
    wake();
}

bool AccountSender::send(Push& push, Connection& connection) {
    account_->encode(push, encoded_);
    headers_.clear();
    H2Header header;
    if (token_) {
        header.name = "authorization";
        header.value = token_->authorization;
        header.never_index = true;
        headers_.push_back(header);
        push.bearer_serial = token_->serial;
    }
    header.never_index = false;
    for (const auto& [name, value] : push.prepared->headers) {
        header.name = name;
        header.value = value;
        headers_.push_back(header);
    }
    header.never_index = true;  // differs from push to push: would only churn the table
    for (const auto& [name, value] : encoded_.headers) {
        header.name = name;
        header.value = value;
        headers_.push_back(header);
    }
    WireRequest request;
    request.path = encoded_.path;
    request.headers = headers_;
    request.body = encoded_.body.empty() ? push.prepared->body
                                         : std::make_shared<const std::string>(encoded_.body);
    return connection.submit(request, &push);
}

void AccountSender::finish(Push& push, Verdict&& verdict) {
    using Kind = Verdict::Kind;
    if (verdict.kind == Kind::accepted) ++figures_.accepted;
    if (verdict.kind == Kind::refused) ++figures_.refused;
    if (verdict.kind == Kind::accepted || verdict.kind == Kind::retire) {
        configuration_in_row_ = 0;
        halt_ms_ = halt_ms_first;
    } else if (verdict.configuration && steady_now_ms() >= halted_until_ms_ &&
               ++configuration_in_row_ >= configuration_in_row_max) {
        // One more after the pause halts again at once.
        configuration_in_row_ = configuration_in_row_max - 1;
        halted_until_ms_ = steady_now_ms() + halt_ms_;
        halt_ms_ = std::min(halt_ms_ * 2, halt_ms_max);
        halt_verdict_ = verdict;
        wake();
    }
    push.owner->on_verdict(push, std::move(verdict));
}

Outlet::May AccountSender::may_do(std::int64_t now_ms, std::int64_t wall_ms) {
    using May = Outlet::May;
    if (now_ms < halted_until_ms_) {
        const Verdict verdict = halt_verdict_;
        fail_all(now_ms, 0, verdict);
        return May::nothing;
    }
    if (now_ms < held_until_ms_) {
        const auto left_ms = held_until_ms_ - now_ms;
        if (left_ms > settings_.request_timeout_ms) {
            fail_all(now_ms, 0,
                     retry_later(Outcome::throttled, "the credential is throttled", left_ms));
        }
        return May::nothing;
    }
    if (!bearer_.needed()) return May::send;
    token_ = bearer_.current(wall_ms);
    if (token_) return May::send;
    if (const auto trouble = bearer_.trouble()) {
        Verdict v = retry_later(trouble->outcome, trouble->reason,
                                std::max<std::int64_t>(0, trouble->retry_at_ms - wall_ms));
        if (trouble->configuration) {
            v.kind = Verdict::Kind::refused;
            v.configuration = true;
        }
        fail_all(now_ms, trouble->configuration ? 0 : settings_.request_timeout_ms, v);
        return May::nothing;
    }
    return May::connect;  // while the first token is on its way
}

std::int64_t AccountSender::tick() {
    const auto now_ms = steady_now_ms();
    const auto wall_ms = wall_now_ms();
    if (stopping_) {
        fail_all(now_ms, 0, retry_later(Outcome::pns_unavailable, "the sender stops", 0));
        if (!has_connections()) stopped_.cancel();
        return never_ms;
    }
    fail_unroutable();
    std::int64_t next = never_ms;
    if (queued() > 0) {
        const auto may = may_do(now_ms, wall_ms);
        for (const auto& [origin, outlet] : outlets_) {
            next = std::min(next, outlet->pump(now_ms, wall_ms, may));
        }
    }
    if (outlets_.size() >= origins_max) forget_unused_origins();
    tell_room();
    return next;
}

void AccountSender::forget_unused_origins() {
    for (auto it = outlets_.begin(); it != outlets_.end();) {
        if (it->second->idle()) {
            figures_.connects += it->second->pool().connects();
            it = outlets_.erase(it);
        } else {
            ++it;
        }
    }
}

void AccountSender::fail_all(std::int64_t now_ms, std::int64_t waited_ms, const Verdict& verdict) {
    fail_unroutable();
    for (const auto& [origin, outlet] : outlets_) outlet->fail_queued(now_ms, waited_ms, verdict);
}

void AccountSender::fail_unroutable() {
    const auto pushes = std::exchange(unroutable_, {});
    figures_.queued -= pushes.size();
    for (Push* push : pushes) {
        finish(*push, retry_later(Outcome::throttled, "too many hosts at once", 1'000));
    }
}

void AccountSender::tell_room() {
    for (auto& watch : watches_) {
        if (!watch.below || room() < watch.low) continue;
        watch.below = false;
        watch.on_room();
    }
}

bool AccountSender::has_connections() const {
    return std::any_of(outlets_.begin(), outlets_.end(),
                       [](const auto& o) { return o.second->pool().connections() > 0; });
}

SenderFigures AccountSender::figures() const {
    SenderFigures out = figures_;
    for (const auto& [origin, outlet] : outlets_) {
        out.in_flight += outlet->pool().in_flight();
        out.connections += outlet->pool().connections();
        out.connects += outlet->pool().connects();
    }
    out.token_fetches = bearer_.fetches();
    return out;
}

Task<void> AccountSender::stop(std::int64_t drain_ms) {
    co_await asio::this_coro::throw_if_cancelled(false);
    stopping_ = true;
    bearer_.stop();
    for (const auto& [origin, outlet] : outlets_) outlet->pool().drain();
    const auto end_ms = steady_now_ms() + std::max<std::int64_t>(drain_ms, 0);
    if (started_) {
        wake();
        stopped_.expires_at(SteadyTimer::time_point(std::chrono::milliseconds(end_ms)));
        if (has_connections()) co_await stopped_.async_wait(as_result);
    }
    for (const auto& [origin, outlet] : outlets_) outlet->pool().close(errc::stopped);
    // Connections report what they lose while they end; the alarm goes last.
    alarm_.stop();
    co_await nursery_.join();
    while (queued() > 0) {
        fail_all(steady_now_ms(), 0, retry_later(Outcome::pns_unavailable, "the sender stops", 0));
    }
}

}  // namespace

std::unique_ptr<Sender> Sender::create(asio::io_context& loop, std::unique_ptr<Account> account,
                                       const SenderSettings& settings, const Network& network,
                                       BearerCache& bearers) {
    return std::make_unique<AccountSender>(loop.get_executor(), std::move(account), settings,
                                           network, bearers);
}

std::unique_ptr<Sender> Sender::create(asio::io_context& loop, const Credential& credential,
                                       const SenderSettings& settings, const Network& network,
                                       BearerCache& bearers) {
    auto opened = open_account(credential);
    if (std::holds_alternative<Refusal>(opened)) {
        throw boost::system::system_error(errc::bad_key, std::get<Refusal>(opened).message);
    }
    return create(loop, std::move(std::get<std::unique_ptr<Account>>(opened)), settings, network,
                  bearers);
}

}  // namespace pns
