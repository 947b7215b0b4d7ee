#include "bench/bare.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "hub/http/responses.hpp"
#include "hub/process/log.hpp"
#include "hub/server/dispatch.hpp"
#include "hub/server/listener.hpp"
#include "hub/server/tls_files.hpp"
#include "hub/service.hpp"
#include "pns/nursery.hpp"
#include "pns/sim/arguments.hpp"

namespace bench {
namespace {

namespace asio = boost::asio;

constexpr double ready_timeout_s = 30;
constexpr std::size_t body_bytes = 64 * 1024;
constexpr const char* ready_line = "bare server listens on port ";

pns::Task<hub::Response> answer_installation(hub::Call) {
    co_return hub::empty_response(200);
}

pns::Task<hub::Response> answer_message(hub::Call call) {
    hub::Response response = hub::empty_response(201);
    response.headers.emplace_back(
        "Location",
        hub::absolute_url(call.request, {call.args.front(), "messages", call.request.tracking_id}));
    co_return response;
}

/// No pattern begins with {hub}: nothing is looked up.
constexpr std::array routes{
    hub::Route{"PUT", "/{any}/installations/{id}", hub::Right::none, body_bytes,
               answer_installation},
    hub::Route{"POST", "/{any}/messages", hub::Right::none, body_bytes, answer_message},
};

/// One loop with its listener.
struct Lane {
    Lane(asio::io_context& io, hub::Dispatch& dispatch, const hub::Config& config,
         hub::Entrance entrance, hub::Inbound& inbound)
        : listener(io, dispatch, config, inbound, std::move(entrance)),
          children(io.get_executor()) {}

    pns::Task<void> stop(std::promise<void>& done) {
        co_await listener.stop(0);
        done.set_value();
    }

    hub::Listener listener;
    pns::Nursery children;
};

int run(const hub::Config& config) {
    hub::open_log("warn", "text");
    hub::StopSignal signal;
    std::string why;
    const auto idle = hub::Service::start(config, why);  // lends its parts; nobody calls it
    if (!idle) throw std::runtime_error(why);
    const pns::TlsContext tls = hub::make_tls_context(hub::prepare_tls_files(config));
    hub::Parts& parts = idle->parts();
    hub::Dispatch dispatch(config, parts.clock, parts.metrics, routes, {}, parts, nullptr);
    hub::Inbound inbound;
    hub::Loops loops(config.lanes != 0 ? config.lanes
                                       : std::max(1U, std::thread::hardware_concurrency()));
    std::vector<std::unique_ptr<Lane>> lanes;
    asio::ip::tcp::endpoint at(asio::ip::address_v4::loopback(), 0);
    for (std::size_t i = 0; i < loops.size(); ++i) {
        lanes.push_back(
            std::make_unique<Lane>(loops.lane(i), dispatch, config, hub::Entrance{tls}, inbound));
        if (const auto failure = lanes.back()->listener.open(at))
            throw std::runtime_error("cannot listen: " + failure.message());
        at.port(lanes.back()->listener.port());
        lanes.back()->listener.start();
    }
    loops.run();
    std::printf("%s%u\n", ready_line, static_cast<unsigned>(at.port()));
    std::fflush(stdout);
    signal.wait();
    std::vector<std::promise<void>> done(lanes.size());
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        asio::post(loops.lane(i),
                   [&lane = *lanes[i], &end = done[i]] { lane.children.start(lane.stop(end)); });
    }
    for (auto& end : done) end.get_future().wait();
    loops.stop();
    return 0;
}

}  // namespace

int bare_main(int argc, char** argv) {
    CLI::App app("A server that parses requests and answers them at once.", "pushhub bench bare");
    hub::Config config;
    config.listen = "127.0.0.1:0";
    config.log_level = "warn";
    app.add_option("--data-dir", config.data_dir, "certificates live here")->required();
    app.add_option("--lanes", config.lanes, "loops; 0 = one per core");
    if (const auto ended = pns::sim::read_arguments(app, argc, argv)) return *ended;
    try {
        return run(config);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pushhub bench bare: %s\n", error.what());
        return 1;
    }
}

BareServer::BareServer(const std::filesystem::path& dir, unsigned lanes)
    : data_(dir / "bare"),
      process_(
          {own_program(), "bare", "--data-dir", data_.string(), "--lanes", std::to_string(lanes)},
          dir / "bare.log"),
      connection_string_(
          "Endpoint=sb://localhost:" + process_.wait_for(ready_line, ready_timeout_s) +
          "/;SharedAccessKeyName=none;SharedAccessKey=none") {}

}  // namespace bench
