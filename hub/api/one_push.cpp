// Tested by tests/hub_channels_test.cpp.

#include "hub/api/one_push.hpp"

#include <openssl/rand.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <nlohmann/json.hpp>

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/problem.hpp"
#include "hub/http/rate_limits.hpp"
#include "hub/send/fanout.hpp"
#include "pns/sender.hpp"

namespace asio = boost::asio;

namespace hub {

namespace {

/// Lives until both the waiting handler and the sender have let go of it: a push must stay where it
/// is until its verdict.
struct OnePush final : pns::PushOwner {
    OnePush(const pns::Executor& loop, std::string to) : timer(loop), handle(std::move(to)) {}

    void on_verdict(pns::Push&, pns::Verdict&& said) override {
        verdict.emplace(std::move(said));
        timer.cancel();
        const auto last = std::move(self);  // may end this
    }
    bool still_meant(const pns::Push&) const override { return true; }

    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, pns::Executor>
        timer;
    std::string handle;
    pns::Push push;
    std::optional<pns::Verdict> verdict;
    std::shared_ptr<OnePush> self;  ///< while the sender has it
};

pns::Verdict no_verdict() {
    return pns::NoAnswer{"no answer in time"};
}

}  // namespace

pns::Task<std::variant<pns::Verdict, NotPushed>> push_once(const Call& call,
                                                           std::string_view platform,
                                                           pns::Message message,
                                                           std::string handle) {
    using Result = std::variant<pns::Verdict, NotPushed>;
    const pns::Executor loop = co_await asio::this_coro::executor;
    const pns::Platform& row = *pns::platform_by_name(platform);
    pns::Sender* sender = call.parts.fanout.sender(loop, call.hub->row.number, row);
    if (sender == nullptr) {
        co_return Result(NotPushed{409, "no-credential",
                                   "The hub has no usable " + std::string(row.credential) + "."});
    }
    auto prepared = sender->prepare(message);
    if (auto* refusal = std::get_if<pns::Refusal>(&prepared))
        co_return Result(NotPushed{400, "invalid-message", std::move(refusal->message)});
    if (sender->room() == 0)
        co_return Result(
            NotPushed{429, "too-many-pushes", "Too many pushes wait for the provider."});

    const auto one = std::make_shared<OnePush>(loop, std::move(handle));
    one->push.handle = one->handle;
    one->push.prepared = std::get<std::shared_ptr<const pns::Prepared>>(std::move(prepared));
    RAND_bytes(one->push.id.data(), static_cast<int>(one->push.id.size()));
    one->push.owner = one.get();
    one->self = one;
    one->timer.expires_after(std::chrono::milliseconds(one_push_wait_ms_max));
    sender->submit(one->push);
    if (!one->verdict) co_await one->timer.async_wait(pns::as_result);
    co_return Result(one->verdict ? *one->verdict : no_verdict());
}

Response one_push_answer(const Request& request, const pns::Verdict& verdict,
                         std::string_view gone) {
    const std::string reason(verdict.reason());
    const auto come_back = [&](Response slow, std::int64_t after_ms) {
        slow.headers.emplace_back("Retry-After",
                                  retry_after_s(std::max<std::int64_t>(after_ms, 1'000)));
        return slow;
    };
    if (const auto* accepted = verdict.get<pns::Accepted>()) {
        nlohmann::ordered_json body = {
            {"outcome", std::string(pns::outcome_name(verdict.outcome()))}};
        if (!accepted->provider_id.empty()) body["providerId"] = accepted->provider_id;
        return json_answer(201,
                           body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    }
    if (verdict.is<pns::Dead>() || verdict.is<pns::Suspect>())
        return problem(request, 404, "unknown-target", gone);
    if (verdict.is<pns::NoAnswer>())
        return problem(request, 504, "outcome-unknown",
                       "The provider did not answer: the message may or may not go out.");
    if (const auto* unsent = verdict.get<pns::NotSent>()) {
        if (unsent->after_ms == pns::never_ms)
            return problem(request, 400, "not-sent", "The message was not sent: " + reason + '.');
        return come_back(problem(request, 503, "provider-unavailable",
                                 "The message was not sent: " + reason + '.'),
                         unsent->after_ms);
    }
    const std::string detail = "The provider answered: " + reason + '.';
    if (const auto* later = verdict.get<pns::RetryLater>())
        return come_back(problem(request, 503, "provider-busy", detail), later->after_ms);
    if (verdict.outcome() == pns::Outcome::invalid_credentials)
        return problem(request, 502, "credential-refused",
                       "The provider refuses the hub's credential or app. " + detail);
    return problem(request, 400, "provider-refused", detail);
}

Response one_push_answer(const Request& request,
                         const std::variant<pns::Verdict, NotPushed>& result,
                         std::string_view gone) {
    if (const auto* not_pushed = std::get_if<NotPushed>(&result)) {
        Response out = problem(request, not_pushed->status, not_pushed->code, not_pushed->detail);
        if (not_pushed->status == 429) out.headers.emplace_back("Retry-After", "1");
        return out;
    }
    return one_push_answer(request, std::get<pns::Verdict>(result), gone);
}

}  // namespace hub
