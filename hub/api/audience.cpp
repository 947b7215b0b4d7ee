// Whom a send would reach, without sending. Tested by tests/hub_audience_test.cpp.
//
// The expression is parsed on the lane; selecting and counting run on a store thread. The answer
// has the exact count by platform and, if asked, the plan with the size of each step and a sample
// that is spread evenly over the selection. Nothing is written and no send is made.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/problem.hpp"
#include "hub/send/audience_request.hpp"
#include "hub/send/send_request.hpp"
#include "hub/text/text.hpp"
#include "pns/platform.hpp"

namespace hub {

namespace {

using Json = nlohmann::ordered_json;

registry::Universe universe_for(const std::string& format, const Config& config) {
    if (format.empty()) return {};
    registry::Send send;
    send.format = format;
    return universe_of(send, config);
}

std::string_view op_name(tagexpr::Op op) {
    switch (op) {
        case tagexpr::Op::tag:
            return "tag";
        case tagexpr::Op::everything:
            return "everything";
        case tagexpr::Op::nothing:
            return "nothing";
        case tagexpr::Op::negate:
            return "not";
        case tagexpr::Op::all_of:
            return "and";
        case tagexpr::Op::any_of:
            return "or";
    }
    return "";
}

/// The plan in the order it is evaluated: operands before their operator, named by their place.
Json explained(const tagexpr::Plan& plan, const registry::Audience& audience) {
    Json nodes = Json::array();
    std::vector<std::size_t> open;
    std::int64_t spent_ns = 0;
    for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
        const tagexpr::Node& node = plan.nodes[i];
        Json row;
        row["op"] = op_name(node.op);
        if (node.op == tagexpr::Op::tag) row["tag"] = node.tag;
        if (node.arity > 0) {
            const auto first = open.end() - static_cast<std::ptrdiff_t>(node.arity);
            row["operands"] = std::vector<std::size_t>(first, open.end());
            open.erase(first, open.end());
        }
        // A negation makes no set: its tag is taken off the others.
        if (node.op != tagexpr::Op::negate) {
            row["devices"] = audience.nodes[i].devices;
            row["microseconds"] = audience.nodes[i].spent_ns / 1'000;
            spent_ns += audience.nodes[i].spent_ns;
        }
        open.push_back(i);
        nodes.push_back(std::move(row));
    }
    Json out;
    out["plan"] = tagexpr::to_string(plan);
    out["microseconds"] = spent_ns / 1'000;
    out["nodes"] = std::move(nodes);
    return out;
}

/// `count` devices spread evenly over the selection. Blocks.
registry::Result<Json> sampled(const Call& call, const registry::Selection& selection,
                               std::size_t count) {
    Json sample = Json::array();
    const std::uint64_t total = selection.count();
    const std::uint64_t wanted = std::min<std::uint64_t>(count, total);
    std::uint64_t next = 0, passed = 0;
    for (std::size_t p = 0; p < selection.partitions.size() && next < wanted; ++p) {
        const registry::Bitmap& rows = selection.partitions[p];
        const std::uint64_t size = rows.cardinality();
        std::vector<std::uint32_t> numbers;
        for (; next < wanted; ++next) {
            const std::uint64_t rank = next * total / wanted;  // below 2^64: wanted is at most 100
            if (rank >= passed + size) break;
            std::uint32_t number = 0;
            rows.select(static_cast<std::uint32_t>(rank - passed), &number);
            numbers.push_back(number);
        }
        passed += size;
        registry::DeviceChunk chunk;
        const auto loaded =
            call.parts.registry.load(call.hub->row.number, static_cast<std::uint16_t>(p), numbers,
                                     call.request.received_at_ms, chunk);
        if (!loaded) return loaded.error();
        for (const registry::Device& device : chunk.devices) {
            if (!device.present) continue;
            Json row;
            if (!device.installation_id.empty()) row["installationId"] = device.installation_id;
            row["registrationId"] = registry::id_of(device, static_cast<std::uint16_t>(p));
            row["platform"] = device.platform;
            row["kind"] = device.template_bytes.empty() ? "native" : "template";
            sample.push_back(std::move(row));
        }
    }
    return sample;
}

Json counted(const registry::Audience& audience) {
    Json platforms = Json::object();
    std::uint64_t native = 0, templated = 0;
    for (const auto& row : audience.platforms) {
        if (row.native + row.templated == 0) continue;
        platforms[row.platform] = {{"native", row.native}, {"template", row.templated}};
        native += row.native;
        templated += row.templated;
    }
    Json out;
    out["audience"] = audience.selection.count();
    out["native"] = native;
    out["template"] = templated;
    out["platforms"] = std::move(platforms);
    return out;
}

}  // namespace

pns::Task<Response> post_audience(Call call) {
    const Request& request = call.request;
    auto parsed = parse_audience_request(request.body);
    if (!ok(parsed)) co_return problem(request, std::get<Refusal>(parsed));
    const AudienceRequest wanted = std::get<AudienceRequest>(std::move(parsed));
    auto plan = plan_of(wanted.tag_expression, call.parts.config);
    if (!ok(plan)) co_return problem(request, std::get<Refusal>(plan), "tag-expression-invalid");
    registry::AudienceQuery query;
    query.plan = std::get<tagexpr::Plan>(std::move(plan));
    query.universe = universe_for(wanted.format, call.parts.config);
    for (const pns::Platform& platform : pns::platforms())
        query.platforms.emplace_back(platform.name);
    if (wanted.explain)
        query.clock_ns = [&clock = call.parts.clock] { return clock.steady_us() * 1'000; };
    auto read = [&call, &query] {
        return call.parts.registry.audience(call.hub->row.number, query);
    };
    const auto audience = co_await on_store(call.parts.store, std::move(read));
    if (!audience) co_return problem(request, audience.error(), "");
    const std::uint64_t count = audience->selection.count();
    if (wanted.most && count > *wanted.most) {
        const ProblemFigures figures{{"audience", count}};
        co_return problem(request, 409, "audience-over-max",
                          "The audience is " + std::to_string(count) + ", more than the max of " +
                              std::to_string(*wanted.most) + ".",
                          figures);
    }
    Json answer = counted(*audience);
    if (wanted.explain) answer["explain"] = explained(query.plan, *audience);
    if (wanted.sample > 0) {
        auto look = [&call, &audience, &wanted] {
            return sampled(call, audience->selection, wanted.sample);
        };
        auto sample = co_await on_store(call.parts.store, std::move(look));
        if (!sample) co_return problem(request, sample.error(), "");
        answer["sample"] = std::move(*sample);
    }
    co_return json_answer(200,
                          answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace hub
