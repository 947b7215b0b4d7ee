#include "bench/load.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t now_us() {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
            .count());
}

void sum_up(Measured& out) {
    out.per_s = static_cast<double>(out.counted) / out.seconds;
    out.p50_ms = percentile(out.latencies_ms, 0.5);
    out.p99_ms = percentile(out.latencies_ms, 0.99);
    out.p999_ms = percentile(out.latencies_ms, 0.999);
}

Measured measure(hub::HubClient& client, const Load& load,
                 const std::function<void(hub::ClientRequest&)>& make,
                 const std::function<void(double)>& progress) {
    Measured out;
    std::string wrong;
    const std::uint64_t begun = now_us();
    const auto until = begun + static_cast<std::uint64_t>(load.seconds * 1e6);
    client.call_many(
        [&](hub::ClientRequest& request) {
            const std::uint64_t now = now_us();
            if (now >= until || !wrong.empty() || (load.until && load.until())) return false;
            make(request);
            request.tag = now;
            return true;
        },
        [&](const hub::ClientRequest& request, const hub::ClientReply& reply) {
            const std::uint64_t now = now_us();
            if (reply.status == load.status || reply.status == load.status_also) {
                out.latencies_ms.push_back(static_cast<double>(now - request.tag) / 1e3);
                if (const auto at = reply.header("location"); !at.empty()) out.last_location = at;
                if (load.on_counted) load.on_counted(request, reply);
            } else if (reply.status == load.status_when_busy) {
                ++out.busy;
            } else if (wrong.empty()) {
                wrong = request.method + " " + request.path + " was answered " +
                        std::to_string(reply.status) + ": " + reply.body.substr(0, 300);
            }
            progress(static_cast<double>(now - begun) / 1e6);
        },
        load.per_connection);
    if (!wrong.empty()) throw std::runtime_error(wrong);
    if (out.latencies_ms.empty()) throw std::runtime_error("no request was served");
    out.seconds = static_cast<double>(now_us() - begun) / 1e6;
    out.counted = out.latencies_ms.size();
    sum_up(out);
    return out;
}

/// Until a server does nothing any more, or not for long.
void wait_until_quiet(const Process& server) {
    constexpr auto step = std::chrono::milliseconds(10);
    constexpr int steps_max = 50;
    constexpr double quiet_s = 0.001;
    double before_s = server.cpu_seconds();
    for (int i = 0; i < steps_max; ++i) {
        std::this_thread::sleep_for(step);
        const double now_s = server.cpu_seconds();
        if (now_s - before_s < quiet_s) return;
        before_s = now_s;
    }
}

void add(Measured& sum, Measured part) {
    sum.seconds += part.seconds;
    sum.counted += part.counted;
    sum.busy += part.busy;
    sum.latencies_ms.insert(sum.latencies_ms.end(), part.latencies_ms.begin(),
                            part.latencies_ms.end());
    if (!part.last_location.empty()) sum.last_location = std::move(part.last_location);
}

}  // namespace

Measured run_load(hub::HubClient& client, const Load& load,
                  const std::function<void(hub::ClientRequest&)>& make) {
    return measure(client, load, make, [](double) {});
}

Measured run_load(hub::HubClient& client, const Load& load,
                  const std::function<void(hub::ClientRequest&)>& make, hub::ProgressBar& bar,
                  double seconds_before) {
    return measure(client, load, make, [&](double seconds) {
        bar.set(static_cast<std::uint64_t>(seconds_before + seconds));
    });
}

std::vector<Measured> run_in_turns(const std::vector<Turn>& turns) {
    constexpr double turn_s = 0.4;
    std::vector<Measured> sums(turns.size());
    std::vector<double> cpu_s(turns.size()), user_s(turns.size());
    for (bool more = true; more;) {
        more = false;
        for (std::size_t i = 0; i < turns.size(); ++i) {
            const Turn& turn = turns[i];
            Load load = turn.load;
            load.seconds = std::min(turn_s, turn.load.seconds - sums[i].seconds);
            if (load.seconds <= 0) continue;
            for (const Turn& other : turns) wait_until_quiet(other.server);
            const Usage usage(turn.server);
            add(sums[i], measure(turn.client, load, turn.make, [](double) {}));
            wait_until_quiet(turn.server);
            cpu_s[i] += usage.cpu_s();
            user_s[i] += usage.user_s();
            more = true;
        }
    }
    for (std::size_t i = 0; i < turns.size(); ++i) {
        sum_up(sums[i]);
        const auto each_us = 1e6 / static_cast<double>(sums[i].counted);
        sums[i].cpu_us = cpu_s[i] * each_us;
        sums[i].user_us = user_s[i] * each_us;
    }
    return sums;
}

std::string describe(const Measured& m) {
    std::string out = hub::grouped(static_cast<std::uint64_t>(m.per_s)) + "/s, p50 " +
                      hub::fixed(m.p50_ms, 2) + " ms, p99 " + hub::fixed(m.p99_ms, 2) +
                      " ms, p99.9 " + hub::fixed(m.p999_ms, 2) + " ms";
    if (m.cpu_us > 0) out += ", " + hub::fixed(m.cpu_us, 0) + " us CPU each";
    if (m.busy > 0) out += ", " + hub::grouped(m.busy) + " told to come back";
    return out;
}

}  // namespace bench
