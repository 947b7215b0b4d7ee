// How often and how soon a push is attempted again: hours of it, in no time.

#include "hub/send/attempts.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "hub/send/attempt_counts.hpp"
#include "pns/platform.hpp"

using hub::FailedAttempt;
using hub::wait_after;
using hub::Waiting;
using pns::Outcome;

namespace {

constexpr std::int64_t hour_ms = 3'600'000;
constexpr std::int64_t unwell_ms = 1'500;  // the longest wait for a provider that names no time

struct Told {
    unsigned attempts = 0;        ///< until the last, or until the time was over
    std::int64_t spent_ms = 0;    ///< when the last one was made
    std::int64_t longest_ms = 0;  ///< wait
    Waiting past;
};

/// The same failure again and again, in a send that has `time_ms`.
Told fail_for(std::int64_t time_ms, const FailedAttempt& failed,
              std::string_view platform = "apns") {
    std::mt19937_64 random(7);
    Told told;
    for (;;) {
        ++told.attempts;
        const auto wait_ms = wait_after(failed, pns::retry_limits(platform),
                                        time_ms - told.spent_ms, random(), told.past);
        if (!wait_ms) return told;
        told.longest_ms = std::max(told.longest_ms, *wait_ms);
        told.spent_ms += *wait_ms;
    }
}

}  // namespace

TEST_CASE("an outage of hours uses up no attempts, and ends within moments of its end", "[hub]") {
    for (const auto& platform : pns::platforms()) {
        INFO(platform.name);
        const auto told =
            fail_for(3 * hour_ms, {Outcome::pns_unavailable, false, 0}, platform.name);
        CHECK(told.spent_ms > 3 * hour_ms - 2 * unwell_ms);
        CHECK(told.spent_ms < 3 * hour_ms);
        CHECK(told.longest_ms <= unwell_ms);
        CHECK(told.past.faults == 0);
        CHECK(told.past.outcome == Outcome::pns_unavailable);
    }
}

TEST_CASE("a push whose answers are lost goes on to the end, with few copies", "[hub]") {
    const auto [time_ms, copies_max] =
        GENERATE(std::pair<std::int64_t, unsigned>{30 * 60'000, 16},
                 std::pair<std::int64_t, unsigned>{14 * 24 * hour_ms, 28});
    for (const auto& platform : pns::platforms()) {
        INFO(platform.name);
        const auto told = fail_for(time_ms, {Outcome::unknown, false, 0}, platform.name);
        CHECK(told.attempts >= 8);
        CHECK(told.attempts <= copies_max);
        CHECK(told.spent_ms >= time_ms - 1'000);
        CHECK(told.past.losses == told.attempts);
        CHECK(told.past.faults == 0);
        CHECK(told.past.outcome == Outcome::unknown);
    }
    // What came before it does not count: the provider was only unwell.
    Waiting past;
    for (int i = 0; i < 1'000; ++i)
        REQUIRE(wait_after({Outcome::pns_unavailable, false, 0}, pns::retry_limits("apns"), hour_ms,
                           0, past));
    CHECK(wait_after({Outcome::unknown, false, 0}, pns::retry_limits("apns"), hour_ms, 0, past)
              .value() <= 2'000);
}

TEST_CASE("a push that is the cause of its lost answers ends after a few", "[hub]") {
    for (const auto& platform : pns::platforms()) {
        INFO(platform.name);
        const auto told = fail_for(48 * hour_ms, {Outcome::unknown, true, 0}, platform.name);
        CHECK(told.attempts == pns::retry_limits(platform.name).attempts_max);
        CHECK(told.spent_ms < 5 * 60'000);
        CHECK(told.past.outcome == Outcome::unknown);
    }
}

TEST_CASE("a push that is refused by its own fault has few attempts", "[hub]") {
    for (const auto& platform : pns::platforms()) {
        INFO(platform.name);
        const auto told = fail_for(48 * hour_ms, {Outcome::throttled, true, 0}, platform.name);
        CHECK(told.attempts == pns::retry_limits(platform.name).attempts_max);
        CHECK(told.past.faults == told.attempts);
    }
    // An outage before does not count against it.
    Waiting past;
    for (int i = 0; i < 1'000; ++i)
        REQUIRE(wait_after({Outcome::pns_unavailable, false, 0}, pns::retry_limits("apns"), hour_ms,
                           0, past));
    CHECK(past.attempts == 255);
    CHECK(wait_after({Outcome::throttled, true, 0}, pns::retry_limits("apns"), hour_ms, 0, past));
    CHECK(past.faults == 1);
}

TEST_CASE("what a provider asks for is waited for, or it is asked once more before the end",
          "[hub]") {
    Waiting past;
    const FailedAttempt throttled{Outcome::throttled, false, 20'000};
    const auto limits = pns::retry_limits("fcmv1");
    const auto wait_ms = wait_after(throttled, limits, hour_ms, 12'345, past);
    REQUIRE(wait_ms);
    CHECK(*wait_ms >= 20'000);
    CHECK(*wait_ms <= 24'000);
    CHECK(wait_after(throttled, limits, 20'000, 0, past) == 18'000);
    CHECK(wait_after(throttled, limits, 2'000, 0, past) == 1'800);
    CHECK(wait_after(throttled, limits, 22'000, 3'999, past) == 21'000);
    CHECK_FALSE(wait_after(throttled, limits, 200, 0, past));
    CHECK(wait_after(throttled, limits, 20'001, 0, past) == 20'000);
    CHECK(past.outcome == Outcome::throttled);
    // Nothing of the push's own fault goes on like that.
    CHECK_FALSE(wait_after({Outcome::throttled, true, 20'000}, limits, 20'000, 0, past));
}

TEST_CASE("a provider that is unavailable for half an hour by its own word is asked before",
          "[hub]") {
    std::mt19937_64 random(7);
    const auto limits = pns::retry_limits("apns");
    for (int i = 0; i < 1'000; ++i) {
        Waiting past;
        const FailedAttempt away{Outcome::pns_unavailable, false, 1'700'000};
        const auto wait_ms = wait_after(away, limits, 1'799'000, random(), past);
        REQUIRE(wait_ms);
        REQUIRE(*wait_ms >= 170'000);
        REQUIRE(*wait_ms <= 204'000);
    }
    // Within the first minute its word is kept.
    Waiting past;
    CHECK(wait_after({Outcome::pns_unavailable, false, 50'000}, limits, hour_ms, 0, past) ==
          50'000);
    CHECK(wait_after({Outcome::pns_unavailable, false, 90'000}, limits, hour_ms, 0, past) ==
          60'000);
    // To the end of a send it is asked so often.
    CHECK(fail_for(30 * 60'000, {Outcome::pns_unavailable, false, 1'700'000}).attempts <= 16);
}

TEST_CASE("what a provider did not take is counted by its word, and handed out once", "[hub]") {
    using pns::Outcome;
    hub::AttemptCounts counts;
    std::map<std::string, std::uint64_t> kinds, reasons;
    const auto take = [&] {
        kinds.clear();
        reasons.clear();
        counts.take(
            [&](std::size_t platform, pns::Verdict::Kind kind, std::uint64_t count) {
                kinds[std::to_string(platform) + ' ' + std::to_string(static_cast<int>(kind))] =
                    count;
            },
            [&](std::size_t platform, std::string_view label, std::uint64_t count) {
                reasons[std::to_string(platform) + ' ' + std::string(label)] += count;
            });
    };
    for (int i = 0; i < 3; ++i) {
        counts.add(1, pns::RetryLater{Outcome::pns_unavailable, "UNAVAILABLE: The service", 0});
        counts.add(2, pns::Dead{Outcome::expired_channel, "The channel expired"});
    }
    counts.add(2, pns::NoAnswer{"no answer in time"});
    counts.add(2, pns::Accepted{});
    counts.add(2, pns::NotSent{Outcome::throttled, "the credential is throttled", 5, 1});
    take();
    CHECK(kinds.size() == 5);
    CHECK(reasons == std::map<std::string, std::uint64_t>{
                         {"1 UNAVAILABLE", 3}, {"2 ExpiredChannel", 3}, {"2 NoAnswer", 1}});
    take();
    CHECK(kinds.empty());
    CHECK(reasons.empty());
    for (int i = 0; i < 1'000; ++i)
        counts.add(0, pns::Refused{Outcome::unknown_error, "R" + std::to_string(i)});
    take();
    CHECK(reasons.size() == hub::AttemptCounts::reasons_max + 1);
    CHECK(reasons["0 other"] == 1'000 - hub::AttemptCounts::reasons_max);
}
