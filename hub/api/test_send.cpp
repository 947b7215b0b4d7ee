// Tested by tests/hub_test_send_test.cpp.

#include "hub/api/test_send.hpp"

#include <boost/asio/post.hpp>

#include "hub/api/outcome_xml.hpp"
#include "hub/http/responses.hpp"
#include "pns/alarm.hpp"

namespace hub {

struct TestVerdicts::Waiting {
    explicit Waiting(const pns::Executor& loop) : timer(loop) {}
    pns::SteadyTimer timer;
    bool ended = false;
};

TestVerdicts::TestVerdicts(const pns::Executor& loop, const Fanout& fanout, std::uint32_t hub)
    : results_(fanout.results_of_all(hub)), waiting_(std::make_shared<Waiting>(loop)) {}

void TestVerdicts::listen(NewSend& send) {
    send.devices_max = test_devices_max;
    send.results = results_;
    send.ended = [waiting = waiting_] {
        boost::asio::post(waiting->timer.get_executor(), [waiting] {
            waiting->ended = true;
            waiting->timer.cancel();
        });
    };
}

pns::Task<void> TestVerdicts::all_in() {
    waiting_->timer.expires_after(std::chrono::milliseconds(test_wait_ms_max));
    if (!waiting_->ended) co_await waiting_->timer.async_wait(pns::as_result);
}

Response TestVerdicts::answer() const {
    Response response = empty_response(201);
    response.body = notification_outcome(results_->snapshot());
    return response;
}

}  // namespace hub
