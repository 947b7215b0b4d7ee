#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <thread>

#include "tests/support/registry_model.hpp"

using namespace registry;
using namespace registry_test;

TEST_CASE("what may have changed since a stamp is known before the answer", "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 1);
    Installation value = installation("i1", "h1", {"red"});
    value.templates["t"] = {"t", "text", {}, "", "", {}};
    REQUIRE(registry.install(hub, value).has_value());
    REQUIRE(registry.put(hub, registration("1-1-1", "p", {"red"})).has_value());
    const auto number_of = [&](const std::string& expression) {
        const Selection found = registry->select(hub, plan_of(expression), {}).value();
        REQUIRE(found.count() == 1);
        return found.partitions[0].minimum();
    };
    const std::uint32_t native = number_of("$InstallationId:{i1} && !t"),
                        templated = number_of("t"),
                        plain = number_of("red && !$InstallationId:{i1}");
    std::uint64_t stamp = 0;
    const auto changed = [&](std::uint32_t number) {
        return registry->may_have_changed(hub, 0, number, stamp);
    };
    const auto install = [&] {
        stamp = registry->stamp();
        CHECK_FALSE(changed(native));
        REQUIRE(registry.install(hub, value).has_value());
    };
    value.registered_at_ms = value.updated_at_ms = 2'000;  // the app starts again
    install();
    CHECK_FALSE(changed(native));
    value.expires_at_ms = 9'000'000;  // rows are written anew
    install();
    value.expires_at_ms = 8'000'000;
    install();
    CHECK_FALSE(changed(native));
    value.tags = {"blue"};
    install();
    CHECK((changed(native) && changed(templated)));
    CHECK_FALSE(changed(plain));
    value.templates["t"].body = "other";
    install();
    CHECK((!changed(native) && changed(templated)));
    for (const auto change : {0, 1, 2, 3}) {
        if (change == 0) value.push_channel = "h2";
        if (change == 1) value.user_id = "kim";
        if (change == 2) value.push_variables = {{"nick", "Kim"}};
        if (change == 3) value.push_channel_expired = true;
        INFO(change);
        install();
        CHECK((changed(native) && changed(templated)));
    }
    install();
    CHECK_FALSE(changed(native));

    stamp = registry->stamp();
    Registration again = registration("1-1-1", "p", {"red"});
    again.registered_at_ms = 5'000;
    REQUIRE(registry.put(hub, again).has_value());
    CHECK_FALSE(changed(plain));
    REQUIRE(registry.erase(hub, "1-1-1").has_value());
    CHECK(changed(plain));
    CHECK_FALSE(changed(native));
    // A change that fails is none.
    stamp = registry->stamp();
    REQUIRE(registry.erase(hub, "1-1-1").error() == errc::not_found);
    CHECK_FALSE(changed(plain));
    const std::uint32_t other = registry.hub("Other", 1);
    CHECK_FALSE(registry->may_have_changed(other, 0, 0, stamp));
    REQUIRE(wait<void>([&](auto done) { registry->erase_hub("Orders", done); }).has_value());
    CHECK((changed(native) && changed(templated)));
}

// A row that a reader has seen twice, and not the same, must be among the changed ones. Meant for
// the thread sanitizer, too.
TEST_CASE("no change is missed while others write", "[registry]") {
    const TempDirectory directory;
    Options options = options_in(directory.path());
    options.sync = false;
    Opened registry(options);
    const std::uint32_t hub = registry.hub("Orders", 1);
    constexpr std::uint32_t rows = 8;
    const auto id_of_row = [](std::uint32_t i) { return "1-" + std::to_string(i) + "-1"; };
    for (std::uint32_t i = 0; i < rows; ++i)
        REQUIRE(registry.put(hub, registration(id_of_row(i), "h0", {"red"})).has_value());

    std::atomic<bool> stopping = false;
    std::atomic<std::uint64_t> missed = 0, seen = 0;
    std::vector<std::thread> readers;
    for (int reader = 0; reader < 2; ++reader) {
        readers.emplace_back([&] {
            std::vector<std::uint32_t> numbers(rows);
            for (std::uint32_t i = 0; i < rows; ++i) numbers[i] = i;
            DeviceChunk before, after;
            while (!stopping) {
                const std::uint64_t stamp = registry->stamp();
                registry->load(hub, 0, numbers, 0, before).value();
                registry->load(hub, 0, numbers, 0, after).value();
                for (std::uint32_t i = 0; i < rows; ++i) {
                    if (before.devices[i].handle == after.devices[i].handle) continue;
                    ++seen;
                    if (!registry->may_have_changed(hub, 0, i, stamp)) ++missed;
                }
            }
        });
    }
    for (std::uint32_t n = 1; n < 20'000 && (n < 400 || seen == 0); ++n) {
        const std::uint32_t i = n % rows;
        const std::uint64_t stamp = registry->stamp();
        const bool written =
            registry.put(hub, registration(id_of_row(i), "h" + std::to_string(n), {"red"}))
                .has_value();
        if (!written || !registry->may_have_changed(hub, 0, i, stamp)) ++missed;
    }
    stopping = true;
    for (std::thread& reader : readers) reader.join();
    CHECK(seen > 0);
    CHECK(missed == 0);
}
