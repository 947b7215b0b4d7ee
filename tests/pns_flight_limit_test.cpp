#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <deque>
#include <queue>
#include <random>
#include <vector>

#include "pns/flight_limit.hpp"

using pns::FlightLimit;

namespace {

/// A provider behind a way of `way_us` that answers one request every `each_us`, asked by someone
/// who always has more to send. `scatter_us` is the mean of what it thinks about a request besides,
/// which delays no other. Time is simulated.
class Provider {
  public:
    Provider(std::int64_t way_us, double each_us, double scatter_us = 0)
        : way_us_(way_us), each_us_(each_us), scatter_us_(scatter_us) {}

    struct Run {
        double used = 0;         ///< of what the provider could answer
        double response_us = 0;  ///< mean of the last half
    };
    Run run(FlightLimit& limit, std::int64_t for_us) {
        Run out;
        std::uint64_t answers = 0, counted = 0;
        double sum_us = 0;
        for (const std::int64_t end_us = now_us_ + for_us; now_us_ < end_us; now_us_ += 100) {
            while (flight_.size() < limit.now()) {
                free_us_ = std::max(free_us_, static_cast<double>(now_us_)) + each_us_;
                const double answered_us = free_us_ + scatter_us_ * thinks_(random_);
                const bool measured = limit.wants_sample();
                flight_.push({now_us_, static_cast<std::int64_t>(answered_us) + way_us_, measured});
                if (measured) limit.sent(now_us_, flight_.size());
            }
            while (!flight_.empty() && flight_.top().answered_us <= now_us_) {
                const Request request = flight_.top();
                const std::int64_t response_us = now_us_ - request.sent_us;
                flight_.pop();
                ++answers;
                if (2 * (end_us - now_us_) < for_us) {
                    sum_us += static_cast<double>(response_us);
                    ++counted;
                }
                if (request.measured) limit.answered(now_us_, request.sent_us, flight_.size() + 1);
            }
        }
        out.used = static_cast<double>(answers) * each_us_ / static_cast<double>(for_us);
        out.response_us = sum_us / static_cast<double>(counted);
        return out;
    }
    void move(std::int64_t way_us) { way_us_ = way_us; }

  private:
    struct Request {
        std::int64_t sent_us = 0, answered_us = 0;
        bool measured = false;
        bool operator>(const Request& other) const { return answered_us > other.answered_us; }
    };
    std::int64_t way_us_;
    const double each_us_, scatter_us_;
    std::mt19937_64 random_{12};
    std::exponential_distribution<double> thinks_;
    std::int64_t now_us_ = 0;
    double free_us_ = 0;
    std::priority_queue<Request, std::vector<Request>, std::greater<>> flight_;
};

}  // namespace

TEST_CASE("as many requests are on the way as keep the provider busy, and few more", "[pns]") {
    struct Case {
        std::int64_t way_us;
        double each_us;
    };
    for (const Case& c : {Case{300, 5}, Case{20'000, 20}, Case{20'000, 5}, Case{100'000, 100},
                          Case{2'000, 1'000}}) {
        CAPTURE(c.way_us, c.each_us);
        Provider provider(c.way_us, c.each_us);
        FlightLimit limit;
        provider.run(limit, 10'000'000);
        const auto settled = provider.run(limit, 10'000'000);
        CHECK(settled.used > 0.9);
        const double waiting_us = settled.response_us - static_cast<double>(c.way_us);
        const double least_us = static_cast<double>(FlightLimit::least) * c.each_us;
        CHECK(waiting_us < std::max({10'000.0, static_cast<double>(c.way_us), 2 * least_us}));
    }
}

TEST_CASE("a way that became longer or shorter is learned", "[pns]") {
    Provider provider(1'000, 10);
    FlightLimit limit;
    provider.run(limit, 5'000'000);
    provider.move(80'000);
    provider.run(limit, 40'000'000);
    CHECK(provider.run(limit, 10'000'000).used > 0.9);
    provider.move(1'000);
    provider.run(limit, 40'000'000);
    const auto again = provider.run(limit, 10'000'000);
    CHECK(again.used > 0.9);
    CHECK(again.response_us < 15'000);
}

TEST_CASE("a provider that takes longer for some requests than for others is kept busy", "[pns]") {
    struct Case {
        std::int64_t way_us;
        double each_us, scatter_us;
    };
    for (const Case& c : {Case{300, 10, 10'000}, Case{5'000, 20, 50'000}, Case{20'000, 20, 40'000},
                          Case{50'000, 50, 100'000}}) {
        CAPTURE(c.way_us, c.each_us, c.scatter_us);
        Provider provider(c.way_us, c.each_us, c.scatter_us);
        FlightLimit limit;
        provider.run(limit, 10'000'000);
        CHECK(provider.run(limit, 60'000'000).used > 0.85);
    }
}

namespace {

/// A hundred and twenty-eight requests, answered after what `response_us` says of each.
template <typename ResponseUs>
void sample(FlightLimit& limit, std::int64_t& now_us, std::size_t in_flight,
            ResponseUs response_us) {
    const std::int64_t sent_us = ++now_us;
    std::vector<std::int64_t> answered_us;
    for (int i = 0; i < 128; ++i) {
        REQUIRE(limit.wants_sample());
        limit.sent(sent_us, in_flight);
        answered_us.push_back(sent_us + response_us(i));
    }
    CHECK_FALSE(limit.wants_sample());
    std::sort(answered_us.begin(), answered_us.end());
    for (const std::int64_t at_us : answered_us) limit.answered(at_us, sent_us, in_flight);
    now_us = answered_us.back();
}

}  // namespace

TEST_CASE("a few quick answers do not make all others late", "[pns]") {
    FlightLimit limit;
    std::int64_t now_us = 0;
    for (int i = 0; i < 3; ++i) {
        sample(limit, now_us, 1'024, [](int n) { return n % 5 == 0 ? 500 : 30'000; });
    }
    CHECK(limit.unloaded_us() > 20'000);
    CHECK(limit.now() > 1'024);
}

TEST_CASE("what is not used does not grow, and one slow answer ends nothing", "[pns]") {
    FlightLimit limit;
    std::int64_t now_us = 0;
    for (int i = 0; i < 10; ++i) sample(limit, now_us, 10, [](int) { return 1'000; });
    CHECK(limit.now() == 1'024);
    sample(limit, now_us, 1'024, [](int n) { return n == 7 ? 5'000'000 : 1'000; });
    CHECK(limit.now() == 1'536);
    sample(limit, now_us, 1'024, [](int) { return 100'000; });
    CHECK(limit.now() == 512);
    for (int i = 0; i < 10; ++i) {
        sample(limit, now_us, FlightLimit::least + 1, [](int) { return 200'000; });
    }
    CHECK(limit.now() == FlightLimit::least);
    CHECK(limit.unloaded_us() == 1'000);
}

TEST_CASE("requests that are never answered do not hold up what is learned", "[pns]") {
    FlightLimit limit;
    for (int i = 0; i < 128; ++i) limit.sent(1, 10);
    for (int i = 0; i < 128; ++i) limit.lost(1);
    std::int64_t now_us = 1;
    sample(limit, now_us, 10, [](int) { return 1'000; });
    CHECK(limit.unloaded_us() == 1'000);
    limit.lost(1);  // of a sample before
    CHECK(limit.wants_sample());
}
