// Tested by tests/hub_test_send_test.cpp.

#include "hub/api/test_send.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "hub/api/handlers.hpp"
#include "hub/api/outcome_xml.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/responses.hpp"
#include "hub/send/fanout.hpp"

namespace asio = boost::asio;

namespace hub {

namespace {

/// Lives until both the waiting handler and the fan-out have let go of it. The handler's loop only.
struct Waiting {
    explicit Waiting(const pns::Executor& loop) : timer(loop) {}
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, pns::Executor>
        timer;
    bool ended = false;
};

}  // namespace

void keep_first(registry::Selection& selection, std::size_t devices) {
    for (registry::Bitmap& partition : selection.partitions) {
        registry::Bitmap kept;
        for (auto number = partition.begin(); devices > 0 && number != partition.end(); ++number) {
            kept.add(*number);
            --devices;
        }
        partition = std::move(kept);
    }
}

pns::Task<Response> answer_test_send(Call call,
                                     std::shared_ptr<const registry::FrozenSend> frozen) {
    const auto results = call.parts.fanout.results_of_all();
    if (frozen->selection.count() > 0) {
        const pns::Executor loop = co_await asio::this_coro::executor;
        const auto waiting = std::make_shared<Waiting>(loop);
        waiting->timer.expires_after(std::chrono::milliseconds(test_wait_ms_max));
        auto ended = [waiting] {
            asio::post(waiting->timer.get_executor(), [waiting] {
                waiting->ended = true;
                waiting->timer.cancel();
            });
        };
        call.parts.fanout.start(call.hub, std::move(frozen), results, std::move(ended));
        if (!waiting->ended) co_await waiting->timer.async_wait(pns::as_result);
    }
    Response response = empty_response(201);
    response.body = notification_outcome(results->snapshot());
    co_return response;
}

}  // namespace hub
