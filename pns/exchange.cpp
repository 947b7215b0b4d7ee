// Tested by tests/pns_apns_channels_test.cpp.
#include "pns/exchange.hpp"

#include <vector>

#include "pns/errc.hpp"
#include "pns/h2_connection.hpp"

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

Task<Result<ExchangeAnswer>> attempt(Executor executor, const ConnectionSettings& settings,
                                     const ExchangeRequest& request, std::string authorization) {
    Once once(request, authorization);
    const auto connection = make_h2_connection(executor, settings, once);
    const error_code ended = co_await connection->run();
    if (once.answer_) co_return std::move(*once.answer_);
    if (once.lost_) co_return once.lost_;
    co_return ended ? ended : error_code(errc::connection_ended);
}

}  // namespace

Task<Result<ExchangeAnswer>> exchange(Executor executor, const Account& account,
                                      ExchangeRequest request, const SenderSettings& settings,
                                      const Network& network, BearerCache& bearers,
                                      std::function<bool(const ExchangeAnswer&)> token_refused) {
    const auto connect_to = ConnectTo::parse(network.connect_to);
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
    bearer_settings.on_news = [] {};
    BearerUser bearer(bearers, nursery, std::move(bearer_settings));
    for (bool again = false;; again = true) {
        std::shared_ptr<const Bearer> token;
        if (bearer.needed()) {
            token = bearer.current();
            if (!token) co_return error_code(errc::signing_failed);
        }
        std::string authorization = token ? token->authorization : std::string();
        auto answer = co_await attempt(executor, connection, request, std::move(authorization));
        if (!answer || again || !token || !token_refused(*answer)) co_return answer;
        if (!bearer.refused(token->serial)) co_return answer;
    }
}

}  // namespace pns
