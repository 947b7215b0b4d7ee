#include "bench/load.hpp"

#include <chrono>
#include <stdexcept>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t now_us() {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
            .count());
}

Measured measure(HubClient& client, const Load& load,
                 const std::function<void(ClientRequest&)>& make,
                 const std::function<void(double)>& progress) {
    Measured out;
    std::string wrong;
    const std::uint64_t begun = now_us();
    const auto until = begun + static_cast<std::uint64_t>(load.seconds * 1e6);
    client.call_many(
        [&](ClientRequest& request) {
            const std::uint64_t now = now_us();
            if (now >= until || !wrong.empty() || (load.until && load.until())) return false;
            make(request);
            request.tag = now;
            return true;
        },
        [&](const ClientRequest& request, const ClientReply& reply) {
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
    const double seconds = static_cast<double>(now_us() - begun) / 1e6;
    out.counted = out.latencies_ms.size();
    out.per_s = static_cast<double>(out.counted) / seconds;
    out.p50_ms = percentile(out.latencies_ms, 0.5);
    out.p99_ms = percentile(out.latencies_ms, 0.99);
    out.p999_ms = percentile(out.latencies_ms, 0.999);
    return out;
}

}  // namespace

Measured run_load(HubClient& client, const Load& load,
                  const std::function<void(ClientRequest&)>& make) {
    return measure(client, load, make, [](double) {});
}

Measured run_load(HubClient& client, const Load& load,
                  const std::function<void(ClientRequest&)>& make, ProgressBar& bar,
                  double seconds_before) {
    return measure(client, load, make, [&](double seconds) {
        bar.set(static_cast<std::uint64_t>(seconds_before + seconds));
    });
}

std::string describe(const Measured& m) {
    std::string out = grouped(static_cast<std::uint64_t>(m.per_s)) + "/s, p50 " +
                      fixed(m.p50_ms, 2) + " ms, p99 " + fixed(m.p99_ms, 2) + " ms, p99.9 " +
                      fixed(m.p999_ms, 2) + " ms";
    if (m.cpu_us > 0) out += ", " + fixed(m.cpu_us, 0) + " us CPU each";
    if (m.busy > 0) out += ", " + grouped(m.busy) + " told to come back";
    return out;
}

}  // namespace bench
