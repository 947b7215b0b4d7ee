// Erasing a user. Tested by tests/hub_devices_test.cpp.

#include <nlohmann/json.hpp>

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/device/tags.hpp"
#include "hub/http/problem.hpp"
#include "hub/process/log.hpp"
#include "hub/send/trace.hpp"

namespace hub {

namespace {

constexpr std::size_t step = 500;           // installations erased in one change
constexpr std::size_t rounds_max = 10'000;  // against a client that installs as fast as we erase

using Erased = std::vector<registry::ErasedInstallation>;

/// Removes what the trace has of erased devices; how many entries. Blocks.
registry::Result<std::size_t> erase_traces(const Call& call, const Erased& erased) {
    std::size_t entries = 0;
    for (const registry::ErasedInstallation& device : erased) {
        for (const std::string& handle : device.handles) {
            const auto removed =
                call.parts.trace.erase_device(call.hub->row.number, device.id, {}, handle);
            if (!removed) return removed.error();
            entries += *removed;
        }
    }
    return entries;
}

}  // namespace

pns::Task<Response> erase_user(Call call) {
    const Request& request = call.request;
    const std::string user = call.args.back();
    if (auto refusal = check_id("user id", user)) co_return problem(request, *refusal);
    const std::uint32_t hub = call.hub->row.number;
    std::size_t installations = 0, registrations = 0, traces = 0;
    for (std::size_t round = 0; round < rounds_max; ++round) {
        auto find = [&call, hub, &user] {
            return call.parts.registry.installations_of_user(hub, user, step);
        };
        auto found = co_await on_store(call.parts.store, std::move(find));
        if (!found) co_return problem(request, found.error(), "");
        if (found->empty()) break;
        auto erase = [&call, hub, &user, &found](registry::Done<Erased> done) {
            call.parts.registry.erase_user(hub, user, std::move(*found), std::move(done));
        };
        const auto erased = co_await committed<Erased>(std::move(erase));
        if (!erased) co_return problem(request, erased.error(), "");
        installations += erased->size();
        for (const auto& device : *erased) registrations += device.parts;
        auto forget = [&call, &erased] { return erase_traces(call, *erased); };
        const auto forgotten = co_await on_store(call.parts.store, std::move(forget));
        if (!forgotten) co_return problem(request, forgotten.error(), "");
        traces += *forgotten;
    }
    log_info("a user was erased", {{"hub", call.hub->row.name},
                                   {"installations", std::to_string(installations)},
                                   {"tracking_id", request.tracking_id}});
    nlohmann::ordered_json answer;
    answer["userId"] = user;
    answer["installations"] = installations;
    answer["registrations"] = registrations;
    answer["traceEntries"] = traces;
    co_return json_answer(200, answer.dump());
}

}  // namespace hub
