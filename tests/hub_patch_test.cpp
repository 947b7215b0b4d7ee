#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "hub/device/installation_json.hpp"
#include "hub/device/installation_patch.hpp"

namespace {

hub::Parsed<std::string> normalise(std::string_view, std::string_view handle) {
    if (handle == "bad") return hub::bad_request("The handle is malformed.");
    return std::string(handle);
}

registry::Installation installation(const std::string& platform = "apns") {
    registry::Installation it;
    it.id = "i1";
    it.user_id = "u1";
    it.platform = platform;
    it.push_channel = "old";
    it.push_channel_expired = true;
    it.tags = {"foo"};
    it.push_variables = {{"k", "v"}};
    it.templates["n"] = {"n", "{}", {{"apns-priority", "5"}}, "0", "", {"t"}};
    if (platform == "wns") it.templates.clear();
    return it;
}

hub::PatchedInstallation patched(const std::string& operations,
                                 const registry::Installation& from = installation()) {
    auto result = hub::patch_installation(from, "[" + operations + "]", normalise);
    INFO(operations);
    if (!hub::ok(result)) FAIL(std::get<hub::Refusal>(result).message);
    return std::get<hub::PatchedInstallation>(std::move(result));
}

std::string refused(const std::string& patch, const registry::Installation& from = installation()) {
    const auto result = hub::patch_installation(from, patch, normalise);
    INFO(patch.substr(0, 300));
    REQUIRE_FALSE(hub::ok(result));
    return std::get<hub::Refusal>(result).message;
}

using Tags = std::vector<std::string>;

}  // namespace

TEST_CASE("every path of the contract can be patched", "[hub]") {
    const auto channel = patched(R"_({"op":"replace","path":"/pushChannel","value":"new"})_");
    CHECK(channel.value.push_channel == "new");
    CHECK_FALSE(channel.value.push_channel_expired);
    CHECK(channel.push_channel_written);
    CHECK_FALSE(patched(R"_({"op":"add","path":"/tags","value":"x"})_").push_channel_written);

    CHECK(patched(R"_({"op":"add","path":"/userId","value":"u2"})_").value.user_id == "u2");
    CHECK(patched(R"_({"op":"remove","path":"/userId"})_").value.user_id.empty());

    const std::vector<std::pair<std::string, Tags>> tags{
        {R"_({"op":"add","path":"/tags","value":"bar"})_", {"foo", "bar"}},
        {R"_({"op":"ADD","path":"/Tags","value":"FOO"})_", {"foo"}},
        {R"_({"op":"add","path":"/tags","value":["a","b"]})_", {"foo", "a", "b"}},
        {R"_({"op":"add","path":"/tags","value":"[\"a\",\"b\"]"})_", {"foo", "a", "b"}},
        {R"_({"op":"add","path":"/tags/-","value":"z"})_", {"foo", "z"}},
        {R"_({"op":"replace","path":"/tags","value":["a"]})_", {"a"}},
        {R"_({"op":"replace","path":"/tags","value":"a"})_", {"a"}},
        {R"_({"op":"remove","path":"/tags"})_", {}},
        {R"_({"op":"remove","path":"/tags/Foo"})_", {}},
        {R"_({"op":"remove","path":"/tags/other"})_", {"foo"}},
    };
    for (const auto& [operation, expected] : tags) {
        INFO(operation);
        CHECK(patched(operation).value.tags == expected);
    }

    CHECK(patched(R"_({"op":"add","path":"/pushVariables","value":{"a":"b"}})_")
              .value.push_variables == std::map<std::string, std::string>{{"a", "b"}});
    CHECK(patched(R"_({"op":"add","path":"/pushVariables/x~1y~0","value":"b"})_")
              .value.push_variables.at("x/y~") == "b");
    CHECK(patched(R"_({"op":"remove","path":"/pushVariables/k"})_").value.push_variables.empty());
    CHECK(patched(R"_({"op":"remove","path":"/pushVariables"})_").value.push_variables.empty());
    CHECK(patched(R"_({"op":"add","path":"/expirationTime","value":"2026-11-21T12:00:00Z"})_")
              .value.expires_at_ms == 1'795'262'400'000);
    CHECK(patched(R"_({"op":"remove","path":"/expirationTime"})_").value.expires_at_ms ==
          registry::never_ms);
}

TEST_CASE("templates are patched whole and in part", "[hub]") {
    const auto whole = patched(
        R"_({"op":"add","path":"/templates/m","value":"{\"body\":\"{}\",\"tags\":[\"x\"]}"})_");
    CHECK(whole.value.templates.size() == 2);
    CHECK(whole.value.templates.at("m").name == "m");
    CHECK(whole.value.templates.at("m").tags == Tags{"x"});
    CHECK(patched(R"_({"op":"replace","path":"/templates/n","value":{"body":"{\"a\":1}"}})_")
              .value.templates.at("n")
              .headers.empty());
    CHECK(patched(R"_({"op":"remove","path":"/templates/n"})_").value.templates.empty());
    CHECK(patched(R"_({"op":"remove","path":"/templates/n/tags/t"})_")
              .value.templates.at("n")
              .tags.empty());
    CHECK(patched(R"_({"op":"replace","path":"/templates/n/body","value":"{\"b\":\"$(c)\"}"})_")
              .value.templates.at("n")
              .body == R"_({"b":"$(c)"})_");
    CHECK(patched(R"_({"op":"remove","path":"/templates/n/expiry"})_")
              .value.templates.at("n")
              .expiry.empty());
    CHECK(
        patched(R"_({"op":"add","path":"/templates/n/headers","value":"{\"apns-topic\":\"x\"}"})_")
            .value.templates.at("n")
            .headers == registry::Headers{{"apns-topic", "x"}});
    CHECK(patched(R"_({"op":"add","path":"/templates/n/headers/apns-topic","value":"x"})_")
              .value.templates.at("n")
              .headers.size() == 2);
    CHECK(patched(R"_({"op":"replace","path":"/templates/n/headers/APNS-Priority","value":"10"})_")
              .value.templates.at("n")
              .headers == registry::Headers{{"apns-priority", "10"}});
    CHECK(patched(R"_({"op":"remove","path":"/templates/n/headers/apns-priority"})_")
              .value.templates.at("n")
              .headers.empty());
    CHECK(patched(R"_({"op":"remove","path":"/templates"})_").value.templates.empty());
    CHECK(patched(R"_({"op":"replace","path":"/templates","value":{"z":{"body":"{}"}}})_")
              .value.templates.count("n") == 0);
    // Built up in steps: only the result has to be whole.
    CHECK(patched(R"_({"op":"add","path":"/templates/s/tags","value":"x"},)_"
                  R"_({"op":"add","path":"/templates/s/body","value":"{}"})_")
              .value.templates.at("s")
              .body == "{}");
}

TEST_CASE("secondary tiles are patched like installations", "[hub]") {
    const auto wns = installation("wns");
    const std::string add =
        R"_({"op":"add","path":"/secondaryTiles/t","value":"{\"pushChannel\":\"c\"}"})_";
    CHECK(patched(add, wns).value.secondary_tiles.at("t").push_channel == "c");
    CHECK(patched(add + R"_(,{"op":"replace","path":"/secondaryTiles/t/pushChannel","value":"d"})_",
                  wns)
              .value.secondary_tiles.at("t")
              .push_channel == "d");
    CHECK(patched(add + R"_(,{"op":"add","path":"/secondaryTiles/t/tags","value":"x"})_", wns)
              .value.secondary_tiles.at("t")
              .tags == Tags{"x"});
    CHECK(patched(add + R"_(,{"op":"add","path":"/secondaryTiles/t/templates/m","value":)_"
                        R"_({"body":"<toast/>","headers":{"X-WNS-Type":"wns/toast"}}})_",
                  wns)
              .value.secondary_tiles.at("t")
              .templates.size() == 1);
    CHECK(patched(add + R"_(,{"op":"remove","path":"/secondaryTiles/t"})_", wns)
              .value.secondary_tiles.empty());
    CHECK(patched(add + R"_(,{"op":"remove","path":"/secondaryTiles"})_", wns)
              .value.secondary_tiles.empty());
    CHECK(refused("[" + add + "]").find("wns") != std::string::npos);
    CHECK(refused(R"_([{"op":"add","path":"/secondaryTiles/t/tags","value":"x"}])_", wns)
              .find("no pushChannel") != std::string::npos);
}

TEST_CASE("wrong patches are refused and name the operation", "[hub]") {
    const std::string fine = R"_({"op":"add","path":"/tags","value":"x"})_";
    const std::vector<std::string> broken{
        "7",
        "{}",
        R"_({"op":"add"})_",
        R"_({"path":"/tags"})_",
        R"_({"op":"add","path":"/tags"})_",
        R"_({"op":"move","path":"/tags","from":"/x"})_",
        R"_({"op":"add","path":"","value":"x"})_",
        R"_({"op":"add","path":"/","value":"x"})_",
        R"_({"op":"add","path":"/platform","value":"gcm"})_",
        R"_({"op":"add","path":"/installationId","value":"x"})_",
        R"_({"op":"add","path":"/userId/x","value":"x"})_",
        R"_({"op":"add","path":"/userId","value":7})_",
        R"_({"op":"remove","path":"/pushChannel"})_",
        R"_({"op":"replace","path":"/pushChannel","value":"bad"})_",
        R"_({"op":"replace","path":"/pushChannel","value":""})_",
        R"_({"op":"add","path":"/tags/x","value":"x"})_",
        R"_({"op":"add","path":"/tags/x/y","value":"x"})_",
        R"_({"op":"add","path":"/tags","value":{"a":1}})_",
        R"_({"op":"add","path":"/tags","value":"[1"})_",
        R"_({"op":"add","path":"/templates/n","value":"x"})_",
        R"_({"op":"add","path":"/templates/n/other","value":"x"})_",
        R"_({"op":"remove","path":"/templates/n/body"})_",
        R"_({"op":"add","path":"/templates/n/headers/a/b","value":"x"})_",
        R"_({"op":"add","path":"/pushVariables","value":"[]"})_",
        R"_({"op":"add","path":"/expirationTime","value":"soon"})_",
        R"_({"op":"add","path":"/secondaryTiles","value":{}})_",
    };
    for (const std::string& operation : broken) {
        const std::string message = refused("[" + fine + "," + operation + "]");
        INFO(message);
        CHECK(message.starts_with("Operation 2: "));
    }
    CHECK(refused("{}").find("JSON array") != std::string::npos);
    CHECK(refused("[").find("not valid JSON") != std::string::npos);
    CHECK(refused(R"_([{"op":"add","path":"/tags","value":"a,b"}])_").find("position 2") !=
          std::string::npos);
    CHECK(refused(R"_([{"op":"add","path":"/templates/x/tags","value":"a"}])_")
              .find("Template 'x' is invalid") != std::string::npos);
    CHECK(refused(R"_([{"op":"replace","path":"/templates/n/body","value":"{\"a\":\"$(\"}"}])_")
              .find("column 3") != std::string::npos);

    std::string many = fine;
    for (std::size_t i = 1; i < hub::patch_operations_max; ++i) many += "," + fine;
    CHECK(patched(many).value.tags.size() == 2);
    CHECK(refused("[" + many + "," + fine + "]").find("more than 256") != std::string::npos);
}

TEST_CASE("patch after patch stays within the bound of one PUT", "[hub]") {
    auto it = installation();
    for (const std::string name : {"a", "b"}) {
        it.templates[name] = {name, "{\"x\":\"" + std::string(30'000, 'y') + "\"}", {}, "", "", {}};
    }
    const std::string more = R"_([{"op":"add","path":"/templates/c","value":{"body":"{\"x\":\")_" +
                             std::string(30'000, 'y') + R"_(\"}"}}])_";
    CHECK(refused(more, it).find("more than 65536") != std::string::npos);
}
