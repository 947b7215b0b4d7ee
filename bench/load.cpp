#include "bench/load.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bench/process.hpp"
#include "hub/times.hpp"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t now_us() {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
            .count());
}

}  // namespace

Measured run_load(HubClient& client, const Load& load,
                  const std::function<void(ClientRequest&)>& make, ProgressBar& bar,
                  double seconds_before) {
    Measured out;
    std::vector<double> latencies_ms;
    std::string wrong;
    const std::uint64_t begun = now_us();
    const auto until = begun + static_cast<std::uint64_t>(load.seconds * 1e6);
    client.call_many(
        [&](ClientRequest& request) {
            const std::uint64_t now = now_us();
            if (now >= until || !wrong.empty()) return false;
            make(request);
            request.tag = now;
            return true;
        },
        [&](const ClientRequest& request, const ClientReply& reply) {
            const std::uint64_t now = now_us();
            if (reply.status == load.status) {
                latencies_ms.push_back(static_cast<double>(now - request.tag) / 1e3);
                out.last_location = reply.header("location");
            } else if (reply.status == load.status_when_busy) {
                ++out.busy;
            } else if (wrong.empty()) {
                wrong = request.method + " " + request.path + " was answered " +
                        std::to_string(reply.status) + ": " + reply.body.substr(0, 300);
            }
            const double spent = seconds_before + static_cast<double>(now - begun) / 1e6;
            bar.set(static_cast<std::uint64_t>(spent));
        },
        load.per_connection);
    if (!wrong.empty()) throw std::runtime_error(wrong);
    if (latencies_ms.empty()) throw std::runtime_error("no request was served");
    const double seconds = static_cast<double>(now_us() - begun) / 1e6;
    out.counted = latencies_ms.size();
    out.per_s = static_cast<double>(out.counted) / seconds;
    out.p50_ms = percentile(latencies_ms, 0.5);
    out.p99_ms = percentile(latencies_ms, 0.99);
    return out;
}

double percentile(std::vector<double>& values, double share) {
    std::sort(values.begin(), values.end());
    const auto last = static_cast<double>(values.size() - 1);
    return values[static_cast<std::size_t>(share * last + 0.5)];
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void report(const std::string& bench, unsigned runs, const Metrics& metrics,
            const std::string& file) {
    nlohmann::ordered_json result;
    result["bench"] = bench;
    result["commit"] = commit_description();
    result["machine"] = machine_description();
    result["date"] = hub::iso_seconds(static_cast<std::int64_t>(std::time(nullptr)) * 1000);
    result["runs"] = runs;
    std::printf("\nmedians of %u runs, on %s\n", runs, machine_description().c_str());
    for (const auto& [name, value] : metrics) {
        result["metrics"][name] = std::stod(fixed(value, 3));
        std::printf("  %s %s\n", padded(name, 18).c_str(), fixed(value, 3).c_str());
    }
    if (file.empty()) return;
    std::ofstream out(file);
    out << result.dump(2) << '\n';
    if (!out.flush()) throw std::runtime_error("cannot write " + file);
}

}  // namespace bench
