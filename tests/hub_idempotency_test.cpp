// Idempotency keys: parsing, the registry's promise over crashes, and the service from outside.

#include "hub/api/idempotency.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "hub/api/parts.hpp"
#include "hub/bulk/jobs.hpp"
#include "pns/clock.hpp"
#include "tests/support/hub_world.hpp"
#include "tests/support/just_now.hpp"
#include "tests/support/registry_fixture.hpp"

namespace {

namespace fs = std::filesystem;
using registry::KeptAnswer;
using support::Answer;
using support::HeaderList;

KeptAnswer answer_of(const std::string& key, std::int64_t kept_ms = 1'000,
                     std::int64_t expires_ms = 9'000) {
    KeptAnswer answer;
    answer.scope = "rule";
    answer.key = key;
    answer.fingerprint = "f";
    answer.kept_at_ms = kept_ms;
    answer.expires_at_ms = expires_ms;
    answer.status = 201;
    answer.headers = {{"Location", "there"}};
    answer.body = "<done/>";
    return answer;
}

registry::Send send_of(const std::string& id) {
    registry::Send send;
    send.id = id;
    send.format = "apple";
    send.body = "{}";
    return send;
}

registry::Result<void> accept_once(registry_test::Opened& store, std::uint32_t hub,
                                   const std::string& id, const KeptAnswer& answer) {
    return registry_test::wait<void>([&](auto done) {
        store->accept_once(hub, registry::frozen(send_of(id)), registry::Progress{}, answer, done);
    });
}

/// A hub named orders, asked with idempotency keys.
class World : public support::HubWorld {
  public:
    explicit World(hub::Config config = {}) : support::HubWorld(std::move(config)) {
        put_hub("orders");
    }
    Answer post(const std::string& path, const std::string& key, HeaderList more,
                const std::string& body) {
        HeaderList headers = root_headers();
        if (!key.empty()) headers.emplace_back("Idempotency-Key", key);
        headers.insert(headers.end(), more.begin(), more.end());
        return client().request("POST", path, headers, body);
    }
    Answer send(const std::string& key, const std::string& text = "hello") {
        return post("/orders/messages", key, {{"ServiceBusNotification-Format", "apple"}},
                    R"({"aps":{"alert":")" + text + "\"}}");
    }
    std::uint32_t number() { return service().parts().hubs.find("orders")->row.number; }
    std::size_t sends() {
        registry::SendQuery all;
        all.count_max = 1'000;
        return service().parts().registry.list_sends(number(), all).value().sends.size();
    }
    std::size_t registrations() {
        return service()
            .parts()
            .registry.list(number(), "", "", 1'000)
            .value()
            .registrations.size();
    }
};

std::string code_of(const Answer& answer) {
    return nlohmann::json::parse(answer.body).at("code");
}

const std::string registration =
    R"(<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">)"
    R"(<AppleRegistrationDescription xmlns:i="http://www.w3.org/2001/XMLSchema-instance" )"
    R"(xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">)"
    R"(<Tags>a</Tags><DeviceToken>)" +
    std::string(64, 'A') + R"(</DeviceToken></AppleRegistrationDescription></content></entry>)";

const std::string job =
    "<NotificationHubJob><Type>ExportRegistrations</Type><OutputContainerUri>"
    "https://localhost/$blobs/orders/jobs</OutputContainerUri></NotificationHubJob>";

}  // namespace

TEST_CASE("idempotency keys are read as clients write them", "[hub]") {
    const auto read = [](std::vector<std::string> values) -> std::string {
        hub::Request request;
        for (auto& value : values) request.headers.emplace_back("idempotency-key", value);
        const auto key = hub::read_idempotency_key(request);
        return hub::ok(key) ? std::get<std::string>(key) : "";
    };
    CHECK(read({"abc"}) == "abc");
    CHECK(read({" \"8e03978e-40d5-43dd-bc93-6894a57f9324\" "}) ==
          "8e03978e-40d5-43dd-bc93-6894a57f9324");
    CHECK(read({"abc", "abc"}) == "abc");
    CHECK(read({"abc", "abd"}).empty());
    CHECK(read({"\"\""}).empty());
    CHECK(read({"a b"}).empty());
    CHECK(read({"a\"b"}).empty());
    CHECK(read({"caf\xc3\xa9"}).empty());
    CHECK(read({std::string(255, 'k')}).size() == 255);
    CHECK(read({std::string(256, 'k')}).empty());
}

TEST_CASE("a fingerprint holds what a request asks for and nothing else", "[hub]") {
    hub::Request request;
    request.method = "POST";
    request.target = "/orders/messages?direct";
    request.headers = {{"servicebusnotification-tags", "a"}, {"content-type", "application/json"}};
    request.body = "{}";
    const std::string first = hub::request_fingerprint(request);
    auto same = request;
    same.headers = {{"content-type", "application/json"},
                    {"authorization", "another"},
                    {"trackingid", "another"},
                    {"servicebusnotification-tags", " a "}};
    CHECK(hub::request_fingerprint(same) == first);
    auto other = request;
    other.body = "{ }";
    CHECK(hub::request_fingerprint(other) != first);
    other = request;
    other.target = "/orders/messages";
    CHECK(hub::request_fingerprint(other) != first);
    other = request;
    other.headers[0].second = "b";
    CHECK(hub::request_fingerprint(other) != first);
    other = request;
    other.headers.emplace_back("pushhub-delivery", "at-most-once");
    CHECK(hub::request_fingerprint(other) != first);
}

TEST_CASE("the rule of a token is read as the check of the token reads it", "[hub]") {
    for (const std::string fields :
         {"sr=a&sig=b%3d&se=12&skn=Full%20Access", "skn=Full%20Access&sr=a&sig=b&se=12",
          "SR=a&Sig=b&SE=12&SKN=Full%20Access", " sr=a&sig=b&se=12&sKn=Full%20Access "})
        CHECK(hub::rule_named_in("SharedAccessSignature " + fields) == "Full Access");
    CHECK(hub::rule_named_in("sharedaccesssignature sr=a&sig=b&se=12&skn=x") == "x");
    for (const std::string malformed : {"", "Bearer x", "SharedAccessSignature sr=a&sig=b&skn=x",
                                        "SharedAccessSignature skn=a&skn=b&sr=a&sig=b&se=12"})
        CHECK(hub::rule_named_in(malformed).empty());
}

TEST_CASE("an answer is kept with what it tells of, or neither", "[registry]") {
    const registry_test::TempDirectory directory;
    auto options = registry_test::options_in(directory.path());
    registry_test::Opened store(options);
    const auto hub = store.hub("orders", 2);

    REQUIRE(accept_once(store, hub, "s1", answer_of("k")).has_value());
    CHECK(store->kept_answer(hub, "rule", "k").value() == answer_of("k"));
    CHECK(store->kept_answer(hub, "other", "k").error() == registry::errc::not_found);
    CHECK(store->kept_answers() == 1);

    // The second of two that race changes nothing.
    CHECK(accept_once(store, hub, "s2", answer_of("k", 2'000)).error() == registry::errc::exists);
    CHECK(store->send(hub, "s2").error() == registry::errc::not_found);
    // A change that fails keeps no answer.
    CHECK(accept_once(store, hub, "s1", answer_of("k2")).error() == registry::errc::exists);
    CHECK(store->kept_answer(hub, "rule", "k2").error() == registry::errc::not_found);
    // One whose time is over gives way.
    REQUIRE(accept_once(store, hub, "s3", answer_of("k", 9'000, 20'000)).has_value());
    CHECK(store->kept_answer(hub, "rule", "k").value().expires_at_ms == 20'000);
    CHECK(store->kept_answers() == 1);

    const auto put = registry_test::wait<registry::Registration>([&](auto done) {
        store->put_registration_once(hub, registry_test::registration("1-1-1", "h", {"a"}),
                                     answer_of("r"), done);
    });
    REQUIRE(put.has_value());
    CHECK(put->etag == 1);
    CHECK(store->kept_answers() == 2);
}

TEST_CASE("answers go when their time is over, and with their hub", "[registry]") {
    const registry_test::TempDirectory directory;
    auto options = registry_test::options_in(directory.path());
    std::uint32_t hub = 0;
    const auto expire = [](registry_test::Opened& store, std::int64_t now, std::size_t most) {
        return registry_test::wait<std::size_t>(
                   [&](auto done) { store->expire_answers(now, most, done); })
            .value();
    };
    const auto keep = [&hub](registry_test::Opened& store, const KeptAnswer& answer) {
        REQUIRE(registry_test::wait<void>([&](auto done) {
                    store->keep_answer(hub, answer, done);
                }).has_value());
    };
    {
        registry_test::Opened store(options);
        hub = store.hub("orders", 2);
        for (int i = 0; i < 20; ++i)
            keep(store, answer_of("k" + std::to_string(i), 0, 1'000 + 100 * i));
        keep(store, answer_of("k0", 0, 50'000));  // kept again: the old time no longer counts
        CHECK(store->kept_answers() == 20);
    }
    registry_test::Opened store(options);
    CHECK(store->kept_answers() == 20);
    CHECK(expire(store, 999, 100) == 0);
    CHECK(expire(store, 1'450, 2) == 2);
    CHECK(expire(store, 1'450, 100) == 2);
    CHECK(store->kept_answers() == 16);
    CHECK(store->kept_answer(hub, "rule", "k4").error() == registry::errc::not_found);
    CHECK(store->kept_answer(hub, "rule", "k5").has_value());
    CHECK(store->kept_answer(hub, "rule", "k0").has_value());
    REQUIRE(registry_test::wait<void>([&](auto done) {
                store->erase_hub("orders", done);
            }).has_value());
    CHECK(store->kept_answers() == 0);
    CHECK(store->kept_answer(hub, "rule", "k0").error() == registry::errc::not_found);
    CHECK(expire(store, 60'000, 100) == 16);
    CHECK(expire(store, 60'000, 100) == 0);
}

TEST_CASE("after a cut at any byte of the log there are send and answer, or neither",
          "[registry]") {
    const registry_test::TempDirectory directory;
    auto options = registry_test::options_in(directory.path());
    std::uint32_t hub = 0;
    {
        registry_test::Opened store(options);
        hub = store.hub("orders", 1);
    }
    const fs::path image = directory.path() / "image", copy = directory.path() / "copy";
    {
        registry_test::Opened store(options);
        REQUIRE(accept_once(store, hub, "s1", answer_of("k")).has_value());
        fs::create_directories(image);
        fs::copy(directory.path() / "store", image / "store", fs::copy_options::recursive);
    }
    fs::path log;
    for (const auto& file : fs::directory_iterator(image / "store")) {
        if (file.path().extension() == ".log" && file.file_size() > 0)
            log = std::max(log, file.path());
    }
    REQUIRE_FALSE(log.empty());
    const auto size = fs::file_size(log);
    std::size_t with = 0, without = 0;
    for (std::uintmax_t cut = size;; cut = cut > 61 ? cut - 61 : 0) {
        fs::remove_all(copy);
        fs::create_directories(copy);
        fs::copy(image / "store", copy / "store", fs::copy_options::recursive);
        fs::resize_file(copy / "store" / log.filename(), cut);
        registry_test::Opened store(registry_test::options_in(copy));
        const bool sent = store->send(hub, "s1").has_value();
        const auto kept = store->kept_answer(hub, "rule", "k");
        INFO("cut at " << cut << " of " << size);
        CHECK(sent == kept.has_value());
        CHECK(store->kept_answers() == (sent ? 1 : 0));
        if (kept) CHECK(*kept == answer_of("k"));
        ++(sent ? with : without);
        if (cut == 0) break;
    }
    CHECK(with > 0);
    CHECK(without > 0);
}

TEST_CASE("every request that creates something is answered once", "[hub]") {
    World world;
    struct Row {
        std::string path;
        HeaderList headers;
        std::string body;
        int status;
    };
    const HeaderList apple{{"ServiceBusNotification-Format", "apple"}};
    const HeaderList later{{"ServiceBusNotification-Format", "apple"},
                           {"ServiceBusNotification-ScheduleTime", support::just_now()}};
    const HeaderList direct{{"ServiceBusNotification-Format", "apple"},
                            {"ServiceBusNotification-DeviceHandle", std::string(64, 'B')}};
    HeaderList batch = apple;
    batch.emplace_back("Content-Type", "multipart/mixed; boundary=\"b\"");
    const std::string parts =
        "--b\r\nContent-Type: application/json\r\nContent-Disposition: inline; "
        "name=notification\r\n\r\n{\"aps\":{}}\r\n--b\r\nContent-Type: application/json\r\n"
        "Content-Disposition: inline; name=devices\r\n\r\n[\"" +
        std::string(64, 'C') + "\"]\r\n--b--\r\n";
    const std::vector<Row> rows{
        {"/orders/registrationids", {}, "", 201},
        {"/orders/registrations", {}, registration, 200},
        {"/orders/messages", apple, R"({"aps":{}})", 201},
        {"/orders/messages?test", apple, R"({"aps":{}})", 201},
        {"/orders/messages?direct", direct, R"({"aps":{}})", 201},
        {"/orders/messages/$batch?direct", batch, parts, 201},
        {"/orders/schedulednotifications", later, R"({"aps":{}})", 201},
        {"/orders/jobs", {}, job, 201},
    };
    std::vector<Answer> first;
    for (const Row& row : rows) {
        const std::string key = "key-of-" + row.path;
        INFO(row.path);
        first.push_back(world.post(row.path, key, row.headers, row.body));
        INFO(first.back().body);
        CHECK(first.back().status == row.status);
        CHECK(first.back().header("idempotency-replayed").empty());
    }
    const auto sends = world.sends();
    const auto check_replays = [&] {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const Row& row = rows[i];
            const std::string key = "key-of-" + row.path;
            INFO(row.path);
            const auto again = world.post(row.path, key, row.headers, row.body);
            CHECK(again.status == row.status);
            CHECK(again.header("idempotency-replayed") == "true");
            CHECK(again.header("location") == first[i].header("location"));
            CHECK(again.body == first[i].body);
            auto changed = row.headers;
            changed.emplace_back("P256DH", "another");
            const auto other = world.post(row.path, key, changed, row.body);
            INFO(other.body);
            for (const auto& [name, value] : other.headers) UNSCOPED_INFO(name << ": " << value);
            CHECK(other.status == 422);
            CHECK(code_of(other) == "idempotency-key-reused");
            CHECK(other.header("content-type") == "application/problem+json");
        }
        CHECK(world.sends() == sends);
        CHECK(world.registrations() == 1);
        CHECK(world.service().parts().jobs.list(world.number()).size() == 1);
    };
    check_replays();
    world.restart();
    check_replays();
}

TEST_CASE("what was refused may be tried again under its key", "[hub]") {
    World world;
    CHECK(world.send("bad key").status == 400);
    CHECK(code_of(world.send("bad key")) == "idempotency-key-invalid");
    const auto refused = world.post("/orders/messages", "k", {}, "{}");
    CHECK(refused.status == 400);
    CHECK(world.send("k").status == 201);
    CHECK(world.send("k", "else").status == 422);
    // Without a key every request is new.
    CHECK(world.send("").header("location") != world.send("").header("location"));
}

TEST_CASE("only so many keys are kept", "[hub]") {
    hub::Config config;
    config.idempotency_keys_max = 1;
    World world(config);
    CHECK(world.send("k1").status == 201);
    const auto full = world.send("k2");
    CHECK(full.status == 429);
    CHECK(code_of(full) == "too-many-idempotency-keys");
    CHECK_FALSE(full.header("retry-after").empty());
    CHECK(world.send("k1").header("idempotency-replayed") == "true");
}

TEST_CASE("keys of one rule and of one hub leave room to others", "[hub]") {
    hub::Config config;
    config.idempotency_keys_max = 30;
    World world(config);
    const auto with_rule = [&](const std::string& name, const std::string& rule_name) {
        for (const auto& rule : world.service().parts().hubs.find(name)->description.rules) {
            if (rule.name != rule_name) continue;
            return HeaderList{
                {"Authorization",
                 hub::make_sas("https://localhost/" + name, rule.name, rule.primary_key,
                               pns::system_clock().wall_ms() / 1'000 + 600)}};
        }
        FAIL("no such rule");
        return HeaderList();
    };
    const auto create = [&](const std::string& name, const HeaderList& signed_by, int key) {
        HeaderList headers = signed_by;
        headers.emplace_back("Idempotency-Key", "k" + std::to_string(key));
        headers.emplace_back("Content-Type", "application/atom+xml;type=entry;charset=utf-8");
        return world.client().request("POST", "/" + name + "/registrations", headers, registration);
    };
    const std::string listen = "DefaultListenSharedAccessSignature";
    const auto app = with_rule("orders", listen);
    int made = 0;
    Answer last;
    while ((last = create("orders", app, made)).status < 300) ++made;
    CHECK(made == 24);
    CHECK(last.status == 429);
    CHECK(code_of(last) == "too-many-idempotency-keys");
    CHECK(last.body.find("this access rule") != std::string::npos);
    CHECK(create("orders", app, 0).header("idempotency-replayed") == "true");
    // The back end's own keys are not used up.
    CHECK(world.send("s1").status == 201);
    // Another hub comes, and gets a share of what is left.
    world.put_hub("second");
    CHECK(create("second", with_rule("second", listen), 1).status < 300);
    const auto full = world.send("s2");
    CHECK(full.status == 429);
    CHECK(full.body.find("of this hub") != std::string::npos);
    world.restart();
    CHECK(create("orders", app, 99).status == 429);
    CHECK(create("second", with_rule("second", listen), 2).status < 300);
}

TEST_CASE("what is kept of answers counts by its size", "[registry]") {
    const registry_test::TempDirectory directory;
    auto options = registry_test::options_in(directory.path());
    std::uint32_t hub = 0;
    const auto check = [&hub](registry_test::Opened& store) {
        const auto use = store->answer_use(hub, "rule");
        CHECK(use.all == 6);
        CHECK(use.hub == 6);
        CHECK(use.scope == 5);
        CHECK(store->answer_use(hub, "nobody").scope == 0);
        CHECK(store->kept_answers() == 3);
        CHECK(store->answer_units().at(hub) == 6);
    };
    {
        registry_test::Opened store(options);
        hub = store.hub("h", 2);
        KeptAnswer large = answer_of("large");
        large.body.assign(3 * registry::answer_unit_bytes, 'x');
        KeptAnswer other = answer_of("small");
        other.scope = "another rule";
        const auto keep = [&](const KeptAnswer& answer) {
            REQUIRE(registry_test::wait<void>([&](auto done) {
                        store->keep_answer(hub, answer, done);
                    }).has_value());
        };
        keep(large);
        keep(answer_of("small"));
        keep(other);
        check(store);
        keep(other);  // in its own place
        check(store);
    }
    registry_test::Opened store(options);
    check(store);
    const auto looked = registry_test::wait<std::size_t>(
        [&](auto done) { store->expire_answers(9'000, 100, done); });
    CHECK(looked.value() == 3);
    CHECK(store->answer_use(hub, "rule").all == 0);
    CHECK(store->kept_answers() == 0);
}

TEST_CASE("of many clients with one key one creates, whatever lane they are on", "[hub]") {
    World world;
    constexpr int clients = 8, rounds = 12;
    for (int round = 0; round < rounds; ++round) {
        const std::string key = "race-" + std::to_string(round);
        std::vector<Answer> answers(clients);
        std::vector<std::thread> threads;
        for (int i = 0; i < clients; ++i)
            threads.emplace_back(
                [&, i] { answers[static_cast<std::size_t>(i)] = world.send(key); });
        for (auto& thread : threads) thread.join();
        std::set<std::string> locations;
        int created = 0;
        for (const Answer& answer : answers) {
            if (answer.status == 409) {
                CHECK(code_of(answer) == "idempotency-key-in-use");
                CHECK(answer.header("retry-after") == "1");
                continue;
            }
            CHECK(answer.status == 201);
            locations.insert(answer.header("location"));
            if (answer.header("idempotency-replayed").empty()) ++created;
        }
        CHECK(created == 1);
        CHECK(locations.size() == 1);
    }
    CHECK(world.sends() == rounds);
    CHECK(world.service().parts().idempotency.at_work() == 0);
}

TEST_CASE("a job whose answer was lost in a crash is found again", "[hub]") {
    World world;
    hub::Request request;
    request.method = "POST";
    request.target = "/orders/jobs";
    request.body = job;
    KeptAnswer plan;
    plan.scope = world.service().parts().namespace_rules.front().name;
    plan.key = "k";
    plan.fingerprint = hub::request_fingerprint(request);
    plan.kept_at_ms = pns::system_clock().wall_ms();
    plan.expires_at_ms = plan.kept_at_ms + 60'000;
    plan.body = "20261121100000000-planned";
    const auto crash = [&] {  // as the store is after a crash before the answer was kept
        REQUIRE(registry_test::wait<void>([&](auto done) {
                    world.service().parts().registry.keep_answer(world.number(), plan, done);
                }).has_value());
    };
    crash();  // before the job was on disk
    const auto first = world.post("/orders/jobs", "k", {}, job);
    INFO(first.body);
    CHECK(first.status == 201);
    CHECK(first.header("location").find(plan.body) != std::string::npos);
    crash();  // after it was
    const auto second = world.post("/orders/jobs", "k", {}, job);
    CHECK(second.header("location") == first.header("location"));
    CHECK(world.service().parts().jobs.list(world.number()).size() == 1);
    CHECK(world.post("/orders/jobs", "k", {}, job).header("idempotency-replayed") == "true");
}
