// What the process says about itself; needs no credentials. Tested by tests/hub_service_test.cpp.

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/process/metrics.hpp"

namespace hub {

namespace {

Response text(int status, std::string_view content_type, std::string body) {
    Response response;
    response.status = status;
    response.headers.emplace_back("Content-Type", std::string(content_type));
    response.headers.emplace_back("Cache-Control", "no-store");
    response.body = std::move(body);
    return response;
}

}  // namespace

pns::Task<Response> get_healthz(Call) {
    co_return text(200, "text/plain", "ok\n");
}

pns::Task<Response> get_readyz(Call call) {
    if (!call.parts.ready) co_return text(503, "text/plain", "draining\n");
    if (!call.parts.store_writable)
        co_return text(503, "text/plain", "the store cannot be written\n");
    co_return text(200, "text/plain", "ready\n");
}

pns::Task<Response> get_metrics(Call call) {
    // Gauges may read the store's figures.
    auto read = [&metrics = call.parts.metrics] { return metrics.text(); };
    std::string page = co_await on_store(call.parts.store, std::move(read));
    co_return text(200, "text/plain; version=0.0.4; charset=utf-8", std::move(page));
}

pns::Task<Response> get_version(Call) {
    co_return text(200, "application/json",
                   R"({"name":"pushhub","version":")" PUSHHUB_VERSION "\"}\n");
}

}  // namespace hub
