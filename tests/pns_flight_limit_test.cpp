#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>

#include "pns/flight_limit.hpp"

using pns::FlightLimit;

namespace {

/// A provider behind a way of `way_us` that answers one request every `each_us`, asked by someone
/// who always has more to send. Time is simulated.
class Provider {
  public:
    Provider(std::int64_t way_us, double each_us) : way_us_(way_us), each_us_(each_us) {}

    struct Run {
        double used = 0;         ///< of what the provider could answer
        double response_us = 0;  ///< mean of the last half
        std::size_t in_flight = 0;
    };
    Run run(FlightLimit& limit, std::int64_t for_us) {
        Run out;
        std::uint64_t answers = 0, counted = 0;
        double sum_us = 0;
        for (const std::int64_t end_us = now_us_ + for_us; now_us_ < end_us; now_us_ += 100) {
            while (flight_.size() < limit.now()) {
                free_us_ = std::max(free_us_, static_cast<double>(now_us_)) + each_us_;
                flight_.push_back({now_us_, static_cast<std::int64_t>(free_us_) + way_us_});
                if (!probing_) {
                    probing_ = true;
                    probe_ = flight_.back();
                    probe_in_flight_ = flight_.size();
                }
            }
            while (!flight_.empty() && flight_.front().answered_us <= now_us_) {
                ++answers;
                if (2 * (end_us - now_us_) < for_us) {
                    sum_us += static_cast<double>(now_us_ - flight_.front().sent_us);
                    ++counted;
                }
                flight_.pop_front();
            }
            if (probing_ && probe_.answered_us <= now_us_) {
                probing_ = false;
                limit.answered(now_us_, now_us_ - probe_.sent_us, probe_in_flight_);
            }
        }
        out.used = static_cast<double>(answers) * each_us_ / static_cast<double>(for_us);
        out.response_us = sum_us / static_cast<double>(counted);
        out.in_flight = flight_.size();
        return out;
    }
    void move(std::int64_t way_us) { way_us_ = way_us; }

  private:
    struct Request {
        std::int64_t sent_us = 0, answered_us = 0;
    };
    std::int64_t way_us_;
    const double each_us_;
    std::int64_t now_us_ = 0;
    double free_us_ = 0;
    std::deque<Request> flight_;
    Request probe_;
    std::size_t probe_in_flight_ = 0;
    bool probing_ = false;
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

TEST_CASE("what is not used does not grow, and one slow answer does not end everything", "[pns]") {
    FlightLimit limit;
    for (int i = 0; i < 1'000; ++i) limit.answered(i, 1'000, 10);
    CHECK(limit.now() == 1'024);
    limit.answered(2'000, 60'000'000, 1'024);
    CHECK(limit.now() == 512);
    for (int i = 0; i < 100; ++i) limit.answered(3'000, 60'000'000, FlightLimit::least + 1);
    CHECK(limit.now() == FlightLimit::least);
    CHECK(limit.unloaded_us() == 1'000);
}
