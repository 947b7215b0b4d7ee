#include "bench/broadcast.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "bench/telemetry.hpp"
#include "hub/cli/terminal.hpp"

namespace bench {
namespace {

constexpr auto sample_every = std::chrono::milliseconds(50);
constexpr std::size_t samples_max = 120;  ///< of the curve

double now_s() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

/// Asks the sink now and then how many pushes it has.
class RateSampler {
  public:
    explicit RateSampler(const SimControl& sink) : sink_(sink), thread_([this] { run(); }) {}
    ~RateSampler() { stop(); }
    RateSampler(const RateSampler&) = delete;
    RateSampler& operator=(const RateSampler&) = delete;

    void stop() {
        over_ = true;
        if (thread_.joinable()) thread_.join();
    }
    /// After stop(): rates between samples, thinned out to samples_max.
    std::vector<std::pair<double, double>> rates(double since_s) const {
        std::vector<std::pair<double, double>> out;
        const std::size_t step = std::max<std::size_t>(1, samples_.size() / samples_max);
        for (std::size_t i = step; i < samples_.size(); i += step) {
            const auto& [from_s, before] = samples_[i - step];
            const auto& [to_s, count] = samples_[i];
            if (to_s < since_s || count < before) continue;
            out.emplace_back(to_s - since_s, static_cast<double>(count - before) / (to_s - from_s));
        }
        return out;
    }

  private:
    void run() {
        while (!over_) {
            try {
                const std::uint64_t pushes = sink_.taken().pushes;
                samples_.emplace_back(now_s(), pushes);
            } catch (const std::exception&) {
                return;  // the sink has ended: whoever waits for the send will say so
            }
            std::this_thread::sleep_for(sample_every);
        }
    }

    const SimControl& sink_;
    std::vector<std::pair<double, std::uint64_t>> samples_;  // of the thread, until it has ended
    std::atomic<bool> over_ = false;
    std::thread thread_;
};

}  // namespace

Broadcast run_broadcast(HubProcess& hub, hub::HubClient& client, const Sink& sink,
                        const BroadcastOrder& order) {
    const SimControl& control = sink.control(order.platform);
    control.forget();
    RateSampler sampler(control);
    const Usage usage(hub.process());
    const std::string id =
        post_send(client, order.hub, order.format, order.expression, order.body, order.headers);
    const Telemetry t = wait_until_final(client, order.hub, id, order.timeout_s);
    const double cpu_s = usage.cpu_s();
    sampler.stop();
    if (t.devices("Success") != order.devices || t.devices() != order.devices) {
        std::string outcomes;
        for (const auto& [platform, counts] : t.outcomes) {
            for (const auto& [outcome, count] : counts)
                outcomes += ", " + platform + " " + outcome + " " + hub::grouped(count);
        }
        throw std::runtime_error("not all of " + hub::grouped(order.devices) +
                                 " pushes succeeded; the send ended as " + t.state + outcomes);
    }
    const auto devices = static_cast<double>(order.devices);
    const SimControl::Taken taken = control.taken();
    const auto after_ms = [&](std::int64_t at_us) {
        return static_cast<double>(at_us) / 1e3 - static_cast<double>(t.enqueued_at_ms);
    };
    Broadcast out;
    out.seconds =
        static_cast<double>(std::max<std::int64_t>(1, t.ended_at_ms - t.enqueued_at_ms)) / 1e3;
    out.pushes_per_s = devices / out.seconds;
    out.cpu_us_per_push = cpu_s * 1e6 / devices;
    out.first_ms = std::max(0.0, after_ms(taken.first_at_us));
    out.last_ms = after_ms(taken.last_at_us);
    out.rate = sampler.rates(static_cast<double>(t.enqueued_at_ms) / 1e3);
    return out;
}

std::string describe(const Broadcast& b) {
    return hub::grouped(static_cast<std::uint64_t>(b.pushes_per_s)) + "/s, " +
           hub::fixed(b.cpu_us_per_push, 2) + " us CPU per push, first after " +
           hub::fixed(b.first_ms, 0) + " ms, last after " + hub::fixed(b.last_ms, 0) + " ms";
}

}  // namespace bench
