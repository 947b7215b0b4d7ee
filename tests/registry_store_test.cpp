// What a batch shows of itself before it is written, against a map.

#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "registry/store.hpp"
#include "tests/support/registry_fixture.hpp"

using namespace registry_test;

namespace {

using Model = std::map<std::string, std::string>;

std::string key_of(std::size_t n) {
    std::string key(1, static_cast<char>('a' + n / 10));
    return key + std::to_string(n % 10);
}

Model walked(Cursor& cursor, const std::string& from) {
    Model seen;
    std::string last;
    for (cursor.seek(from); cursor.valid(); cursor.next()) {
        const std::string key(cursor.key());
        CHECK(key > last);
        last = key;
        seen.emplace(key, cursor.value());
    }
    CHECK(cursor.status().has_value());
    return seen;
}

}  // namespace

TEST_CASE("a batch reads its own changes, in order, on top of the store", "[registry]") {
    const TempDirectory directory;
    std::string why;
    const auto store = Store::open(options_in(directory.path()), why).value();
    std::mt19937 random(11);
    Model model;
    constexpr Family family = Family::ids;
    for (int round = 0; round < 30; ++round) {
        Batch batch = store->batch();
        const auto cursor = batch.cursor(family);
        for (int change = 0; change < 12; ++change) {
            const std::string key = key_of(random() % 40);
            if (random() % 3 == 0) {
                batch.erase(family, key);
                model.erase(key);
            } else {
                model[key] = std::to_string(random() % 1'000);
                batch.put(family, key, model[key]);
            }
            const std::string from = random() % 2 == 0 ? "" : key_of(random() % 40);
            CHECK(walked(*cursor, from) == Model(model.lower_bound(from), model.end()));
            for (std::size_t n = 0; n < 40; ++n) {
                std::string value;
                const auto found = batch.get(family, key_of(n), value);
                REQUIRE(found.has_value());
                REQUIRE(*found == model.contains(key_of(n)));
                if (*found) REQUIRE(value == model[key_of(n)]);
            }
        }
        REQUIRE(store->write(batch).has_value());
        CHECK(walked(*store->snapshot()->cursor(family), "") == model);
        std::string below = "z";
        const auto down = store->snapshot()->cursor_down(family);
        auto expected = model.rbegin();
        for (down->seek(below); down->valid(); down->next(), ++expected) {
            REQUIRE(expected != model.rend());
            CHECK(down->key() == expected->first);
        }
        CHECK(expected == model.rend());
    }
}

TEST_CASE("an erased range takes what the same batch put into it", "[registry]") {
    const TempDirectory directory;
    std::string why;
    const auto store = Store::open(options_in(directory.path()), why).value();
    Batch batch = store->batch();
    batch.put(Family::rows, "ab", "1");
    batch.put(Family::rows, "b", "2");
    batch.erase_prefix(Family::rows, "a");
    REQUIRE(store->write(batch).has_value());
    CHECK(walked(*store->snapshot()->cursor(Family::rows), "") == Model{{"b", "2"}});
}
