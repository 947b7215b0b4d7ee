// Tested by tests/hub_control_test.cpp.

#include "hub/api/send_json.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "hub/process/latency_buckets.hpp"
#include "hub/send/send_states.hpp"
#include "hub/send/tally.hpp"
#include "hub/text/times.hpp"
#include "pns/platform.hpp"

namespace hub {

namespace {

using Json = nlohmann::ordered_json;
using registry::Progress;
using registry::Send;

constexpr double ppm_per_percent = 10'000;

void put_time(Json& out, const char* name, std::int64_t time_ms) {
    if (time_ms != 0 && time_ms != registry::never_ms) out[name] = iso_ms(time_ms);
}

double rounded(double value, double steps) {
    return std::round(value * steps) / steps;
}

struct Sums {
    std::map<std::string, std::uint64_t> outcomes;
    std::map<std::string, std::map<std::string, std::uint64_t>> platforms;
    std::uint64_t counted = 0;

    explicit Sums(const registry::Counts& counts) {
        for (const auto& [key, count] : counts) {
            if (count == 0) continue;
            outcomes[key.second] += count;
            platforms[key.first][key.second] += count;
            counted += count;
        }
    }
};

Json rate_of(const Send& send, const Fanout::Watched* live, std::uint64_t pending) {
    Json rate = Json::object();
    if (const auto [count, period_s] = send.rate; count != 0) {
        rate["limit"] = std::to_string(count) + (period_s == 1    ? "/s"
                                                 : period_s == 60 ? "/m"
                                                                  : "/h");
        if (count % period_s == 0) {
            rate["limitPerSecond"] = count / period_s;
        } else {
            rate["limitPerSecond"] = rounded(static_cast<double>(count) / period_s, 1'000);
        }
    }
    if (live == nullptr) return rate;
    rate["perSecond"] = rounded(live->rate_per_s, 10);
    if (live->rate_per_s > 0 && live->progress.waits_since_ms == 0) {
        rate["etaSeconds"] = rounded(static_cast<double>(pending) / live->rate_per_s, 10);
    }
    return rate;
}

Json latency_of(const Progress& progress) {
    Json out = Json::object();
    std::uint64_t samples = 0;
    for (const auto& [bucket, count] : progress.latency) samples += count;
    out["samples"] = samples;
    if (samples == 0) return out;
    out["p50"] = latency_ms(progress.latency, 0.5);
    out["p90"] = latency_ms(progress.latency, 0.9);
    out["p99"] = latency_ms(progress.latency, 0.99);
    out["max"] = latency_ms(progress.latency, 1);
    return out;
}

}  // namespace

std::string send_json(const Send& send, const Progress& stored, const Fanout::Watched* live,
                      bool whole) {
    // What is live is fresher than the last checkpoint, unless the last checkpoint was the end.
    if (registry::is_final(stored.state)) live = nullptr;
    const Progress& progress = live != nullptr ? live->progress : stored;
    const Sums sums(progress.counts);
    const std::uint64_t audience = std::max(progress.audience, sums.counted);
    const std::uint64_t pending = audience - sums.counted;
    const bool marks_first = send.delivery == registry::Delivery::at_most_once;
    const std::uint64_t in_flight = live != nullptr ? live->in_flight : 0;

    Json out;
    out["id"] = send.id;
    out["state"] = control_state_name(progress.state);
    out["format"] = send.format;
    if (!send.tag_expression.empty()) out["tags"] = send.tag_expression;
    out["delivery"] = marks_first ? "at-most-once" : "at-least-once";
    put_time(out, "enqueuedAt", send.enqueued_at_ms);
    put_time(out, "scheduledAt", send.scheduled_at_ms);
    put_time(out, "startedAt", progress.started_at_ms);
    put_time(out, "endedAt", progress.ended_at_ms);
    out["audience"] = audience;
    out["done"] = sums.counted;
    out["pending"] = pending;
    out["inFlight"] = in_flight;
    out["out"] = sums.counted - std::min(never_out_of(progress), sums.counted);
    out["outcomes"] = Json(sums.outcomes);
    if (!whole) return out.dump(-1, ' ', false, Json::error_handler_t::replace);

    out["platforms"] = Json(sums.platforms);
    out["retrying"] = live != nullptr ? live->retries : 0;
    out["rate"] = rate_of(send, live, pending);
    if (send.canary_ppm != 0) {
        out["canary"] = {{"percent", send.canary_ppm / ppm_per_percent},
                         {"released", progress.released}};
    }
    std::int64_t deadline_ms = progress.deadline_ms != 0 ? progress.deadline_ms : send.deadline_ms;
    if (live != nullptr) deadline_ms = live->deadline_ms;
    put_time(out, "deadlineAt", deadline_ms);
    put_time(out, "waitsSince", progress.waits_since_ms);
    put_time(out, "firstPushAt", progress.first_push_ms);
    put_time(out, "lastPushAt", progress.last_push_ms);
    out["latencyMs"] = latency_of(progress);
    return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace hub
