#include "hub/cli/winter_games.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>

#include "pns/platform.hpp"

TEST_CASE("the population of the Winter Games is the same in every run", "[bench]") {
    const hub::WinterGames one(1'000), other(5'000), seeded(1'000, 7);
    std::size_t different = 0;
    for (std::uint32_t i = 0; i < one.size(); ++i) {
        const hub::GamesDevice a = one.device(i), b = other.device(i);
        REQUIRE(one.installation_json(a) == other.installation_json(b));
        REQUIRE(a.dead == b.dead);
        different += a.handle != seeded.device(i).handle;
    }
    CHECK(different == one.size());
}

TEST_CASE("the population has the shares the scenario promises", "[bench]") {
    const hub::WinterGames games(20'000);
    CHECK(hub::WinterGames::countries().size() + hub::WinterGames::sports().size() +
              hub::WinterGames::athletes().size() ==
          300);
    CHECK(hub::WinterGames::languages().size() == 20);
    std::map<std::string_view, std::size_t> platforms;
    std::set<std::string_view> languages;
    std::set<std::string> handles, tags;
    std::size_t dead = 0;
    for (std::uint32_t i = 0; i < games.size(); ++i) {
        const hub::GamesDevice d = games.device(i);
        ++platforms[d.platform];
        languages.insert(d.language);
        handles.insert(d.handle);
        tags.insert(d.tags.begin(), d.tags.end());
        dead += d.dead;
        CHECK(std::set<std::string>(d.tags.begin(), d.tags.end()).size() == d.tags.size());
    }
    CHECK(platforms.size() == 4);
    for (const auto& [name, count] : platforms) {
        INFO(name);
        CHECK(count > 700);
    }
    CHECK(languages.size() == 20);
    CHECK(handles.size() == games.size());
    CHECK(tags.size() > 300);
    CHECK(dead > 300);
    CHECK(dead < 500);
}

TEST_CASE("the population's handles are what the platforms accept, in canonical spelling",
          "[bench]") {
    const hub::WinterGames games(500);
    for (std::uint32_t i = 0; i < games.size(); ++i) {
        const hub::GamesDevice d = games.device(i);
        const pns::Platform* platform = pns::platform_by_name(d.platform);
        REQUIRE(platform != nullptr);
        const auto checked = platform->normalise_handle(d.handle);
        REQUIRE(std::holds_alternative<std::string>(checked));
    }
}

TEST_CASE("the oracle agrees with a plain loop over the devices", "[bench]") {
    const hub::WinterGames games(3'000);
    const auto has = [](const hub::GamesDevice& d, const char* tag) {
        return std::find(d.tags.begin(), d.tags.end(), tag) != d.tags.end();
    };
    std::vector<std::uint32_t> expected, everybody;
    for (std::uint32_t i = 0; i < games.size(); ++i) {
        const hub::GamesDevice d = games.device(i);
        everybody.push_back(i);
        if ((has(d, "country:nl") || has(d, "athlete:kramer")) && !has(d, "muted"))
            expected.push_back(i);
    }
    CHECK_FALSE(expected.empty());
    CHECK(games.audience("(country:nl || athlete:kramer) && !muted") == expected);
    CHECK(games.audience("") == everybody);
    CHECK(games.audience("$UserId:{u8}") == std::vector<std::uint32_t>{8, 9});
    CHECK(games.audience("no-such-tag").empty());
    CHECK_THROWS_AS(games.audience("a &&"), std::invalid_argument);
}
