#include "bench/telemetry.hpp"

#include <chrono>
#include <pugixml.hpp>
#include <stdexcept>
#include <thread>
#include <utility>

#include "hub/text/times.hpp"
#include "pns/platform.hpp"

namespace bench {
namespace {

constexpr auto poll_every = std::chrono::milliseconds(10);

}  // namespace

std::uint64_t Telemetry::devices() const {
    std::uint64_t sum = 0;
    for (const auto& [platform, counts] : outcomes)
        for (const auto& [outcome, count] : counts) sum += count;
    return sum;
}

std::uint64_t Telemetry::devices(std::string_view outcome) const {
    std::uint64_t sum = 0;
    for (const auto& [platform, counts] : outcomes)
        if (const auto it = counts.find(std::string(outcome)); it != counts.end())
            sum += it->second;
    return sum;
}

Telemetry parse_telemetry(const std::string& body) {
    pugi::xml_document document;
    document.load_string(body.c_str());
    const pugi::xml_node details = document.child("NotificationDetails");
    if (!details) throw std::runtime_error("no NotificationDetails in: " + body.substr(0, 200));
    Telemetry out;
    out.state = details.child("State").text().as_string();
    const auto time = [&](const char* name) -> std::int64_t {
        const char* text = details.child(name).text().as_string();
        return hub::parse_time_ms(text).value_or(0);
    };
    out.enqueued_at_ms = time("EnqueueTime");
    out.started_at_ms = time("StartTime");
    out.ended_at_ms = time("EndTime");
    for (const pns::Platform& platform : pns::platforms()) {
        const pugi::xml_node counts = details.child(std::string(platform.counts).c_str());
        for (const pugi::xml_node outcome : counts.children("Outcome"))
            out.outcomes[std::string(platform.name)][outcome.child("Name").text().as_string()] +=
                outcome.child("Count").text().as_ullong();
    }
    return out;
}

Telemetry wait_until_final(hub::HubClient& client, const std::string& hub, const std::string& id,
                           double timeout_s) {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
    while (true) {
        hub::ClientRequest request;
        request.path = "/" + hub + "/messages/" + id + "?api-version=2020-06";
        const hub::ClientReply reply = client.call(std::move(request));
        if (reply.status != 200)
            throw std::runtime_error("telemetry of " + id + " answers " +
                                     std::to_string(reply.status) + ": " + reply.body);
        Telemetry telemetry = parse_telemetry(reply.body);
        if (telemetry.is_final()) return telemetry;
        if (std::chrono::steady_clock::now() > deadline)
            throw std::runtime_error("send " + id + " is still " + telemetry.state + " with " +
                                     std::to_string(telemetry.devices()) + " devices done");
        std::this_thread::sleep_for(poll_every);
    }
}

std::string post_send(hub::HubClient& client, const std::string& hub, const std::string& format,
                      const std::string& tag_expression, const std::string& body,
                      const std::vector<std::pair<std::string, std::string>>& headers) {
    hub::ClientRequest request;
    request.method = "POST";
    request.path = "/" + hub + "/messages?api-version=2020-06";
    request.headers = {{"content-type", "application/json;charset=utf-8"},
                       {"servicebusnotification-format", format}};
    if (!tag_expression.empty())
        request.headers.emplace_back("servicebusnotification-tags", tag_expression);
    request.headers.insert(request.headers.end(), headers.begin(), headers.end());
    request.body = body;
    const hub::ClientReply reply = client.call(std::move(request));
    if (reply.status != 201)
        throw std::runtime_error("the send was answered " + std::to_string(reply.status) + ": " +
                                 reply.body);
    const std::string location(reply.header("location"));
    const std::size_t from = location.rfind('/');
    if (from == std::string::npos) throw std::runtime_error("the send has no Location");
    return location.substr(from + 1, location.find('?', from) - from - 1);
}

}  // namespace bench
