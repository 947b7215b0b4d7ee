// Tested by tests/pns_apns_channels_test.cpp.
//
// All on the caller's loop, in three layers: attempt() is one connection with one request, ask()
// gets the token and repeats once if the answer refuses it, exchange() owns what both use. A
// nursery runs the fetch of a token beside them, and is joined even when the caller is cancelled or
// something throws: its child works on locals of this frame.

#include "pns/exchange.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <exception>
#include <vector>

#include "pns/errc.hpp"
#include "pns/h2_connection.hpp"
#include "pns/nursery.hpp"

namespace pns {

namespace {

/// Submits one request as soon as the connection takes it, and ends the connection with its answer.
class Once final : public ConnectionEvents {
  public:
    Once(const ExchangeRequest& request, std::string_view authorization)
        : body_(request.body.empty() ? nullptr
                                     : std::make_shared<const std::string>(request.body)) {
        wire_.method = request.method;
        wire_.path = request.path;
        wire_.body = body_;
        if (!authorization.empty()) {
            H2Header header{"authorization", authorization};
            header.never_index = true;
            headers_.push_back(header);
        }
        for (const auto& [name, value] : request.headers) headers_.push_back({name, value});
        wire_.headers = headers_;
    }

    void on_answer(Connection& connection, void*, const Answer& answer) override {
        ExchangeAnswer& out = answer_.emplace();
        out.status = answer.status;
        for (const auto& [name, value] : answer.headers) out.headers.emplace_back(name, value);
        out.body = answer.body;
        out.body_cut = answer.body_cut;
        connection.drain();
    }
    void on_lost(Connection& connection, void*, const Lost& lost) override {
        lost_ = lost.timed_out ? errc::connect_timeout : errc::connection_ended;
        connection.close(lost_);
    }
    void on_change(Connection& connection) override {
        if (submitted_ || connection.state() != Connection::State::ready) return;
        if (connection.room() > 0) submitted_ = connection.submit(wire_, nullptr);
    }
    void on_goaway(Connection&, std::uint32_t, std::string_view) override {}

    std::optional<ExchangeAnswer> answer_;
    error_code lost_;

  private:
    std::shared_ptr<const std::string> body_;
    std::vector<H2Header> headers_;
    WireRequest wire_;
    bool submitted_ = false;
};

using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;

Task<void> run_and_tell(Connection& connection, error_code& why, Timer& ended) {
    try {
        why = co_await connection.run();
    } catch (...) {
        ended.cancel();
        throw;
    }
    ended.cancel();
}

/// Ends when the connection has; a caller that is cancelled closes it.
Task<error_code> run_to_its_end(Executor executor, Connection& connection) {
    co_await asio::this_coro::throw_if_cancelled(false);
    Timer ended(executor, Timer::time_point::max());
    error_code why;
    Nursery nursery(executor);
    nursery.start(run_and_tell(connection, why, ended));
    co_await ended.async_wait(as_result);
    connection.close(errc::stopped);
    co_await nursery.join();
    if (nursery.first_error()) std::rethrow_exception(nursery.first_error());
    co_return why;
}

Task<Result<ExchangeAnswer>> attempt(Executor executor, const ConnectionSettings& settings,
                                     const ExchangeRequest& request, std::string authorization) {
    Once once(request, authorization);
    const auto connection = make_h2_connection(executor, settings, once);
    const error_code ended = co_await run_to_its_end(executor, *connection);
    if (once.answer_) co_return std::move(*once.answer_);
    if (once.lost_) co_return once.lost_;
    co_return ended ? ended : error_code(errc::connection_ended);
}

constexpr std::chrono::milliseconds token_look_every{100};

/// The token of an account, waited for while it is fetched.
class Token {
  public:
    Token(Executor executor, BearerCache& bearers, Nursery& nursery, BearerUser::Settings settings)
        : fetched_(
              std::holds_alternative<Fetched>(settings.account->token_source_for(settings.origin))),
          clock_(bearers.clock()),
          news_(executor),
          user_(bearers, nursery, heard(std::move(settings))) {}

    Task<Result<std::shared_ptr<const Bearer>>> get() {
        if (!user_.needed()) co_return std::shared_ptr<const Bearer>();
        // A fetch ends by its own bounds; the wait is for what another loop of the credential does.
        const auto end_ms = clock_.steady_ms() + wait_ms_max;
        while (clock_.steady_ms() < end_ms) {
            auto token = user_.current();
            if (token) co_return token;
            if (const auto trouble = user_.trouble()) {
                if (!fetched_) co_return error_code(errc::signing_failed);
                co_return error_code(trouble->configuration ? errc::token_refused
                                                            : errc::token_unreachable);
            }
            news_.expires_after(token_look_every);
            co_await news_.async_wait(as_result);
        }
        co_return error_code(errc::token_unreachable);
    }
    /// True: get() gives another one.
    bool refused(const Bearer& token) { return user_.refused(token.serial); }
    void stop() { user_.stop(); }

  private:
    static constexpr std::int64_t wait_ms_max = 30'000;
    BearerUser::Settings heard(BearerUser::Settings settings) {
        settings.on_news = [this] { news_.cancel(); };
        return settings;
    }
    const bool fetched_;
    const Clock& clock_;
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, Executor>
        news_;
    BearerUser user_;
};

Task<Result<ExchangeAnswer>> ask(Executor executor, const ConnectionSettings& connection,
                                 const ExchangeRequest& request, Token& source,
                                 const std::function<bool(const ExchangeAnswer&)>& token_refused) {
    for (bool again = false;; again = true) {
        const auto token = co_await source.get();
        if (!token) co_return token.error();
        std::string authorization = *token ? (*token)->authorization : std::string();
        auto answer = co_await attempt(executor, connection, request, std::move(authorization));
        if (!answer || again || !*token || !token_refused(*answer)) co_return answer;
        if (!source.refused(**token)) co_return answer;
    }
}

}  // namespace

Task<Result<ExchangeAnswer>> exchange(Executor executor, const Account& account,
                                      ExchangeRequest request, const SenderSettings& settings,
                                      const Network& network, BearerCache& bearers,
                                      std::function<bool(const ExchangeAnswer&)> token_refused) {
    const auto connect_to = ConnectTo::parse(network.connect_to, network.descriptors_below);
    if (!connect_to) co_return connect_to.error();
    TlsClientOptions tls;
    tls.ca_file = network.ca_file;
    auto [certificate, key] = account.client_certificate();
    tls.certificate_pem = std::move(certificate);
    tls.key_pem = std::move(key);
    tls.alpn = "h2";
    const auto context = make_client_context(bearers.trust(), tls);
    if (!context) co_return context.error();

    ConnectionSettings connection;
    connection.origin = request.origin;
    connection.target = connect_to->resolve(request.origin.host, request.origin.port);
    connection.tls = *context;
    connection.times = settings;
    connection.streams_max_before_settings = 1;
    connection.answer_bytes_max = exchange_body_bytes_max;
    connection.clock = &bearers.clock();

    Nursery nursery(executor);
    BearerUser::Settings bearer_settings;
    bearer_settings.account = &account;
    bearer_settings.origin = request.origin;
    bearer_settings.connect_to = *connect_to;
    bearer_settings.ca_file = network.ca_file;
    Token token(executor, bearers, nursery, std::move(bearer_settings));
    std::exception_ptr broken;
    Result<ExchangeAnswer> answer = error_code(errc::stopped);
    try {
        answer = co_await ask(executor, connection, request, token, token_refused);
    } catch (...) {
        broken = std::current_exception();
    }
    token.stop();
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await nursery.join();  // a fetch ends before what it works on
    co_await asio::this_coro::throw_if_cancelled(throws);
    if (broken) std::rethrow_exception(broken);
    co_return answer;
}

}  // namespace pns
