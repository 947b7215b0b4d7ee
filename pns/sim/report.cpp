// What a simulator tells about itself, as JSON. Tested by tests/pns_sim_test.cpp,
// tests/pns_sim_faults_test.cpp.
#include <nlohmann/json.hpp>

#include "pns/sim/control.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 4> point_names = {"connection", "request", "token", "now"};
constexpr std::array<std::string_view, 5> effect_names = {"harmless", "unprocessed", "ambiguous",
                                                          "answered", "down"};

Json counters_of(const std::string& platform, const Counters& c) {
    return {{"platform", platform},
            {"received", c.received},
            {"accepted", c.accepted},
            {"refused", c.refused},
            {"refused_total", c.refused_total},
            {"doubles", c.doubles},
            {"order_violations", c.order_violations},
            {"to_dead", c.to_dead},
            {"above_limit", c.above_limit},
            {"after_goaway", c.after_goaway},
            {"streams_peak", c.streams_peak},
            {"connects", c.connects},
            {"connects_minute_peak", c.connects_minute_peak},
            {"connections", c.connections},
            {"handshakes_failed", c.handshakes_failed},
            {"tokens_minted", c.tokens_minted},
            {"tokens_refused", c.tokens_refused},
            {"tokens_hour_peak", c.tokens_hour_peak},
            {"provider_tokens_seen", c.provider_tokens_seen},
            {"pings", c.pings},
            {"goaways", c.goaways},
            {"resets", c.resets},
            {"faults", c.faults},
            {"faults_total", c.faults_total},
            {"journal_left_out", c.journal_left_out},
            {"first_push_us", c.first_push_us},
            {"last_push_us", c.last_push_us},
            {"cpu_seconds", c.cpu_seconds}};
}

/// The bound below which `share` of the decisions took.
std::uint64_t service_us(const Counters& counters, double share) {
    std::uint64_t all = 0, seen = 0;
    for (const std::uint64_t count : counters.service_us) all += count;
    for (std::size_t i = 0; i < counters.service_us.size(); ++i) {
        seen += counters.service_us[i];
        if (all > 0 && static_cast<double>(seen) >= share * static_cast<double>(all))
            return std::uint64_t{1} << i;
    }
    return 0;
}

}  // namespace

std::string counters_json(const std::string& platform, const Counters& counters) {
    return counters_of(platform, counters).dump();
}

std::string report_json(const std::string& platform, const Simulator& simulator) {
    const Counters counters = simulator.counters();
    Json out = counters_of(platform, counters);
    out["seed"] = simulator.seed();
    out["service_us"] = {{"p50", service_us(counters, 0.5)},
                         {"p99", service_us(counters, 0.99)},
                         {"max", service_us(counters, 1)}};
    const std::int64_t lasted_us = counters.last_push_us - counters.first_push_us;
    if (lasted_us > 0)
        out["pushes_per_second"] =
            static_cast<double>(counters.received) * 1e6 / static_cast<double>(lasted_us);
    const bool clean = counters.doubles == 0 && counters.order_violations == 0 &&
                       counters.to_dead == 0 && counters.above_limit == 0 &&
                       counters.after_goaway == 0;
    out["clean"] = clean;
    return out.dump();
}

std::string journal_lines(const Simulator& simulator, std::string_view handle) {
    std::string out;
    for (const Entry& entry : simulator.all_entries()) {
        if (!handle.empty() && entry.handle != handle) continue;
        const Json line = {{"connection", entry.connection},
                           {"stream", entry.stream},
                           {"arrival_us", entry.arrival_us},
                           {"answer_us", entry.answer_us},
                           {"handle", entry.handle},
                           {"id_hash", entry.id_hash},
                           {"body_hash", entry.body_hash},
                           {"body_bytes", entry.body_bytes},
                           {"credential_hash", entry.credential_hash},
                           {"status", entry.status},
                           {"accepted", entry.accepted},
                           {"fault", entry.fault}};
        out += line.dump() + '\n';
    }
    return out;
}

std::string event_lines(const Simulator& simulator) {
    std::string out;
    for (const Happening& happening : simulator.happenings()) {
        const Json line = {{"at_us", happening.at_us},
                           {"connection", happening.connection},
                           {"what", happening.what}};
        out += line.dump() + '\n';
    }
    return out;
}

std::string faults_json() {
    Json rows = Json::array();
    for (const FaultRow& row : fault_rows())
        rows.push_back({{"fault", fault_name(row)},
                        {"point", point_names[static_cast<std::size_t>(row.point)]},
                        {"effect", effect_names[static_cast<std::size_t>(row.effect)]},
                        {"http1", row.h1},
                        {"says", row.says}});
    return Json{{"faults", std::move(rows)}}.dump();
}

}  // namespace pns::sim
