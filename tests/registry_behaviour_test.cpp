#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "registry/numbers.hpp"
#include "registry/postings.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/registry_fixture.hpp"

using namespace registry;
using namespace registry_test;

TEST_CASE("hubs are found ignoring case, keep their number, and take everything with them",
          "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    std::uint32_t first = 0;
    {
        Opened registry(options);
        first = registry.hub("Orders", 4);
        HubRow again;
        again.name = "ORDERS";
        CHECK(wait<HubRow>([&](auto done) { registry->create_hub(again, done); }).error() ==
              errc::exists);
        again.description = "new";
        const HubRow updated =
            wait<HubRow>([&](auto done) { registry->update_hub(again, done); }).value();
        CHECK((updated.name == "Orders" && updated.description == "new" && updated.etag == 2));
        REQUIRE(registry.put(first, registration("1-1-1", "h", {"red"})).has_value());
        Installation value = installation("i", "h", {"red"});
        value.expires_at_ms = 50;
        REQUIRE(registry.install(first, value).has_value());
        Send send;
        send.id = "s";
        REQUIRE(registry.accept(first, send, registry->select(first, plan_of(""), {}).value())
                    .has_value());
    }
    Opened registry(options);
    REQUIRE(registry->hubs().size() == 1);
    CHECK(registry->hubs().front().number == first);
    CHECK(wait<void>([&](auto done) { registry->erase_hub("orders", done); }).has_value());
    CHECK(registry->hubs().empty());
    CHECK(registry->open_sends().value().empty());
    CHECK(registry->select(first, plan_of(""), {}).error() == errc::not_found);
    CHECK(registry.put(first, registration("1-1-1", "h", {})).error() == errc::not_found);
    CHECK(registry.expire(1'000'000, 10).value() == 0);
    CHECK(registry->figures().registrations == 0);
    CHECK(registry->figures().installations == 0);
    const std::uint32_t second = registry.hub("Orders", 4);
    CHECK(second > first);
    CHECK(registry->list(second, "", "", 10).value().registrations.empty());
    CHECK(registry->verify(second).empty());
}

TEST_CASE("an installation rewritten keeps number, id and generation of its parts", "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 8);
    Installation value = installation("i", "h1", {"red"});
    value.templates["alert"].body = "a";
    REQUIRE(registry.install(hub, value).has_value());
    const auto ids = registry.select(hub, "$installationid:{i}");
    REQUIRE(ids.size() == 2);
    const std::string native = registry.select(hub, "!alert").front();
    const Located before = locate(*registry, hub, native);

    value.tags = {"blue"};
    value.registered_at_ms = 2'000;
    REQUIRE(registry.install(hub, value).has_value());
    const Located refreshed = locate(*registry, hub, native);
    CHECK(refreshed.device.number == before.device.number);
    CHECK(refreshed.device.generation == before.device.generation);
    CHECK(refreshed.device.registered_at_ms == 2'000);
    CHECK(registry.select(hub, "red").empty());

    value.push_channel = "h2";
    REQUIRE(registry.install(hub, value).has_value());
    const Located moved = locate(*registry, hub, native);
    CHECK(moved.device.number == before.device.number);
    CHECK(moved.device.generation > before.device.generation);
    CHECK(registry.select(hub, "$InstallationId:{i}") == ids);

    // The old generation and the old handle prove nothing any more.
    CHECK(registry
              .retire(hub, {{moved.partition, moved.device.number, before.device.generation, "h1",
                             9'000, "", 0}})
              .value() == 0);
    CHECK(registry
              .retire(hub, {{moved.partition, moved.device.number, moved.device.generation, "h2",
                             2'000, "", 0}})
              .value() == 0);
    CHECK(registry
              .retire(hub, {{moved.partition, moved.device.number, moved.device.generation, "h2",
                             2'001, "", 0}})
              .value() == 1);
    CHECK(registry.select(hub, "$InstallationId:{i}").empty());
    CHECK(registry->installation(hub, "i").value().push_channel_expired);
    REQUIRE(registry.install(hub, value).has_value());
    CHECK(registry.select(hub, "$InstallationId:{i}") == ids);
}

TEST_CASE("ids of installations and users match exactly", "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 2);
    const auto install = [&](const std::string& id, const std::string& user) {
        Installation value = installation(id, "h-" + id, {"Red"});
        value.user_id = user;
        REQUIRE(registry.install(hub, value).has_value());
    };
    install("dev-A", "Jr");
    install("dev-a", "jR");
    install("dev-b", "jr");
    const auto reached = [&](const std::string& expression) {
        std::set<std::string> ids;
        for (const std::string& id : registry.select(hub, expression))
            ids.insert(registry->registration(hub, id)->installation_id);
        return ids;
    };
    using Ids = std::set<std::string>;
    CHECK(reached("$InstallationId:{dev-a}") == Ids{"dev-a"});
    CHECK(reached("$INSTALLATIONID:{dev-A}") == Ids{"dev-A"});
    CHECK(reached("$InstallationId:{DEV-A}").empty());
    CHECK(reached("$UserId:{jR}") == Ids{"dev-a"});
    CHECK(reached("$userid:{jr}") == Ids{"dev-b"});
    CHECK(reached("red && !$UserId:{Jr}") == Ids{"dev-a", "dev-b"});
    CHECK(reached("$UserId:{Jr} || $UserId:{jr}") == Ids{"dev-A", "dev-b"});
    CHECK(reached("$UserId:{Jr} && $UserId:{jr}").empty());
    CHECK(registry->list(hub, "$UserId:{jR}", "", 9)->registrations.size() == 1);
    CHECK(registry->installations_of_user(hub, "jR", 9).value() ==
          std::vector<std::string>{"dev-a"});
    const auto erased = wait<std::vector<ErasedInstallation>>([&](auto done) {
        registry->erase_user(hub, "jR", {"dev-A", "dev-a", "dev-b"}, done);
    });
    REQUIRE(erased->size() == 1);
    CHECK(erased->front().id == "dev-a");
    CHECK(reached("red") == Ids{"dev-A", "dev-b"});
    CHECK(registry->verify(hub).empty());
}

TEST_CASE("the id of a part is found as long as the part is there, and is nobody else's",
          "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 2);
    Installation value = installation("i", "h", {"red"});
    value.templates["alert"] = {"alert", "body", {}, "", "", {}};
    REQUIRE(registry.install(hub, value).has_value());
    const auto ids = registry.select(hub, "$InstallationId:{i}");
    REQUIRE(ids.size() == 2);
    for (const std::string& id : ids) {
        CHECK(registry->registration(hub, id).value().installation_id == "i");
        CHECK(registry.put(hub, registration(id, "other", {})).error() == errc::exists);
    }
    const std::string elsewhere = "8000000000000000099" + ids[0].substr(ids[0].find('-'));
    CHECK(registry->registration(hub, elsewhere).error() == errc::not_found);
    CHECK(registry.put(hub, registration(elsewhere, "other", {})).error() == errc::gone);
    CHECK(registry.erase(hub, elsewhere).error() == errc::not_found);

    // Another installation takes over the numbers: the ids before are not its own.
    REQUIRE(registry.uninstall(hub, "i").value());
    for (int i = 0; i < 8; ++i) {
        value.id = "j" + std::to_string(i);
        REQUIRE(registry.install(hub, value).has_value());
    }
    for (const std::string& id : ids) {
        CHECK(registry->registration(hub, id).error() == errc::not_found);
        CHECK(registry.put(hub, registration(id, "other", {})).error() == errc::gone);
    }
    CHECK(registry->verify(hub).empty());
}

TEST_CASE("an id comes again after its registration was erased; an issued one not after it ended",
          "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 2);
    const std::string issued = "123-456-1";
    std::int64_t now_ms = 0;
    for (const std::string& id : {issued, std::string("my-phone"), std::string("8-1")}) {
        INFO(id);
        const bool is_issued = id == issued;
        REQUIRE(registry.put(hub, registration(id, "h", {"a"})).has_value());
        REQUIRE(registry.erase(hub, id).has_value());
        CHECK(registry.erase(hub, id).error() == errc::not_found);
        CHECK(registry.put(hub, registration(id, "h", {}), {Precondition::Kind::any, 0}).error() ==
              errc::not_found);
        CHECK(registry.put(hub, registration(id, "h2", {"b"})).value().etag == 1);
        CHECK(registry.select(hub, "b") == std::vector<std::string>{id});

        // Retired.
        const Located at = locate(*registry, hub, id);
        REQUIRE(registry
                    .retire(hub, {{at.partition, at.device.number, at.device.generation, "h2",
                                   9'000, "dead", 9'500, 0}})
                    .value() == 1);
        CHECK(registry->registration(hub, id).error() == errc::not_found);
        auto again = registration(id, "h3", {});
        again.expires_at_ms = 1'000;
        const auto put = registry.put(hub, again);
        CHECK(put.has_value() != is_issued);
        if (is_issued) {
            CHECK(put.error() == errc::gone);
            CHECK(registry.erase(hub, id).error() == errc::not_found);
            continue;
        }
        // Expired.
        now_ms += 10'000'000;
        CHECK(registry.expire(now_ms, 100).value() == 1);
        CHECK(registry.put(hub, registration(id, "h4", {})).has_value());
        REQUIRE(registry.erase(hub, id).has_value());
    }
    CHECK(registry->verify(hub).empty());
}

TEST_CASE("what ends is swept once its minute is over, however its end has moved", "[registry]") {
    constexpr std::int64_t minute = 60'000;
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    std::uint32_t hub = 0;
    {
        Opened registry(options);
        hub = registry.hub("Orders", 2);
        Installation moving = installation("moving", "h", {"red"});
        moving.templates["alert"] = {"alert", "body", {}, "", "", {}};
        moving.expires_at_ms = 5 * minute;
        REQUIRE(registry.install(hub, moving).has_value());
        Registration plain = registration("1-1-1", "h", {"red"});
        plain.expires_at_ms = 5 * minute + 1;
        REQUIRE(registry.put(hub, plain).has_value());
        moving.expires_at_ms = 9 * minute;
        REQUIRE(registry.install(hub, moving).has_value());
        CHECK(registry.expire(6 * minute - 1, 10).value() == 0);
        CHECK(registry.expire(6 * minute, 1).value() + registry.expire(6 * minute, 1).value() +
                  registry.expire(6 * minute, 1).value() ==
              1);  // one a step, and two of the three go on
        CHECK(registry.expire(6 * minute, 10).value() == 0);
        CHECK(registry->registration(hub, "1-1-1").error() == errc::not_found);
        CHECK(registry->verify(hub).empty());
        Registration late = registration("1-2-1", "h", {});
        late.expires_at_ms = 2 * minute;  // before what was swept
        REQUIRE(registry.put(hub, late).has_value());
        CHECK(registry->verify(hub).empty());
    }
    Opened registry(options);
    CHECK(registry.expire(6 * minute, 10).value() == 0);
    CHECK(registry.expire(7 * minute, 10).value() == 1);
    CHECK(registry.select(hub, "red").size() == 2);
    Installation moving = registry->installation(hub, "moving").value();
    moving.expires_at_ms = 8 * minute;  // earlier again
    REQUIRE(registry.install(hub, moving).has_value());
    CHECK(registry.expire(9 * minute, 10).value() == 1);
    CHECK(registry.select(hub, "red").empty());
    CHECK(registry->figures().registrations == 0);
    CHECK(registry->verify(hub).empty());
}

TEST_CASE("many callers share a batch and each reads its write", "[registry]") {
    const TempDirectory directory;
    Options options = options_in(directory.path());
    options.sync = true;
    Opened registry(options);
    const std::uint32_t hub = registry.hub("Orders", 4);
    constexpr int callers = 8, writes = 40;
    std::atomic<int> missed = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < callers; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < writes; ++i) {
                const std::string id = std::to_string(t) + "-" + std::to_string(i) + "-1";
                if (!registry.put(hub, registration(id, "h" + id, {"all", "own:" + id}))) ++missed;
                if (registry.select(hub, "own:" + id) != std::vector<std::string>{id}) ++missed;
                if (!registry->registration(hub, id)) ++missed;
                if (i % 4 == 0 && !registry.erase(hub, id)) ++missed;
                if (i % 4 == 0 && !registry.select(hub, "own:" + id).empty()) ++missed;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(missed == 0);
    CHECK(registry.select(hub, "all").size() == callers * writes * 3 / 4);
    CHECK(registry->verify(hub).empty());
}

TEST_CASE("what waits together is one batch", "[registry]") {
    const TempDirectory directory;
    Options options = options_in(directory.path());
    options.write_queue_changes_max = 100;
    Opened registry(options);
    const std::uint32_t hub = registry.hub("Orders", 4);
    HeldWriter held(*registry, hub);
    const std::uint64_t batches = registry->figures().batches;
    std::atomic<int> written = 0, overloaded = 0, other = 0;
    for (int i = 0; i < 150; ++i) {
        registry->put_registration(
            hub, registration("1-" + std::to_string(i) + "-1", "h", {"t"}), {},
            [&](Result<Registration> result) {
                ++(result ? written : result.error() == errc::overloaded ? overloaded : other);
            });
    }
    CHECK(overloaded == 50);
    CHECK(registry->figures().write_queue_changes == 100);
    held.release();
    // Refused until the writer has taken the queue.
    REQUIRE(support::comes_true(
        [&] { return registry.put(hub, registration("2-1-1", "h", {"t"})).has_value(); }));
    CHECK(written == 100);
    CHECK(other == 0);
    CHECK(registry->figures().batches <= batches + 2);
    CHECK(registry.select(hub, "t").size() == 101);
    CHECK(registry->verify(hub).empty());
}

TEST_CASE("what was looked up before the writer had it is not believed for longer than it holds",
          "[registry]") {
    const TempDirectory one_by_one, ahead;
    Opened expected(options_in(one_by_one.path())), registry(options_in(ahead.path()));
    const std::uint32_t hub = registry.hub("Orders", 2);
    REQUIRE(expected.hub("Orders", 2) == hub);
    const auto seed = std::random_device()();
    INFO(seed);
    std::mt19937 random(seed);
    const auto below = [&](unsigned end) { return static_cast<unsigned>(random() % end); };
    const auto any = [&] {
        Registration value =
            registration("1-" + std::to_string(below(20)) + "-" + std::to_string(1 + below(2)),
                         "h" + std::to_string(below(20)), {"t"});
        if (below(2) == 0) value.body = Template{"tpl", "text", {}, "", "", {}};
        return value;
    };
    for (int round = 0; round < 30; ++round) {
        HeldWriter held(*registry, hub);
        // In the queue when the others are looked up, and not in the view.
        for (unsigned i = below(6); i > 0; --i) {
            const Registration value = any();
            if (below(3) == 0) {
                static_cast<void>(expected.erase(hub, value.id));
                registry->erase_registration(hub, value.id, {}, {});
            } else {
                REQUIRE(expected.put(hub, value).has_value());
                registry->put_registration(hub, value, {}, {});
            }
        }
        std::vector<std::uint64_t> etags, etags_expected;
        std::vector<Registry::PutOfMany> many;
        for (unsigned i = 1 + below(8); i > 0; --i) {
            many.push_back({any(), [&etags](Result<Registration> written) {
                                etags.push_back(written.value().etag);
                            }});
            etags_expected.push_back(expected.put(hub, many.back().value).value().etag);
        }
        registry->put_registrations(hub, std::move(many), {});
        held.release();
        static_cast<void>(registry.erase(hub, "none"));
        CHECK(etags == etags_expected);
        const auto all = [&](Opened& of) { return of->list(hub, {}, {}, 100).value(); };
        CHECK(all(registry).registrations == all(expected).registrations);
        REQUIRE(registry->verify(hub).empty());
    }
}

TEST_CASE("close finishes what is queued and refuses the rest", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    {
        Opened registry(options);
        const std::uint32_t hub = registry.hub("Orders", 1);
        std::atomic<int> written = 0;
        for (int i = 0; i < 50; ++i) {
            registry->put_registration(hub, registration("1-" + std::to_string(i) + "-1", "h", {}),
                                       {}, [&](auto result) { written += result ? 1 : 0; });
        }
        registry->close();
        CHECK(written == 50);
        CHECK(registry.put(hub, registration("2-2-1", "h", {})).error() == errc::closed);
        CHECK(registry->registration(hub, "1-1-1").error() == errc::closed);
        CHECK(registry->select(hub, plan_of(""), {}).error() == errc::closed);
        CHECK(registry->hubs().empty());
        registry->close();
    }
    CHECK(Opened(options)->figures().registrations == 50);
}

TEST_CASE("numbers wait for selections and for sends", "[registry]") {
    const auto pins = std::make_shared<Pins>();
    Numbers numbers;
    const Bitmap frozen = Bitmap::bitmapOf(1, 1);
    const auto nothing = [](Bitmap&) {};
    const auto without_frozen = [&frozen](Bitmap& free) { free -= frozen; };
    CHECK(numbers.take(nothing) == 0u);
    CHECK(numbers.take(nothing) == 1u);
    CHECK(numbers.take(nothing) == 2u);
    numbers.release(1, 10);
    auto pin = Pins::pin(pins, 9);
    auto second = Pins::pin(pins, 9);
    numbers.cool(pins->oldest());
    CHECK(numbers.take(nothing) == 3u);  // a selection made before may hold 1
    pin.reset();
    numbers.cool(pins->oldest());
    CHECK(numbers.take(nothing) == 4u);
    second.reset();
    numbers.cool(pins->oldest());
    CHECK(numbers.take(without_frozen) == 5u);
    numbers.frozen_changed();
    CHECK(numbers.take(nothing) == 1u);
    numbers.release(0, 11);
    numbers.cool(11);
    CHECK(numbers.take(nothing) == 0u);

    Numbers reopened(Bitmap::bitmapOf(2, 0, 2), {&frozen}, 5, 20);
    CHECK(reopened.take(without_frozen) == 5u);
    reopened.cool(20);
    CHECK(reopened.take(without_frozen) == 3u);
}

TEST_CASE("the ledger keeps a send from acceptance to its end", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    std::uint32_t hub = 0;
    Send send;
    send.id = "s1";
    send.body = "{}";
    Progress progress;
    {
        Opened registry(options);
        hub = registry.hub("Orders", 2);
        for (int i = 0; i < 6; ++i) {
            REQUIRE(registry.put(hub, registration("1-" + std::to_string(i) + "-1", "h", {"red"}))
                        .has_value());
        }
        Send later = send;
        later.id = "s2";
        Progress waiting;
        waiting.state = SendState::scheduled;
        REQUIRE(registry.accept(hub, later, {}, waiting).has_value());
        REQUIRE(registry.accept(hub, send, registry->select(hub, plan_of("red"), {}).value())
                    .has_value());
        CHECK(registry.accept(hub, send, {}).error() == errc::exists);
        progress.state = SendState::processing;
        progress.counts[{"apns", "Success"}] = 2;
        progress.finished = {Bitmap::bitmapOf(2, 0, 3), Bitmap()};
        REQUIRE(registry.checkpoint(hub, "s1", progress).has_value());
        // The schedule fires: the same id again, now with an audience.
        REQUIRE(registry.accept(hub, later, registry->select(hub, plan_of("red"), {}).value())
                    .has_value());
    }
    Opened registry(options);
    const auto open = registry->open_sends().value();
    REQUIRE(open.size() == 2);
    CHECK(open[0].send.body == "{}");
    CHECK(open[0].hub.name == "Orders");
    CHECK(open[0].selection.count() == 6);
    CHECK(open[0].progress.finished == progress.finished);
    CHECK(open[0].progress.counts == progress.counts);
    CHECK(open[1].selection.count() == 6);
    progress.state = SendState::completed;
    REQUIRE(registry.checkpoint(hub, "s1", progress).has_value());
    CHECK(registry.checkpoint(hub, "s1", progress).error() == errc::not_found);
    CHECK(registry->open_sends().value().size() == 1);
    CHECK(registry->send(hub, "s1").value().second.state == SendState::completed);
    Send nobody = send;
    nobody.id = "s3";
    Progress none;
    none.state = SendState::no_target;
    REQUIRE(registry.accept(hub, nobody, {}, none).has_value());
    CHECK(registry->open_sends().value().size() == 1);
    CHECK(registry->send(hub, "s3").value().second.state == SendState::no_target);
    CHECK(registry->send(hub, "s4").error() == errc::not_found);
}

TEST_CASE("a hot posting stays right through folds, cache and reopening", "[registry]") {
    const TempDirectory directory;
    Options options = options_in(directory.path());
    options.posting_cache_bytes_max = 3'000;  // so that entries come and go
    std::uint32_t hub = 0;
    constexpr int count = 3'000;
    {
        Opened registry(options);
        hub = registry.hub("Orders", 1);
        std::atomic<int> failed = 0;
        for (int i = 0; i < count; ++i) {
            registry->put_registration(
                hub,
                registration("1-" + std::to_string(i) + "-1", "h" + std::to_string(i),
                             {"hot", i % 2 == 0 ? "even" : "odd"}),
                {}, [&](auto result) { failed += result ? 0 : 1; });
            if (i % 10 == 0) CHECK(registry->select(hub, plan_of("hot && even"), {}).has_value());
        }
        for (int i = 0; i < count; i += 3) {
            registry->erase_registration(hub, "1-" + std::to_string(i) + "-1", {},
                                         [&](auto result) { failed += result ? 0 : 1; });
        }
        REQUIRE(registry.put(hub, registration("1-0-2", "h", {"hot"})).has_value());
        CHECK(failed == 0);
        CHECK(registry->select(hub, plan_of("hot"), {}).value().count() == count * 2 / 3 + 1);
        CHECK(registry->verify(hub).empty());
        CHECK(registry->figures().posting_cache_bytes <= options.posting_cache_bytes_max);
    }
    Opened registry(options);
    CHECK(registry->verify(hub).empty());
    CHECK(registry->select(hub, plan_of("hot && !even"), {}).value().count() == count / 3 + 1);
}

TEST_CASE("a user of few devices and one of many are found alike", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    const auto number_of = [](const Opened& registry, std::uint32_t hub, const std::string& text) {
        const Selection found = registry->select(hub, plan_of(text), {}).value();
        CHECK(registry->audience(hub, {plan_of(text + " || none"), {}, {}, {}})
                  .value()
                  .selection.partitions == found.partitions);
        CHECK(registry->list(hub, text, "", 1'000).value().registrations.size() == found.count());
        return found.count();
    };
    std::uint32_t hub = 0;
    constexpr int devices = 40;
    const auto device = [](int i, const std::string& user) {
        Installation value = installation("i" + std::to_string(i), "h" + std::to_string(i), {});
        value.user_id = user;
        return value;
    };
    {
        Opened registry(options);
        hub = registry.hub("h", 3);
        for (int i = 0; i < devices; ++i) {
            REQUIRE(registry.install(hub, device(i, "Guest")).has_value());
            CHECK(number_of(registry, hub, "$userid:{Guest}") == static_cast<unsigned>(i) + 1);
        }
        CHECK(registry->verify(hub).empty());
        for (int i = 0; i < devices - 1; ++i) {
            REQUIRE(registry.install(hub, device(i, "u" + std::to_string(i % 3))).has_value());
        }
        CHECK(number_of(registry, hub, "$UserId:{Guest}") == 1);
        CHECK(number_of(registry, hub, "$UserId:{guest}") == 0);
        CHECK(number_of(registry, hub, "$UserId:{u0}") == 13);
        CHECK(registry->verify(hub).empty());
    }
    Opened registry(options);
    for (int i = 0; i < devices; ++i) REQUIRE(registry.uninstall(hub, "i" + std::to_string(i)));
    for (const char* user : {"Guest", "u0", "u1", "u2"})
        CHECK(number_of(registry, hub, "$UserId:{" + std::string(user) + "}") == 0);
    CHECK(registry->verify(hub).empty());
}

TEST_CASE("what names one user or installation is found without the disk once it is in memory",
          "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    std::uint32_t hub = 0;
    {
        Opened registry(options);
        hub = registry.hub("h", 8);
        for (int i = 0; i < 40; ++i) {
            const std::string n = std::to_string(i);
            Installation value = installation("i" + n, "handle-" + n, {i % 2 ? "odd" : "even"});
            value.user_id = "u" + std::to_string(i / 4);  // four each
            REQUIRE(registry.install(hub, value).has_value());
        }
    }
    Opened registry(options);
    const std::vector<std::string> expressions{
        "$UserId:{u3}",         "$userid:{u3} && odd", "odd && $UserId:{u3} && !even",
        "$InstallationId:{i7}", "$UserId:{nobody}",    "$UserId:{u3} && !odd && !even"};
    for (const std::string& expression : expressions) {
        CAPTURE(expression);
        const auto plan = plan_of(expression);
        const Universe native{Universe::Kind::native, {}};
        const auto cold = registry->try_select(hub, plan, native);
        const auto read = registry->select(hub, plan, native).value();
        auto warm = registry->try_select(hub, plan, native);
        for (int i = 0; i < 1'000 && !warm; ++i) {  // a compaction may have replaced the files
            REQUIRE(registry->select(hub, plan, native).has_value());
            warm = registry->try_select(hub, plan, native);
        }
        if (cold) CHECK(cold->partitions == read.partitions);
        if (!cold) CHECK(cold.error() == errc::not_in_memory);
        REQUIRE(warm.has_value());
        CHECK(warm->partitions == read.partitions);
        const auto whole = registry->audience(hub, {plan, native, {}, {}}).value();
        CHECK(whole.selection.partitions == read.partitions);

        for (std::uint16_t p = 0; p < read.partitions.size(); ++p) {
            std::vector<std::uint32_t> numbers(read.partitions[p].cardinality());
            read.partitions[p].toUint32Array(numbers.data());
            if (numbers.empty()) continue;
            DeviceChunk few, many;
            std::vector<std::uint32_t> more = numbers;
            for (std::uint32_t gone = 1'000; gone < 1'010; ++gone) more.push_back(gone);
            REQUIRE(registry->load(hub, p, more, 0, many).has_value());
            REQUIRE(registry->load(hub, p, numbers, 0, few).has_value());
            REQUIRE(registry->try_load(hub, p, numbers, 0, few).has_value());
            for (std::size_t i = 0; i < numbers.size(); ++i) {
                CHECK((few.devices[i].present && many.devices[i].present));
                CHECK(few.devices[i].handle == many.devices[i].handle);
                CHECK(few.devices[i].shares_handle == many.devices[i].shares_handle);
            }
            CHECK_FALSE(many.devices.back().present);
            CHECK(registry->try_load(hub, p, more, 0, few).error() == errc::not_in_memory);
        }
    }
    CHECK(registry->try_select(hub, plan_of("odd"), {}).error() == errc::not_in_memory);
    CHECK(registry->try_select(hub, plan_of("odd || $UserId:{u3}"), {}).error() ==
          errc::not_in_memory);
}

TEST_CASE("a small send holds its selection", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    std::uint32_t hub = 0;
    const std::uint32_t devices = 200;
    {
        Opened registry(options);
        hub = registry.hub("h", 4);
        for (std::uint32_t i = 0; i < devices; ++i) {
            const std::string n = std::to_string(i);
            REQUIRE(
                registry.put(hub, registration("1-" + n + "-1", n, {i < 64 ? "small" : "large"}))
                    .has_value());
        }
        for (const std::string size : {"small", "large"}) {
            Send send;
            send.id = size;
            REQUIRE(registry.accept(hub, send, registry->select(hub, plan_of(size), {}).value())
                        .has_value());
        }
    }
    for (int round = 0; round < 2; ++round) {  // the second finds what the first wrote
        Opened registry(options);
        const auto open = registry->open_sends().value();
        REQUIRE(open.size() == 2);
        for (const OpenSend& left : open) {
            CHECK(left.selection.count() == (left.send.id == "small" ? 64 : devices - 64));
            Progress progress = left.progress;
            progress.finished.resize(4);
            progress.finished[0] = left.selection.partitions[0];
            if (round == 1) progress.finished[0] = Bitmap();  // taken back
            REQUIRE(registry.checkpoint(hub, left.send.id, progress).has_value());
        }
    }
    {
        Opened registry(options);
        for (const OpenSend& left : registry->open_sends().value()) {
            CHECK(left.progress.finished[0].isEmpty());
            Progress progress = left.progress;
            progress.state = SendState::completed;
            REQUIRE(registry.checkpoint(hub, left.send.id, progress).has_value());
        }
        CHECK(registry->open_sends().value().empty());
    }
    Opened registry(options);
    CHECK(registry->open_sends().value().empty());
    CHECK(registry->verify(hub).empty());
}
