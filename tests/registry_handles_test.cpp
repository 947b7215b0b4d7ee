#include <catch2/catch.hpp>

#include "tests/support/registry_model.hpp"

using namespace registry;
using namespace registry_test;

namespace {

Template text(const std::string& name) {
    return {name, "text", {}, "", "", {}};
}

/// Names of the rows that are marked as sharing their handle.
std::set<std::string> sharing(const Opened& registry, std::uint32_t hub) {
    std::set<std::string> names;
    for (const std::string& id : registry.select(hub, "")) {
        if (locate(*registry, hub, id).device.shares_handle)
            names.insert(name_of(registry->registration(hub, id).value()));
    }
    return names;
}

using Names = std::set<std::string>;

}  // namespace

TEST_CASE("rows that one send may find share their handle", "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 3);
    Installation a = installation("a", "token", {});
    a.templates["t"] = text("t");
    REQUIRE(registry.install(hub, a).has_value());
    // Its native part and its only template are never in one send.
    CHECK(sharing(registry, hub).empty());
    a.templates["u"] = text("u");
    REQUIRE(registry.install(hub, a).has_value());
    CHECK(sharing(registry, hub) == Names{"a||tt", "a||tu"});
    a.templates.erase("u");
    REQUIRE(registry.install(hub, a).has_value());
    CHECK(sharing(registry, hub).empty());

    Registration templated = registration("1-1-1", "token", {});
    templated.body = text("t");
    REQUIRE(registry.put(hub, templated).has_value());
    CHECK(sharing(registry, hub) == Names{"a||tt", "1-1-1"});
    Installation b = installation("b", "token", {});
    REQUIRE(registry.install(hub, b).has_value());
    CHECK(sharing(registry, hub) == Names{"a||", "a||tt", "b||", "1-1-1"});
    b.push_channel = "another";
    REQUIRE(registry.install(hub, b).has_value());
    CHECK(sharing(registry, hub) == Names{"a||tt", "1-1-1"});
    // A template that becomes native changes sides.
    templated.body.reset();
    REQUIRE(registry.put(hub, templated).has_value());
    CHECK(sharing(registry, hub) == Names{"a||", "1-1-1"});
    REQUIRE(registry.erase(hub, "1-1-1").has_value());
    CHECK(sharing(registry, hub).empty());
    CHECK(registry->verify(hub).empty());
}

TEST_CASE("the rows that hold a handle are known by their places", "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 2);
    std::vector<Place> expected;
    for (std::uint32_t i = 0; i < 6; ++i) {
        const auto p = static_cast<std::uint16_t>(i % 2);
        Registration value =
            registration("1-" + std::to_string(i) + "-" + std::to_string(p + 1), "token", {});
        if (i % 3 == 0) value.body = text("t");
        REQUIRE(registry.put(hub, value).has_value());
        expected.push_back({p, i / 2, i % 3 == 0});
    }
    Registration foreign = registration("9-9-1", "token", {});
    foreign.platform = "wns";
    REQUIRE(registry.put(hub, foreign).has_value());
    std::sort(expected.begin(), expected.end(), [](const Place& a, const Place& b) {
        return std::pair(a.partition, a.number) < std::pair(b.partition, b.number);
    });
    CHECK(registry->places_of_handle(hub, "apns", "token", 100).value() == expected);
    CHECK(registry->places_of_handle(hub, "wns", "token", 100).value().size() == 1);
    CHECK(registry->places_of_handle(hub, "apns", "Token", 100).value().empty());
    for (std::size_t count = 0; count < 6; ++count) {
        const auto end = expected.begin() + static_cast<std::ptrdiff_t>(count);
        CHECK(registry->places_of_handle(hub, "apns", "token", count).value() ==
              std::vector<Place>(expected.begin(), end));
    }
    CHECK(registry->places_of_handle(77, "apns", "token", 1).error() == errc::not_found);
}

TEST_CASE("every row with a dead handle follows, by its own time", "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 4);
    const auto install = [&](const std::string& id, std::int64_t at_ms) {
        Installation value = installation(id, "token", {});
        value.registered_at_ms = at_ms;
        value.templates["t"] = text("t");
        REQUIRE(registry.install(hub, value).has_value());
    };
    install("old", 1'000);
    install("older", 500);
    install("late", 3'000);
    Installation tiled = installation("tiled", "another", {});
    tiled.secondary_tiles["tile"] = {"token", false, {}, {}};
    REQUIRE(registry.install(hub, tiled).has_value());
    REQUIRE(registry.put(hub, registration("1-1-1", "token", {})).has_value());
    Registration foreign = registration("1-2-1", "token", {});
    foreign.platform = "wns";
    REQUIRE(registry.put(hub, foreign).has_value());
    const Located at = locate(*registry, hub, "1-1-1");
    const Retirement dead{
        at.partition, at.device.number, at.device.generation, "token", 9'000, "gone", 9'500, 2'000};
    const auto retired =
        wait<std::vector<Retired>>([&](auto done) { registry->retire(hub, {dead}, done); });
    Names names;
    for (const Retired& one : retired.value()) {
        CHECK(one.index == 0);
        names.insert(one.installation_id.empty() ? one.registration_id : one.installation_id);
        CHECK(one.registered_at_ms <= 2'000);
    }
    CHECK(retired->size() == 4);
    CHECK(names == Names{"old", "older", "tiled", "1-1-1"});
    CHECK(retired->front().registration_id == "1-1-1");
    CHECK(registry->registration(hub, "1-1-1").error() == errc::not_found);
    CHECK(registry->registration(hub, "1-2-1").has_value());
    CHECK(registry->installation(hub, "old")->push_channel_expired);
    CHECK_FALSE(registry->installation(hub, "tiled")->push_channel_expired);
    CHECK(registry->installation(hub, "tiled")->secondary_tiles.at("tile").push_channel_expired);
    CHECK_FALSE(registry->installation(hub, "late")->push_channel_expired);
    CHECK(registry->verify(hub).empty());
    // The same answer again, about a row that is gone.
    CHECK(registry.retire(hub, {dead}).value() == 0);
}

TEST_CASE("every live row with a renamed handle follows", "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 4);
    for (const char* id : {"a", "b", "dead"}) {
        Installation value = installation(id, "token", {});
        value.platform = "adm";
        value.templates["t"] = text("t");
        value.push_channel_expired = value.id == "dead";
        REQUIRE(registry.install(hub, value).has_value());
    }
    Registration plain = registration("1-1-1", "token", {});
    plain.platform = "adm";
    REQUIRE(registry.put(hub, plain).has_value());
    REQUIRE(registry.put(hub, registration("1-2-1", "token", {})).has_value());
    const Located at = locate(*registry, hub, "1-1-1");
    const Rotation moved{at.partition, at.device.number, at.device.generation, "token", "new",
                         9'000};
    CHECK(registry.rotate(hub, {moved}).value() == 3);
    CHECK(registry->installation(hub, "a")->push_channel == "new");
    CHECK(registry->installation(hub, "b")->push_channel == "new");
    CHECK(registry->installation(hub, "dead")->push_channel == "token");
    CHECK(registry->installation(hub, "dead")->push_channel_expired);
    CHECK(registry->registration(hub, "1-1-1")->handle == "new");
    CHECK(registry->registration(hub, "1-2-1")->handle == "token");
    CHECK(registry->places_of_handle(hub, "adm", "new", 100)->size() == 5);
    CHECK(registry.rotate(hub, {moved}).value() == 0);
    CHECK(registry->verify(hub).empty());
}
