#include <catch2/catch.hpp>
#include <pugixml.hpp>
#include <string>
#include <vector>

#include "hub/device/hub_description.hpp"
#include "tests/support/hub_entry.hpp"

namespace {

using Names = std::vector<std::string>;

std::string description(const std::string& children) {
    return support::hub_entry(children, "orders");
}

std::string property(const std::string& name, const std::string& value) {
    return "<Property><Name>" + name + "</Name><Value>" + value + "</Value></Property>";
}

std::string credential(const std::string& element, const std::string& properties) {
    return "<" + element + "><Properties>" + properties + "</Properties></" + element + ">";
}

std::string rule(const std::string& name, const Names& rights, const std::string& keys = "") {
    std::string out =
        "<AuthorizationRule i:type=\"SharedAccessAuthorizationRule\">"
        "<ClaimType>SharedAccessKey</ClaimType><ClaimValue>None</ClaimValue><Rights>";
    for (const std::string& right : rights) out += "<AccessRights>" + right + "</AccessRights>";
    return out + "</Rights>" + keys + "<KeyName>" + name + "</KeyName></AuthorizationRule>";
}

std::string rules(const std::string& inner) {
    return "<AuthorizationRules>" + inner + "</AuthorizationRules>";
}

hub::HubDescription parsed(const std::string& body) {
    auto result = hub::parse_hub_description(body);
    INFO(body);
    if (!hub::ok(result)) FAIL(std::get<hub::Refusal>(result).message);
    return std::get<hub::HubDescription>(std::move(result));
}

std::string refused(const std::string& children) {
    const auto result = hub::parse_hub_description(description(children));
    INFO(children);
    REQUIRE_FALSE(hub::ok(result));
    CHECK(std::get<hub::Refusal>(result).status == 400);
    return std::get<hub::Refusal>(result).message;
}

hub::HubDescription full() {
    hub::HubDescription out;
    out.name = "orders";
    for (const std::string platform :
         {"apns", "wns", "gcm", "mpns", "adm", "baidu", "fcmv1", "browser"})
        out.credentials[platform] = {};
    out.credentials["apns"] = {{"Endpoint", "https://api.push.apple.com:443/3/device"},
                               {"KeyId", "ABC123DEFG"},
                               {"Token", "p8<&>"}};
    out.credentials["browser"] = {{"Subject", "mailto:a@b"}};
    out.registration_ttl_ms = 90LL * 86'400'000;
    out.rules = {{"Listen", "k1", "k2", true, false, false, 1, 2},
                 {"Full", "k3", "k4", true, true, true, 3, 4}};
    out.user_metadata = "meta";
    out.disabled = true;
    out.created_at_ms = 5;
    out.updated_at_ms = 6;
    return out;
}

}  // namespace

TEST_CASE("a hub description is read in any order", "[hub]") {
    const auto hub = parsed(description(
        rules(rule("Full", {"Manage", "Listen", "Send"},
                   "<CreatedTime>2026-11-21T12:00:00Z</CreatedTime><PrimaryKey>pk</PrimaryKey>"
                   "<SecondaryKey>sk</SecondaryKey>")) +
        credential("WnsCredential", property("packageSid", "ms-app://x") +
                                        property("SecretKey", "null") + property("Other", "null")) +
        "<RegistrationTtl>P30D</RegistrationTtl>" +
        "<apnsCredential><BlockedOn i:nil=\"true\"/><Properties>" + property("TOKEN", "p8") +
        "</Properties></apnsCredential><GcmCredential i:nil=\"true\"/>" +
        credential("MpnsCredential", "") +
        credential("XiaomiCredential", property("appSecret", "s")) +
        "<DailyOperations>7</DailyOperations>"
        "<Unknown/><Status>True</Status>"
        "<UserMetadata>m</UserMetadata>"));
    CHECK(hub.name == "orders");
    CHECK(hub.credentials == std::map<std::string, std::map<std::string, std::string>>{
                                 {"wns", {{"PackageSid", "ms-app://x"}}},
                                 {"apns", {{"Token", "p8"}}},
                                 {"mpns", {}},
                                 {"xiaomi", {{"AppSecret", "s"}}}});
    CHECK(hub.registration_ttl_ms == 30LL * 86'400'000);
    CHECK(hub.rules ==
          std::vector<hub::Rule>{{"Full", "pk", "sk", true, true, true, 1'795'262'400'000, 0}});
    CHECK(hub.disabled);
    CHECK(hub.user_metadata == "m");

    const auto bare = parsed("<NotificationHubDescription/>");
    CHECK(bare == hub::HubDescription{});
    CHECK(parsed(description("<RegistrationTtl>P10675199DT2H48M5.4775807S</RegistrationTtl>"
                             "<UserMetadata>null</UserMetadata><Status>null</Status>"))
              .registration_ttl_ms == registry::never_ms);
}

TEST_CASE("wrong hub descriptions are refused with the reason", "[hub]") {
    CHECK(refused("<RegistrationTtl>soon</RegistrationTtl>").find("RegistrationTtl") !=
          std::string::npos);
    CHECK(refused("<RegistrationTtl>PT23H</RegistrationTtl>").find("one day") != std::string::npos);
    CHECK(refused(rules(rule("", {"Listen"}))).find("KeyName") != std::string::npos);
    CHECK(refused(rules(rule(std::string(257, 'n'), {"Listen"}))).find("KeyName") !=
          std::string::npos);
    CHECK(refused(rules(rule("r", {"Manage", "Send"}))).find("must also have") !=
          std::string::npos);
    CHECK(refused(rules(rule("r", {"Root"}))).find("'Root' is unknown") != std::string::npos);
    CHECK(refused(rules(rule("r", {}))).find("no rights") != std::string::npos);
    CHECK(refused(rules(rule("r", {"Send"}) + rule("r", {"Send"}))).find("twice") !=
          std::string::npos);
    CHECK(refused(rules(rule("r", {"Send"}, "<PrimaryKey>a b</PrimaryKey>"))).find("a b") ==
          std::string::npos);
    std::string many;
    for (int i = 0; i < 13; ++i) many += rule("r" + std::to_string(i), {"Send"});
    CHECK(refused(rules(many)).find("at most 12") != std::string::npos);
    CHECK(refused("<UserMetadata>" + std::string(5'000, 'x') + "</UserMetadata>")
              .find("UserMetadata") != std::string::npos);
    // What would not be kept is told by its name.
    for (const auto& [children, named] : std::vector<std::pair<std::string, std::string>>{
             {"<NokiaXCredential><Properties/></NokiaXCredential>", "'NokiaXCredential'"},
             {"<RegistrationTTL>P30D</RegistrationTTL>", "'RegistrationTTL'"},
             {credential("FcmV1Credential", property("PrivatKey", "k")),
              "'PrivatKey' of FcmV1Credential is unknown; it may have PrivateKey, ProjectId"},
             {credential("ApnsCredential", property("", "k")),
              "Property of ApnsCredential needs a Name and a Value"},
             {credential("ApnsCredential", property("Token", "a") + property("token", "b")),
              "Token of ApnsCredential occurs twice"},
             {credential("WnsCredential", "") + credential("wnsCredential", ""),
              "WnsCredential occurs twice"},
             {"<WnsCredential><PackageSid>x</PackageSid></WnsCredential>",
              "'PackageSid' of WnsCredential"},
             {credential("WnsCredential", "<Propery><Name>PackageSid</Name></Propery>"),
              "'Propery' of WnsCredential"}}) {
        CHECK_THAT(refused(children), Catch::Matchers::Contains(named));
    }
    for (const std::string body : {"", "<entry/>", "<Other/>", "<a>"}) {
        CHECK_FALSE(hub::ok(hub::parse_hub_description(body)));
    }
}

TEST_CASE("nothing of a hub description is swallowed", "[hub]") {
    for (const auto& [children, named] : std::vector<std::pair<std::string, std::string>>{
             {rules(rule("r", {"Send"}, "<PrimryKey>k</PrimryKey>")),
              "'PrimryKey' of AuthorizationRule"},
             {rules(rule("r", {"Send"}, "<PrimaryKey>a</PrimaryKey><PrimaryKey>b</PrimaryKey>")),
              "PrimaryKey occurs twice"},
             {rules("<AuthorisationRule><KeyName>r</KeyName></AuthorisationRule>"),
              "'AuthorisationRule' of AuthorizationRules"},
             {rules("<AuthorizationRule><KeyName>r</KeyName><Rights><Right>Send</Right></Rights>"
                    "</AuthorizationRule>"),
              "'Right' of Rights"},
             {rules(rule("a", {"Send"})) + rules(rule("b", {"Send"})),
              "AuthorizationRules occurs twice"},
             {"<RegistrationTtl>P30D</RegistrationTtl><RegistrationTtl>P90D</RegistrationTtl>",
              "RegistrationTtl occurs twice"},
             {"<Status>tru</Status>", "Status 'tru' is unknown"},
             {credential("MpnsCredential",
                         "<Property><name>Thumbprint</name><value>k</value></Property>"),
              "'name' of Property"},
             {credential("MpnsCredential", "<Property><Name>Thumbprint</Name></Property>"),
              "needs a Name and a Value"},
             {credential("MpnsCredential", "<Property><Value>k</Value></Property>"),
              "needs a Name and a Value"},
             {credential("MpnsCredential",
                         "<Property><Name>Thumbprint</Name><Value>a</Value><Value>b</Value>"
                         "</Property>"),
              "Value occurs twice"},
             {"<MpnsCredential><Properties/><Properties/></MpnsCredential>",
              "Properties occurs twice"}}) {
        CHECK_THAT(refused(children), Catch::Matchers::Contains(named));
    }
}

TEST_CASE("a description read from Azure is taken back", "[hub]") {
    const auto hub = parsed(description(
        rules(rule("r", {"Send"},
                   "<IssuerName>x</IssuerName><ModifiedTime>2026-11-21T12:00:00Z</ModifiedTime>"
                   "<Revision>3</Revision><Colour i:nil=\"true\"/>")) +
        "<Status>Active</Status><DailyOperations>5</DailyOperations>"));
    CHECK(hub.rules.size() == 1);
    CHECK_FALSE(hub.disabled);
    CHECK(parsed(description("<Status>Disabled</Status>")).disabled);
    CHECK_FALSE(parsed(description("<Status>false</Status>")).disabled);
}

TEST_CASE("a hub description is written in the order .NET reads", "[hub]") {
    pugi::xml_document document;
    REQUIRE(document.load_string(hub::hub_description_xml(full()).c_str()));
    const pugi::xml_node root = document.first_child();
    Names children;
    for (const auto& child : root.children()) children.emplace_back(child.name());
    CHECK(children == Names{"ApnsCredential", "RegistrationTtl", "WnsCredential",
                            "AuthorizationRules", "GcmCredential", "MpnsCredential", "UserMetadata",
                            "AdmCredential", "BaiduCredential", "Status", "FcmV1Credential",
                            "BrowserCredential"});
    CHECK(root.child_value("RegistrationTtl") == std::string("P90D"));
    Names rule_children;
    const pugi::xml_node first = root.child("AuthorizationRules").first_child();
    for (const auto& child : first.children()) rule_children.emplace_back(child.name());
    CHECK(rule_children == Names{"ClaimType", "ClaimValue", "Rights", "CreatedTime", "ModifiedTime",
                                 "KeyName", "PrimaryKey", "SecondaryKey"});
    CHECK(first.attribute("i:type").value() == std::string("SharedAccessAuthorizationRule"));

    auto again = parsed(hub::hub_description_xml(full()));
    auto expected = full();
    // XML carries neither the name nor the hub's own times.
    expected.name.clear();
    expected.created_at_ms = expected.updated_at_ms = 0;
    CHECK(again == expected);
    CHECK(hub::hub_description_xml({}).find(
              "<RegistrationTtl>P10675199DT2H48M5.4775807S</RegistrationTtl></Notif") !=
          std::string::npos);
}

TEST_CASE("missing keys and rules are completed", "[hub]") {
    int made = 0;
    const auto new_key = [&] { return "key" + std::to_string(++made); };
    hub::HubDescription hub;
    hub::complete_rules(hub, new_key, 77);
    CHECK(hub.rules ==
          std::vector<hub::Rule>{
              {"DefaultListenSharedAccessSignature", "key1", "key2", true, false, false, 77, 77},
              {"DefaultFullSharedAccessSignature", "key3", "key4", true, true, true, 77, 77}});
    hub.rules = {{"r", "mine", "", false, true, false, 5, 0}};
    hub::complete_rules(hub, new_key, 78);
    CHECK(hub.rules == std::vector<hub::Rule>{{"r", "mine", "key5", false, true, false, 5, 78}});
}

TEST_CASE("the stored form keeps everything", "[hub]") {
    for (const auto& hub : {full(), hub::HubDescription{}}) {
        const auto read = hub::read_hub_description_json(hub::hub_description_json(hub));
        if (!hub::ok(read)) FAIL(std::get<hub::Refusal>(read).message);
        CHECK(std::get<hub::HubDescription>(read) == hub);
    }
    for (const std::string stored :
         {"", "[]", "{}", R"_({"version":2})_", R"_({"version":1,"rules":{}})_",
          R"_({"version":1,"rules":[7]})_", R"_({"version":1,"credentials":[]})_",
          R"_({"version":1,"credentials":{"apns":7}})_"}) {
        INFO(stored);
        const auto read = hub::read_hub_description_json(stored);
        REQUIRE_FALSE(hub::ok(read));
        CHECK(std::get<hub::Refusal>(read).status == 500);
    }
}
