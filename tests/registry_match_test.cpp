#include <catch2/catch.hpp>

#include "tests/support/registry_model.hpp"

using namespace registry;
using namespace registry_test;

namespace {

Device loaded(const Opened& registry, std::uint32_t hub, const std::string& id) {
    return locate(*registry, hub, id).device;
}

std::string part_of(const Opened& registry, std::uint32_t hub, const std::string& expression) {
    const auto ids = registry.select(hub, expression);
    REQUIRE(ids.size() == 1);
    return ids.front();
}

}  // namespace

TEST_CASE("one row matches where a selection finds it", "[registry]") {
    for (const std::uint32_t seed : {11u, 12u}) {
        INFO("seed " << seed);
        const TempDirectory directory;
        RandomChanges changes(seed);
        Model model;
        Opened registry(options_in(directory.path()));
        const std::uint32_t hub = registry.hub("Orders", 3);
        std::size_t matched = 0, missed = 0;
        for (int step = 0; step < 150; ++step) {
            changes.change(registry, hub, model);
            const auto plan = plan_of(changes.expression());
            const Universe universe = changes.universe();
            INFO("step " << step << ": " << tagexpr::to_string(plan));
            const Selection found = registry->select(hub, plan, universe).value();
            for (std::uint16_t p = 0; p < 3; ++p) {
                for (std::uint32_t number = 0; number < 40; ++number) {
                    const bool selected = found.partitions[p].contains(number);
                    REQUIRE(registry->matches(hub, p, number, plan, universe).value() == selected);
                    ++(selected ? matched : missed);
                }
            }
        }
        REQUIRE(matched > 100);
        REQUIRE(missed > 100);
    }
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    REQUIRE(registry->matches(77, 0, 0, plan_of(""), {}).error() == errc::not_found);
}

TEST_CASE("a row knows where its tags and its user last changed", "[registry]") {
    const TempDirectory directory;
    auto registry = std::make_unique<Opened>(options_in(directory.path()));
    const std::uint32_t hub = registry->hub("Orders", 1);
    Installation value = installation("i1", "h1", {"red"});
    value.user_id = "kim";
    value.templates["t"] = {"t", "text", {}, "", "", {"sport"}};
    const auto install = [&](std::int64_t at_ms) {
        value.registered_at_ms = value.updated_at_ms = at_ms;
        REQUIRE(registry->install(hub, value).has_value());
    };
    install(5'000);
    std::string native = part_of(*registry, hub, "red && !t"), other = part_of(*registry, hub, "t");
    const auto positions = [&](const std::string& id) {
        const Device device = loaded(*registry, hub, id);
        return std::pair{device.audience_at, device.user_at};
    };
    const auto now = [&] {
        const auto selected = (*registry)->select(hub, plan_of("t"), {});
        return selected->position;
    };
    using Positions = std::pair<std::uint64_t, std::uint64_t>;
    REQUIRE(positions(native) == Positions{0, 0});

    install(6'000);  // the app starts again
    value.push_channel = "h2";
    install(6'500);
    REQUIRE(positions(native) == Positions{0, 0});
    value.templates["t"].tags = {"news"};
    install(7'000);
    REQUIRE(positions(native) == Positions{0, 0});
    REQUIRE(positions(other) == Positions{now(), 0});
    value.user_id = "alex";
    const std::uint64_t before = now();
    install(4'000);  // the clock was set back: the order of writing counts
    const std::uint64_t user = now();
    REQUIRE(user > before);
    REQUIRE(positions(native) == Positions{user, user});
    REQUIRE(positions(other) == Positions{user, user});
    value.tags = {"green"};
    install(9'000);
    const std::uint64_t green = now();
    REQUIRE(positions(native) == Positions{green, user});
    const Located at = locate(**registry, hub, native);
    REQUIRE(registry
                ->rotate(hub, {{at.partition, at.device.number, at.device.generation, "h2", "h3",
                                9'500}})
                .value() == 1);
    REQUIRE(positions(native) == Positions{green, user});
    REQUIRE((*registry)->verify(hub).empty());
    registry = nullptr;
    registry = std::make_unique<Opened>(options_in(directory.path()));
    REQUIRE(positions(native) == Positions{green, user});
    REQUIRE(now() > green);

    Registration plain = registration("1-1-1", "p1", {"red"});
    REQUIRE(registry->put(hub, plain).has_value());
    plain.registered_at_ms = 2'000;
    REQUIRE(registry->put(hub, plain).has_value());
    REQUIRE(positions("1-1-1") == Positions{0, 0});
    plain.tags = {"blue"};
    plain.registered_at_ms = 0;  // an import: not the app has presented the handle
    REQUIRE(registry->put(hub, plain).has_value());
    REQUIRE(positions("1-1-1") == Positions{now(), 0});
    REQUIRE((*registry)->registration(hub, "1-1-1").value().registered_at_ms == 0);
}
