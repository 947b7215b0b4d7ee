// Ended sends leave the ledger by age and by size; what is open stays.

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <set>

#include "registry/keys.hpp"
#include "registry/store.hpp"
#include "tests/support/faulty_env.hpp"
#include "tests/support/registry_fixture.hpp"

using namespace registry;
using namespace registry_test;

namespace {

constexpr std::int64_t day_ms = 86'400'000;

std::string send_id(int i) {
    char text[32];
    std::snprintf(text, sizeof text, "NH-%06d", i);
    return text;
}

Send send_of(int i, std::int64_t at_ms) {
    Send send;
    send.id = send_id(i);
    send.format = "apple";
    send.tag_expression = "red";
    send.body = std::string(200, 'x');
    send.enqueued_at_ms = at_ms;
    return send;
}

Progress in_state(SendState state, std::int64_t ended_at_ms = 0) {
    Progress progress;
    progress.state = state;
    progress.ended_at_ms = ended_at_ms;
    return progress;
}

SendRetention by_age(int days, int body_days = 9'999) {
    SendRetention keep;
    keep.kept_ms = days * day_ms;
    keep.bodies_kept_ms = body_days * day_ms;
    return keep;
}

/// Steps until there is no more to do, all together.
SweptSends sweep(Opened& registry, const SendRetention& keep, std::int64_t now_ms,
                 std::size_t count_max = 100) {
    SweptSends all;
    for (bool more = true; more;) {
        const auto step = wait<SweptSends>([&](auto done) {
                              registry->sweep_sends(keep, now_ms, count_max, done);
                          }).value();
        CHECK(step.removed + step.bodies <= count_max);
        all.removed += step.removed;
        all.bodies += step.bodies;
        all.bytes += step.bytes;
        more = step.more;
    }
    return all;
}

std::set<std::string> kept(const Opened& registry, std::uint32_t hub) {
    std::set<std::string> ids;
    SendQuery query;
    query.count_max = 10'000;
    for (const auto& [send, progress] : registry->list_sends(hub, query).value().sends)
        ids.insert(send.id);
    return ids;
}

std::set<std::string> ids(int from, int to) {
    std::set<std::string> all;
    for (int i = from; i < to; ++i) all.insert(send_id(i));
    return all;
}

/// One send a day to one registration, each over an hour after it began.
void send_daily(Opened& registry, std::uint32_t hub, int from, int to) {
    const auto selection = registry->select(hub, plan_of("red"), {}).value();
    for (int i = from; i < to; ++i) {
        const std::int64_t at_ms = i * day_ms;
        REQUIRE(registry.accept(hub, send_of(i, at_ms), selection).has_value());
        Progress over = in_state(SendState::completed, at_ms + 3'600'000);
        over.counts[{"apns", "Success"}] = 1;
        REQUIRE(registry.checkpoint(hub, send_id(i), over).has_value());
    }
}

}  // namespace

TEST_CASE("ended sends leave by their age, whatever is open stays", "[registry]") {
    const TempDirectory directory;
    std::uint32_t hub = 0, other = 0;
    const auto check = [&](const Opened& registry) {
        CHECK(registry->verify(hub) == std::vector<std::string>());
        CHECK(registry->verify(other) == std::vector<std::string>());
    };
    {
        Opened registry(options_in(directory.path()));
        hub = registry.hub("Orders", 2);
        other = registry.hub("Other", 1);
        REQUIRE(registry.put(hub, registration("1-1-1", "h", {"red"})).has_value());
        send_daily(registry, hub, 0, 40);
        // As old as the oldest: one that waits for its time, one that is paused, one that began
        // long ago and ended just now, and one that nobody was reached by.
        const auto selection = registry->select(hub, plan_of("red"), {}).value();
        Send later = send_of(100, 0);
        later.scheduled_at_ms = 90 * day_ms;
        REQUIRE(registry.accept(hub, later, {}, in_state(SendState::scheduled)).has_value());
        REQUIRE(registry.accept(hub, send_of(101, 0), selection, in_state(SendState::paused))
                    .has_value());
        REQUIRE(registry.accept(hub, send_of(102, 0), selection).has_value());
        Progress late = in_state(SendState::canceled, 40 * day_ms);
        REQUIRE(registry.checkpoint(hub, send_id(102), late).has_value());
        REQUIRE(registry.accept(hub, send_of(103, 0), {}, in_state(SendState::no_target, 1))
                    .has_value());
        REQUIRE(registry.accept(other, send_of(1, 0), {}, in_state(SendState::no_target, 1))
                    .has_value());
        check(registry);

        const auto swept = sweep(registry, by_age(30), 41 * day_ms, 7);
        CHECK(swept.removed == 13);  // the days 0 to 10, and the two without targets
        CHECK(swept.bytes > 13 * 200);
        auto left = ids(11, 40);
        left.merge(ids(100, 103));
        CHECK(kept(registry, hub) == left);
        CHECK(kept(registry, other).empty());
        CHECK(registry->send(hub, send_id(3)).error() == errc::not_found);
        CHECK(registry->send(hub, send_id(11)).value().second.counts.size() == 1);
        check(registry);
        CHECK(sweep(registry, by_age(30), 41 * day_ms).removed == 0);
    }
    {
        Opened registry(options_in(directory.path()));
        check(registry);
        CHECK(registry->open_sends().value().size() == 2);
        CHECK(sweep(registry, by_age(30), 42 * day_ms).removed == 1);
        CHECK(registry.checkpoint(hub, send_id(101), in_state(SendState::canceled, 42 * day_ms))
                  .has_value());
        CHECK(sweep(registry, by_age(1), 44 * day_ms).removed == 28 + 2);
        CHECK(kept(registry, hub) == ids(100, 101));
        // The clock was set back: what ends then is as old as it says.
        REQUIRE(registry.accept(hub, send_of(200, 0), {}, in_state(SendState::no_target, day_ms))
                    .has_value());
        check(registry);
        CHECK(sweep(registry, by_age(1), 44 * day_ms).removed == 1);
        CHECK(kept(registry, hub) == ids(100, 101));
        check(registry);
        CHECK(registry->figures().ended_sends_bytes == 0);
    }
}

TEST_CASE("ended sends leave by their size, those that ended first in any hub before others",
          "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t a = registry.hub("A", 1), b = registry.hub("B", 1),
                        gone = registry.hub("Gone", 1);
    for (int i = 0; i < 100; ++i) {
        const std::uint32_t hub = i % 2 == 0 ? a : b;
        REQUIRE(registry.accept(hub, send_of(i, i), {}, in_state(SendState::no_target, i + 1))
                    .has_value());
        REQUIRE(registry.accept(gone, send_of(i, i), {}, in_state(SendState::no_target, i + 1))
                    .has_value());
    }
    REQUIRE(wait<void>([&](auto done) { registry->erase_hub("Gone", done); }).has_value());
    const std::uint64_t all = registry->figures().ended_sends_bytes;
    SendRetention keep;
    keep.bytes_max = all / 2;
    const auto removed = sweep(registry, keep, 200, 9).removed;
    CHECK(removed >= 45);  // records differ by a few bytes
    CHECK(removed <= 55);
    CHECK(registry->figures().ended_sends_bytes <= all / 2);
    CHECK(registry->figures().ended_sends_bytes > all / 3);
    const auto of_a = kept(registry, a), of_b = kept(registry, b);
    CHECK(of_a.size() + of_b.size() == 100 - removed);
    CHECK(std::min(*of_a.begin(), *of_b.begin()) == send_id(static_cast<int>(removed)));
    keep.bytes_max = 0;
    CHECK(sweep(registry, keep, 200, 9).removed == 100 - removed);
    for (const std::uint32_t hub : {a, b}) {
        CHECK(registry->verify(hub) == std::vector<std::string>());
        CHECK(kept(registry, hub).empty());
    }
}

TEST_CASE("bodies leave before their sends, and are not looked at twice", "[registry]") {
    const TempDirectory directory;
    std::uint32_t hub = 0;
    {
        Opened registry(options_in(directory.path()));
        hub = registry.hub("Orders", 1);
        REQUIRE(registry.put(hub, registration("1-1-1", "h", {"red"})).has_value());
        send_daily(registry, hub, 0, 10);
        Send direct = send_of(20, 0);
        direct.direct_handles = {"secret"};
        Progress over = in_state(SendState::completed, day_ms);
        REQUIRE(registry.accept(hub, direct, {}, over).has_value());
        const std::uint64_t before = registry->figures().ended_sends_bytes;
        const auto swept = sweep(registry, by_age(30, 5), 10 * day_ms, 2);
        CHECK(swept.bodies == 5 + 1);
        CHECK(swept.removed == 0);
        CHECK(registry->figures().ended_sends_bytes < before - 6 * 200);
        CHECK(registry->send(hub, send_id(0)).value().first.body.empty());
        CHECK(registry->send(hub, send_id(0)).value().first.tag_expression == "red");
        CHECK(registry->send(hub, send_id(20)).value().first.direct_handles.empty());
        CHECK(registry->send(hub, send_id(5)).value().first.body.size() == 200);
        CHECK(registry->verify(hub) == std::vector<std::string>());
    }
    Opened registry(options_in(directory.path()));
    CHECK(sweep(registry, by_age(30, 5), 11 * day_ms).bodies == 1);
    // One that ends before what was looked at, as the clock was set back.
    REQUIRE(
        registry.accept(hub, send_of(30, 0), {}, in_state(SendState::no_target, 1)).has_value());
    CHECK(sweep(registry, by_age(30, 5), 11 * day_ms).bodies == 1);
    CHECK(registry->send(hub, send_id(30)).value().first.body.empty());
    CHECK(sweep(registry, by_age(8, 5), 11 * day_ms).removed == 3 + 2);
    CHECK(registry->verify(hub) == std::vector<std::string>());
}

TEST_CASE("a store from before there were ends gets them, and a sweep that was cut goes on",
          "[registry]") {
    const TempDirectory directory;
    std::uint32_t hub = 0;
    {
        Opened registry(options_in(directory.path()));
        hub = registry.hub("Orders", 1);
        REQUIRE(registry.put(hub, registration("1-1-1", "h", {"red"})).has_value());
        send_daily(registry, hub, 0, 30);
        REQUIRE(registry.accept(hub, send_of(50, 0), {}, in_state(SendState::paused)).has_value());
    }
    {
        std::string why;
        const auto store = Store::open(options_in(directory.path()), why).value();
        Batch batch = store->batch();
        batch.erase_prefix(Family::ledger, std::string(1, static_cast<char>(LedgerKind::ended)));
        batch.erase(Family::meta, ended_bytes_key(hub));
        batch.erase(Family::meta, std::string(sweep_key));
        REQUIRE(store->write(batch).has_value());
    }
    const auto step = [&](Opened& registry, const SendRetention& keep) {
        return wait<SweptSends>(
            [&](auto done) { registry->sweep_sends(keep, 40 * day_ms, 4, done); });
    };
    // A process that ends after each step: nothing is half done, nothing is done twice.
    std::size_t removed = 0;
    for (int i = 0; i < 20; ++i) {
        FaultyEnv env;
        Options options = options_in(directory.path());
        options.env = &env;
        options.sync = true;
        Opened registry(options);
        if (i == 1) send_daily(registry, hub, 30, 32);  // the new and the old do not count twice
        const auto swept = step(registry, by_age(20));
        REQUIRE(swept.has_value());
        removed += swept->removed;
        env.fault = Fault::no_space;  // and one whose disk is full changes nothing
        CHECK(step(registry, by_age(20)).error() == errc::disk_full);
        env.fault = Fault::none;
        INFO("step " << i);
        CHECK(registry->verify(hub) == std::vector<std::string>());
    }
    CHECK(removed == 20);
    Opened registry(options_in(directory.path()));
    auto left = ids(20, 32);
    left.merge(ids(50, 51));
    CHECK(kept(registry, hub) == left);
}

TEST_CASE("a copy of the store at any moment of a sweep is sound", "[registry]") {
    const TempDirectory directory, copy;
    Options options = options_in(directory.path());
    options.sync = true;
    Opened registry(options);
    const std::uint32_t hub = registry.hub("Orders", 1);
    REQUIRE(registry.put(hub, registration("1-1-1", "h", {"red"})).has_value());
    send_daily(registry, hub, 0, 60);
    std::filesystem::path log;
    for (const auto& entry : std::filesystem::directory_iterator(directory.path() / "store")) {
        if (entry.path().extension() == ".log") log = entry.path();
    }
    REQUIRE(!log.empty());
    const auto begun = std::filesystem::file_size(log);
    CHECK(sweep(registry, by_age(30, 10), 60 * day_ms, 5).removed == 30);
    const auto ended = std::filesystem::file_size(log);
    REQUIRE(ended > begun);
    const auto root = copy.path() / "store";
    for (int i = 0; i < 40; ++i) {
        std::filesystem::remove_all(root);
        std::filesystem::copy(directory.path() / "store", root);
        const auto cut = begun + (ended - begun) * static_cast<std::uintmax_t>(i) / 39;
        std::filesystem::resize_file(root / log.filename(), cut);
        Opened cut_off(options_in(copy.path()));
        INFO("cut at " << cut << " of " << begun << " to " << ended);
        REQUIRE(cut_off->verify(hub) == std::vector<std::string>());
        const auto left = kept(cut_off, hub);
        REQUIRE(left.size() >= 30);
        sweep(cut_off, by_age(30, 10), 60 * day_ms, 50);
        REQUIRE(kept(cut_off, hub) == ids(30, 60));
        REQUIRE(cut_off->verify(hub) == std::vector<std::string>());
    }
}
