// Listing, searching and erasing devices: against a model, with the store changing between pages,
// and from outside.

#include <catch2/catch.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "hub/api/parts.hpp"
#include "hub/send/device_query.hpp"
#include "registry/keys.hpp"
#include "registry/store.hpp"
#include "tests/support/hub_world.hpp"
#include "tests/support/registry_fixture.hpp"

namespace {

using Json = nlohmann::json;
using registry::DeviceQuery;
using registry_test::Opened;

/// What the model knows of a device; all its parts share platform, handle and state here.
struct Known {
    std::set<std::string> tags;
    std::string platform, handle, user;
    bool expired = false;
};

std::string place_of(const registry::FoundDevice& device) {
    return device.installation ? "i" + device.installation->id : "r" + device.registration->id;
}

/// All pages of a query; `between` runs after each page.
template <class Between>
std::vector<std::string> listed(const Opened& store, std::uint32_t hub, DeviceQuery query,
                                Between&& between) {
    std::vector<std::string> places;
    for (int pages = 0; pages < 10'000; ++pages) {
        const auto page = store->devices(hub, query).value();
        CHECK(page.devices.size() <= query.count_max);
        for (const auto& device : page.devices) places.push_back(place_of(device));
        if (page.next.empty()) return places;
        CHECK(page.next > query.after);
        query.after = page.next;
        between();
    }
    FAIL("the list does not end");
    return places;
}

class Model {
  public:
    Model(Opened& store, std::uint32_t hub, unsigned seed)
        : store_(store), hub_(hub), random_(seed) {}

    void put_one(const std::string& place) {
        Known device;
        for (const char* tag : {"a", "b", "c"}) {
            if (random_() % 2 == 0) device.tags.insert(tag);
        }
        device.platform = random_() % 2 == 0 ? "apns" : "fcmv1";
        device.handle = std::string(random_() % 2 == 0 ? "x" : "y") + place;
        const std::vector<std::string> tags(device.tags.begin(), device.tags.end());
        if (place[0] == 'r') {
            auto value = registry_test::registration(place.substr(1), device.handle, tags);
            value.platform = device.platform;
            const auto put = store_.put(hub_, value);
            if (put.has_error() && put.error() == registry::errc::gone) return;  // erased before
            REQUIRE(put.has_value());
        } else {
            device.user = "u" + std::to_string(random_() % 5);
            auto value = registry_test::installation(place.substr(1), device.handle, tags);
            value.platform = device.platform;
            value.user_id = device.user;
            for (auto i = random_() % 3; i > 0; --i) {
                registry::Template body;
                body.name = "t" + std::to_string(i);
                body.body = "{}";
                value.templates[body.name] = body;
            }
            value.push_channel_expired = device.expired = random_() % 3 == 0;
            REQUIRE(store_.install(hub_, value).has_value());
        }
        known[place] = device;
    }
    void erase_one(const std::string& place) {
        known.erase(place);
        if (place[0] == 'r') {
            REQUIRE(store_.erase(hub_, place.substr(1)).has_value());
        } else {
            REQUIRE(store_.uninstall(hub_, place.substr(1)).has_value());
        }
    }
    std::string any_place() {
        const auto n = random_() % 200;
        if (random_() % 2 == 0) return "iid" + std::to_string(n);
        return "r7-" + std::to_string(n) + "-" + std::to_string(n % 3 + 1);
    }
    std::vector<std::string> matching(const DeviceQuery& query,
                                      const std::function<bool(const Known&)>& tags) const {
        std::vector<std::string> places;
        for (const auto& [place, device] : known) {
            if (matches(query, tags, device)) places.push_back(place);
        }
        return places;
    }
    static bool matches(const DeviceQuery& query, const std::function<bool(const Known&)>& tags,
                        const Known& device) {
        const bool state = query.state == DeviceQuery::State::any ||
                           device.expired == (query.state == DeviceQuery::State::expired);
        const bool platform = query.platforms.empty() || query.platforms[0] == device.platform;
        return state && platform && device.handle.starts_with(query.handle_prefix) && tags(device);
    }

    std::map<std::string, Known> known;

  private:
    Opened& store_;
    const std::uint32_t hub_;
    std::mt19937 random_;
};

struct TagRow {
    std::string expression;
    std::function<bool(const Known&)> holds;
};
const std::vector<TagRow>& tag_rows() {
    static const std::vector<TagRow> rows{
        {"", [](const Known&) { return true; }},
        {"a && !b", [](const Known& d) { return d.tags.contains("a") && !d.tags.contains("b"); }},
        {"!c", [](const Known& d) { return !d.tags.contains("c"); }},
        {"$userid:{u1}", [](const Known& d) { return d.user == "u1"; }},
        {"$UserId:{U1}", [](const Known&) { return false; }},
        {"a || $UserId:{u2}",
         [](const Known& d) { return d.tags.contains("a") || d.user == "u2"; }},
    };
    return rows;
}

std::vector<DeviceQuery> queries() {
    std::vector<DeviceQuery> all;
    for (const auto state :
         {DeviceQuery::State::any, DeviceQuery::State::active, DeviceQuery::State::expired}) {
        for (const char* platform : {"", "apns"}) {
            for (const char* prefix : {"", "x"}) {
                DeviceQuery query;
                query.state = state;
                if (*platform != 0) query.platforms = {platform};
                query.handle_prefix = prefix;
                all.push_back(std::move(query));
            }
        }
    }
    return all;
}

}  // namespace

TEST_CASE("devices are found as a model finds them, in pages of any size", "[registry]") {
    const unsigned seed = std::random_device{}();
    INFO("seed " << seed);
    const registry_test::TempDirectory directory;
    Opened store(registry_test::options_in(directory.path()));
    const auto hub = store.hub("orders", 3);
    Model model(store, hub, seed);
    for (int i = 0; i < 150; ++i) model.put_one(model.any_place());
    for (DeviceQuery query : queries()) {
        for (const TagRow& row : tag_rows()) {
            query.plan = registry_test::plan_of(row.expression);
            const auto expected = model.matching(query, row.holds);
            // Few reads: walks ids. Many: looks at each candidate.
            for (const auto& [count, reads] :
                 {std::pair<std::size_t, std::size_t>{7, 50'000}, {7, 9}, {1'000, 50'000}}) {
                query.count_max = count;
                query.reads_max = reads;
                INFO("'" << row.expression << "' state " << static_cast<int>(query.state)
                         << " prefix '" << query.handle_prefix << "' pages of " << count
                         << " reads " << reads);
                CHECK(listed(store, hub, query, [] {}) == expected);
            }
        }
    }
}

TEST_CASE("paging lists once what stays and nothing twice, whatever changes between pages",
          "[registry]") {
    const unsigned seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const registry_test::TempDirectory directory;
    Opened store(registry_test::options_in(directory.path()));
    const auto hub = store.hub("orders", 3);
    Model model(store, hub, seed);
    for (int i = 0; i < 150; ++i) model.put_one(model.any_place());
    for (int round = 0; round < 12; ++round) {
        DeviceQuery query;
        const TagRow& row = tag_rows()[random() % tag_rows().size()];
        query.plan = registry_test::plan_of(row.expression);
        query.count_max = 1 + random() % 9;
        query.reads_max = random() % 2 == 0 ? 11 : 50'000;
        auto stays = model.matching(query, row.holds);
        std::set<std::string> ever(stays.begin(), stays.end());
        const auto places = listed(store, hub, query, [&] {
            for (int i = 0; i < 3; ++i) {
                const std::string place = model.any_place();
                if (model.known.contains(place) && random() % 2 == 0) {
                    model.erase_one(place);
                } else {
                    model.put_one(place);
                }
                std::erase_if(stays, [&](const std::string& other) {
                    const auto device = model.known.find(other);
                    return device == model.known.end() || !row.holds(device->second);
                });
            }
            for (const auto& place : model.matching(query, row.holds)) ever.insert(place);
        });
        INFO("'" << row.expression << "'");
        CHECK(std::is_sorted(places.begin(), places.end()));
        CHECK(std::set<std::string>(places.begin(), places.end()).size() == places.size());
        for (const auto& place : stays) {
            INFO(place);
            CHECK(std::binary_search(places.begin(), places.end(), place));
        }
        for (const auto& place : places) CHECK(ever.contains(place));
    }
}

TEST_CASE("a user is found whether his channels live or not, and only he is erased", "[registry]") {
    const registry_test::TempDirectory directory;
    Opened store(registry_test::options_in(directory.path()));
    const auto hub = store.hub("orders", 3);
    const auto install = [&](const std::string& id, const std::string& user, bool expired) {
        auto value = registry_test::installation(id, "h-" + id, {"a"});
        value.user_id = user;
        value.push_channel_expired = expired;
        registry::Template body;
        body.name = "t";
        body.body = "{}";
        value.templates["t"] = body;
        REQUIRE(store.install(hub, value).has_value());
    };
    install("one", "ann", false);
    install("two", "ann", true);
    install("three", "Bob", true);
    install("four", "Annabel", false);
    using Ids = std::vector<std::string>;
    install("five", "Ann", true);
    install("six", "ANN", true);
    CHECK(store->installations_of_user(hub, "ann", 10).value() == Ids{"one", "two"});
    CHECK(store->installations_of_user(hub, "Ann", 10).value() == Ids{"five"});
    CHECK(store->installations_of_user(hub, "ann", 1).value().size() == 1);
    CHECK(store->installations_of_user(hub, "nobody", 10).value().empty());
    CHECK(store->verify(hub).empty());
    install("two", "Bob", true);  // meanwhile the device has another user
    const auto erased =
        registry_test::wait<std::vector<registry::ErasedInstallation>>([&](auto done) {
            store->erase_user(hub, "ann", {"one", "two", "five", "six", "gone"}, done);
        });
    REQUIRE(erased.has_value());
    REQUIRE(erased->size() == 1);
    CHECK(erased->front().id == "one");
    CHECK(erased->front().parts == 2);
    CHECK(erased->front().handles == Ids{"h-one"});
    CHECK(store->installation(hub, "two").has_value());
    CHECK(store->verify(hub).empty());
}

TEST_CASE("a user is found without a look at what has expired of others", "[registry]") {
    const registry_test::TempDirectory directory;
    const auto options = registry_test::options_in(directory.path());
    std::uint32_t hub = 0;
    {
        Opened store(options);
        hub = store.hub("orders", 2);
        for (int i = 0; i < 40; ++i) {
            const std::string number = std::to_string(i);
            auto value = registry_test::installation("i" + number, "h" + number, {"a"});
            value.user_id = i % 20 == 0 ? "ann" : "bob" + number;
            value.push_channel_expired = i != 20;
            REQUIRE(store.install(hub, value).has_value());
        }
    }
    {
        // No row of another user can be read any more.
        std::string why;
        const auto store = registry::Store::open(options, why).value();
        auto batch = store->batch();
        const auto cursor = store->snapshot()->cursor(registry::Family::rows);
        for (cursor->seek(""); cursor->valid(); cursor->next()) {
            const auto at = registry::address_at_end(cursor->key()).value();
            const auto row = registry::decode_row(cursor->value(), at).value();
            if (row.installation_id != "i0" && row.installation_id != "i20")
                batch.put(registry::Family::rows, std::string(cursor->key()), "?");
        }
        REQUIRE(store->write(batch).has_value());
    }
    Opened store(options);
    CHECK(store->installations_of_user(hub, "ann", 10).value() ==
          std::vector<std::string>{"i0", "i20"});
}

TEST_CASE("a device query is read strictly", "[hub]") {
    const hub::Config config;
    const auto read = [&](const std::string& query) {
        hub::Request request;
        request.target = "/orders/devices?" + query;
        REQUIRE(hub::parse_target(request));
        return hub::read_device_query(request, config, 7);
    };
    const auto full = read(
        "tag=a%20%26%26%20b&user=Ann&platform=apple&handle=AB&state=Expired&top=7&api-version=x");
    REQUIRE(hub::ok(full));
    const auto& query = std::get<DeviceQuery>(full);
    CHECK(tagexpr::to_string(query.plan) ==
          tagexpr::to_string(registry_test::plan_of("a && b && $UserId:{Ann}")));
    CHECK(query.platforms == std::vector<std::string>{"apns"});
    CHECK(query.handle_prefix == "AB");
    CHECK(query.state == DeviceQuery::State::expired);
    CHECK(query.count_max == 7);
    const auto everybody = read("");
    REQUIRE(hub::ok(everybody));
    CHECK(std::get<DeviceQuery>(everybody).plan.nodes.size() == 1);
    const auto user = read("user=Ann");
    REQUIRE(hub::ok(user));
    CHECK(tagexpr::to_string(std::get<DeviceQuery>(user).plan) == "$UserId:{Ann}");
    const auto token = [&](std::uint32_t hub, const std::string& filters) {
        hub::Request request;
        request.target = "/orders/devices?" + filters;
        REQUIRE(hub::parse_target(request));
        return "continuation=" + hub::device_token(request, hub, "iabc");
    };
    const auto next = read(token(7, "top=3"));
    REQUIRE(hub::ok(next));
    CHECK(std::get<DeviceQuery>(next).after == "iabc");
    CHECK(hub::ok(read(token(7, "tag=a&state=any") + "&state=any&tag=a&top=9")));
    CHECK_FALSE(hub::ok(read(token(8, ""))));
    for (const std::string other : {"tag=a", "user=a", "platform=apns", "handle=a", "state=any"}) {
        INFO(other);
        CHECK_FALSE(hub::ok(read(token(7, "") + "&" + other)));
        CHECK_FALSE(hub::ok(read(token(7, other))));
    }
    for (const char* bad :
         {"tag=", "tag=%20", "tag=a%20%26%26", "user=a%20b", "user=", "platform=smoke",
          "state=dead", "top=0", "top=1001", "top=x", "continuation=%21", "continuation=enp6"}) {
        INFO(bad);
        CHECK_FALSE(hub::ok(read(bad)));
    }
}

TEST_CASE("devices are listed page by page and a user is erased, from outside", "[hub]") {
    support::HubWorld world;
    world.put_hub("orders");
    const auto call = [&](const std::string& method, const std::string& path,
                          const std::string& body = {}) {
        return world.client().request(method, path, world.root_headers(), body);
    };
    for (int i = 0; i < 5; ++i) {
        const std::string id = "dev-" + std::to_string(i);
        Json body{{"installationId", id},
                  {"platform", "apns"},
                  {"pushChannel", std::string(63, 'A') + std::to_string(i)},
                  {"userId", i < 3 ? "ann" : "bob"},
                  {"tags", Json::array({"a"})}};
        body["templates"]["t"] = {{"body", R"x({"aps":{"alert":"$(m)"}})x"}};
        REQUIRE(call("PUT", "/orders/installations/" + id, body.dump()).status == 200);
    }
    std::vector<std::string> ids;
    std::string token;
    for (int page = 0; page < 5; ++page) {
        const auto answer =
            call("GET", "/orders/devices?top=2" + (token.empty() ? "" : "&continuation=" + token));
        INFO(answer.body);
        REQUIRE(answer.status == 200);
        const auto body = Json::parse(answer.body);
        for (const auto& device : body["devices"]) {
            ids.push_back(device["id"]);
            CHECK(device["type"] == "installation");
            CHECK(device["state"] == "active");
            CHECK(device["registrations"] == 2);
            CHECK(device["templates"] == Json::array({"t"}));
        }
        token = body.value("continuation", "");
        if (token.empty()) break;
    }
    CHECK(ids == std::vector<std::string>{"dev-0", "dev-1", "dev-2", "dev-3", "dev-4"});
    const auto found = Json::parse(call("GET", "/orders/devices?user=bob&platform=apns").body);
    CHECK(found["devices"].size() == 2);
    const auto wrong = call("GET", "/orders/devices?tag=%26");
    CHECK(wrong.status == 400);
    CHECK(wrong.header("content-type") == "application/problem+json");

    auto erased = Json::parse(call("DELETE", "/orders/users/ann").body);
    CHECK(erased["userId"] == "ann");
    CHECK(erased["installations"] == 3);
    CHECK(erased["registrations"] == 6);
    CHECK(erased["traceEntries"] == 0);
    erased = Json::parse(call("DELETE", "/orders/users/ann").body);
    CHECK(erased["installations"] == 0);
    CHECK(Json::parse(call("GET", "/orders/devices").body)["devices"].size() == 2);
    CHECK(call("GET", "/orders/installations/dev-0").status == 404);
    CHECK(call("DELETE", "/orders/users/a%20b").status == 400);
}
