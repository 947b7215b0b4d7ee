// Web Push through the whole hub: registration in every form, native, template and direct sends,
// and what the browser reads in the end.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "pns/handles.hpp"
#include "pns/sim/webpush.hpp"
#include "tests/support/world.hpp"

namespace {

using nlohmann::json;
using pns::sim::Act;
using pns::sim::Behaviour;
using support::World;

const std::vector<std::string> only_browsers{"browser"};
const std::string mozilla = "https://updates.push.services.mozilla.com/wpush/v2/";
const std::string apple = "https://web.push.apple.com/";
const std::string google = "https://jmt17.google.com/wp/";

struct Device {
    std::string id, handle;
    json channel;
};

Device device_at(World& world, const std::string& id, const std::string& endpoint) {
    Device out;
    out.id = id;
    out.handle = pns::sim::subscription(world.trust("browser"), endpoint);
    out.channel = json::parse(out.handle);
    return out;
}

int put(World& world, const Device& device, const json& channel, json more = json::object()) {
    more["installationId"] = device.id;
    more["platform"] = "browser";
    more["pushChannel"] = channel;
    more["tags"] = {"all"};
    return world.call("PUT", "/app/installations/" + device.id, more.dump()).status;
}

std::string read_by(World& world, const Device& device) {
    std::string body;
    return world.sim("browser").body_of(device.handle, body) ? body : "(nothing)";
}

}  // namespace

TEST_CASE("browsers get native, template and direct sends", "[hub]") {
    World world({}, only_browsers);
    const Device a = device_at(world, "a", mozilla + "a"), b = device_at(world, "b", apple + "b"),
                 c = device_at(world, "c", google + "c");
    const json templates = {
        {"templates",
         {{"t",
           {{"body", R"_({"title":"$(title)","tag":"news"})_"},
            {"headers", {{"Urgency", "high"}, {"Topic", "news"}, {"TTL", "$(ttl)"}}}}}}}};
    REQUIRE(put(world, a, a.channel, templates) == 200);
    REQUIRE(put(world, b, b.handle, templates) == 200);
    // The form of PushSubscription.toJSON().
    const json nested = {{"endpoint", c.channel["endpoint"]},
                         {"expirationTime", nullptr},
                         {"keys", {{"p256dh", c.channel["p256dh"]}, {"auth", c.channel["auth"]}}}};
    REQUIRE(put(world, c, nested, templates) == 200);

    const std::string native = R"({"title":"Grüße aus dem Hub"})";
    const auto told = world.finish(world.send("browser", "all", native));
    CHECK(told.state == "Completed");
    CHECK(told.devices("Success") == 3);
    for (const Device* device : {&a, &b, &c}) CHECK(read_by(world, *device) == native);

    const auto filled =
        world.finish(world.send("template", "all", R"({"title":"Storm","ttl":"600"})"));
    CHECK(filled.devices("Success") == 3);
    const std::string storm = R"({"title":"Storm","tag":"news"})";
    for (const Device* device : {&a, &b, &c}) CHECK(read_by(world, *device) == storm);
    CHECK(world.sim("browser").counters().accepted == 6);
    CHECK(world.sim("browser").counters().refused_total == 0);

    // A direct send: the endpoint as handle, the keys in two headers.
    const auto reply = world.call("POST", "/app/messages?direct", R"({"title":"You"})",
                                  {{"servicebusnotification-format", "browser"},
                                   {"servicebusnotification-devicehandle", a.channel["endpoint"]},
                                   {"p256dh", a.channel["p256dh"]},
                                   {"auth", a.channel["auth"]},
                                   {"ttl", "0"},
                                   {"urgency", "low"}});
    REQUIRE(reply.status == 201);
    std::string id(reply.header("location"));
    id = id.substr(0, id.find('?'));
    CHECK(world.finish(id.substr(id.rfind('/') + 1)).devices("Success") == 1);
    CHECK(read_by(world, a) == R"({"title":"You"})");
    world.check_registry();
}

TEST_CASE("dead subscriptions are retired, fresh ones get a second chance", "[hub]") {
    hub::Config config;
    config.web_push_grace_s = 4;
    World world(config, only_browsers);
    const Device dead = device_at(world, "dead", mozilla + "dead"),
                 fresh = device_at(world, "fresh", mozilla + "fresh"),
                 alive = device_at(world, "alive", mozilla + "alive");
    for (const Device* device : {&dead, &fresh, &alive})
        REQUIRE(put(world, *device, device->channel) == 200);
    pns::sim::Rules rules;
    rules.handles[dead.handle].act = Act::bad_handle;
    rules.handles[fresh.handle].act = Act::gone;
    rules.handles[fresh.handle].times = 1;
    world.sim("browser").set_rules(rules);
    const auto told = world.finish(world.send("browser", "all", "{}"));
    CHECK(told.devices("Success") == 2);  // the fresh one is asked again when its grace is over
    CHECK(told.devices("BadChannel") == 1);
    CHECK(world.expired("dead"));
    CHECK_FALSE(world.expired("fresh"));
    CHECK_FALSE(world.expired("alive"));
    const auto again = world.finish(world.send("browser", "all", "{}"));
    CHECK(again.devices("Success") == 2);
    CHECK(again.devices() == 2);
    world.check_registry();
}

TEST_CASE("an endpoint outside push_services is refused at the door and at the send", "[hub]") {
    hub::Config config;
    config.push_services = {"*.push.services.mozilla.com", "push.example.org"};
    World world(config, only_browsers);
    const std::string good = mozilla + "good";
    CHECK(put(world, device_at(world, "x", good), device_at(world, "x", good).channel) == 200);
    for (const std::string endpoint :
         {"https://web.push.apple.com/a", "https://push.services.mozilla.com/a",
          "https://push.example.org.evil.test/a", "https://push.example.org:8443/a",
          "https://10.0.0.1/a", "https://localhost/a", "http://push.example.org/a",
          "https://me@push.example.org/a", "https://[::1]/a"}) {
        INFO(endpoint);
        const Device device = device_at(world, "y", endpoint);
        CHECK(put(world, device, device.channel) == 400);
        CHECK(put(world, device, device.handle) == 400);
        const auto direct = world.call("POST", "/app/messages?direct", "{}",
                                       {{"servicebusnotification-format", "browser"},
                                        {"servicebusnotification-devicehandle", endpoint},
                                        {"p256dh", device.channel["p256dh"]},
                                        {"auth", device.channel["auth"]}});
        CHECK(direct.status == 400);
    }
    const Device outside = device_at(world, "y", apple + "a");
    const auto reply = world.call(
        "PUT", "/app/installations/y",
        json{{"installationId", "y"}, {"platform", "browser"}, {"pushChannel", outside.channel}}
            .dump());
    CHECK(reply.body.find("*.push.services.mozilla.com, push.example.org") != std::string::npos);
    CHECK(reply.body.find("web.push.apple.com") == std::string::npos);

    // What was registered before the list became shorter is not sent to.
    world.stop();
    world.config().push_services = {"push.example.org"};
    world.start();
    const auto told = world.finish(world.send("browser", "all", "{}"));
    CHECK(told.devices("BadChannel") == 1);
    CHECK(world.sim("browser").counters().received == 0);
}

TEST_CASE("a hub's VAPID keys are checked when they are set", "[hub]") {
    World world({}, {});
    const auto set = [&](const std::string& subject, const std::string& pub,
                         const std::string& priv) {
        const auto property = [](const char* name, const std::string& value) {
            return std::string("<Property><Name>") + name + "</Name><Value>" + value +
                   "</Value></Property>";
        };
        return world
            .call("PUT", "/app",
                  R"(<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">)"
                  R"(<NotificationHubDescription )"
                  R"(xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">)"
                  "<BrowserCredential><Properties>" +
                      property("Subject", subject) + property("VapidPublicKey", pub) +
                      property("VapidPrivateKey", priv) +
                      "</Properties></BrowserCredential></NotificationHubDescription></content>"
                      "</entry>",
                  {{"if-match", "*"}, {"content-type", "application/atom+xml"}})
            .status;
    };
    auto one = pns::sim::make_credential("browser").credential.properties;
    const auto two = pns::sim::make_credential("browser").credential.properties;
    CHECK(set(one["Subject"], one["VapidPublicKey"], one["VapidPrivateKey"]) == 200);
    CHECK(set(one["Subject"], two.at("VapidPublicKey"), one["VapidPrivateKey"]) == 400);
    CHECK(set("mailto:me@localhost", one["VapidPublicKey"], one["VapidPrivateKey"]) == 400);
    CHECK(set(one["Subject"], one["VapidPublicKey"], "AAAA") == 400);
}
