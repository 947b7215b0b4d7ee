#include <catch2/catch.hpp>
#include <pugixml.hpp>
#include <string>
#include <vector>

#include "hub/device/atom.hpp"
#include "hub/text/xml.hpp"

namespace {

const std::string token = "00FC13ADFF785122B4AD28809A3420982341241421348097878E577C991DE8F0";
const std::string connect =
    "xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
    "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"";

std::string entry_around(const std::string& description) {
    return "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>"
           "<entry xmlns=\"http://www.w3.org/2005/Atom\">"
           "<updated>2026-11-21T18:12:00.400Z</updated><content type=\"application/xml\">" +
           description + "</content></entry>";
}

std::string form_a(const std::string& element, const std::string& children) {
    return entry_around("<" + element + " " + connect + ">" + children + "</" + element + ">");
}

std::string form_b(const std::string& type, const std::string& children) {
    return entry_around("<RegistrationDescription i:type=\"" + type + "\" " + connect + ">" +
                        children + "</RegistrationDescription>");
}

/// Keeps handles as they are but for Apple's: these tests are about the wire.
hub::Parsed<std::string> normalise(std::string_view platform, std::string_view handle) {
    if (handle == "bad") return hub::bad_request("The handle is malformed.");
    std::string out(handle);
    if (platform == "apns") {
        for (char& c : out) c = static_cast<char>(std::toupper(c));
    }
    return out;
}

registry::Registration parsed(const std::string& body) {
    auto result = hub::parse_registration(body, normalise);
    INFO(body);
    if (!hub::ok(result)) FAIL(std::get<hub::Refusal>(result).message);
    return std::get<registry::Registration>(std::move(result));
}

hub::Refusal refused(const std::string& body) {
    const auto result = hub::parse_registration(body, normalise);
    INFO(body.substr(0, 300));
    REQUIRE_FALSE(hub::ok(result));
    return std::get<hub::Refusal>(result);
}

registry::Registration sample(const std::string& platform, const std::string& handle) {
    registry::Registration out;
    out.id = "8372532934391117237-1873246577402391230-1";
    out.platform = platform;
    out.handle = handle;
    out.etag = 3;
    return out;
}

hub::AtomPlace place() {
    return {"https://push.example.com/orders", "api-version=2020-06", 1'795'262'400'000};
}

std::vector<std::string> children_of(const pugi::xml_node& node) {
    std::vector<std::string> names;
    for (const auto& child : node.children()) names.emplace_back(child.name());
    return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("the JavaScript form of a template registration is read", "[hub]") {
    const auto registration = parsed(form_a(
        "AppleTemplateRegistrationDescription",
        "<Tags>team:red, lang:nl</Tags><DeviceToken>" + std::string("00fc13ad") +
            "</DeviceToken><BodyTemplate><![CDATA[{\"aps\":{\"alert\":\"$(headline)\"}}]]>"
            "</BodyTemplate><TemplateName>breaking</TemplateName><Expiry>0</Expiry>"
            "<ApnsHeaders><ApnsHeader><Header>apns-priority</Header><Value>10</Value></ApnsHeader>"
            "<ApnsHeader><Header>apns-topic</Header><Value>a.b</Value></ApnsHeader></"
            "ApnsHeaders>"));
    CHECK(registration.platform == "apns");
    CHECK(registration.handle == "00FC13AD");
    CHECK(registration.tags == Names{"team:red", "lang:nl"});
    REQUIRE(registration.body);
    CHECK(registration.body->name == "breaking");
    CHECK(registration.body->body == R"_({"aps":{"alert":"$(headline)"}})_");
    CHECK(registration.body->expiry == "0");
    CHECK(registration.body->headers ==
          registry::Headers{{"apns-priority", "10"}, {"apns-topic", "a.b"}});
}

TEST_CASE("the .NET form with a type attribute is read", "[hub]") {
    const auto registration = parsed(
        form_b("WindowsRegistrationDescription",
               "<ETag>4</ETag><ExpirationTime i:nil=\"true\"/><RegistrationId i:nil=\"true\"/>"
               "<Tags i:nil=\"true\"/><Unknown>x</Unknown>"
               "<ChannelUri>\n  https://wns.example.test/?token=abc&amp;x=1\n</ChannelUri>"
               "<SecondaryTileName>tile</SecondaryTileName>"));
    CHECK(registration.platform == "wns");
    CHECK(registration.handle == "https://wns.example.test/?token=abc&x=1");
    CHECK(registration.tags.empty());
    CHECK(registration.secondary_tile == "tile");
    CHECK_FALSE(registration.body);
    CHECK(registration.id.empty());
    CHECK(registration.etag == 0);

    CHECK(parsed("<RegistrationDescription i:type=\"p:GcmRegistrationDescription\" " + connect +
                 "><GcmRegistrationId>g</GcmRegistrationId></RegistrationDescription>")
              .platform == "gcm");
}

TEST_CASE("every kind is read with its handle elements", "[hub]") {
    struct Row {
        std::string kind;
        std::string elements;
        std::string platform;
        std::string handle;
    };
    const std::vector<Row> table{
        {"Apple", "<DeviceToken>ab</DeviceToken>", "apns", "AB"},
        {"Gcm", "<GcmRegistrationId>g</GcmRegistrationId>", "gcm", "g"},
        {"Fcm", "<FcmRegistrationId>g</FcmRegistrationId>", "gcm", "g"},
        {"Fcm", "<GcmRegistrationId>g</GcmRegistrationId>", "gcm", "g"},
        {"FcmV1", "<FcmV1RegistrationId>f</FcmV1RegistrationId>", "fcmv1", "f"},
        {"Windows", "<ChannelUri>u</ChannelUri>", "wns", "u"},
        {"Mpns", "<ChannelUri>u</ChannelUri>", "mpns", "u"},
        {"Adm", "<AdmRegistrationId>a</AdmRegistrationId>", "adm", "a"},
        {"Baidu", "<BaiduChannelId>c</BaiduChannelId><BaiduUserId>u</BaiduUserId>", "baidu", "u-c"},
        {"Browser", "<Auth>a</Auth><P256DH>k</P256DH><Endpoint>https://p</Endpoint>", "browser",
         R"_({"endpoint":"https://p","p256dh":"k","auth":"a"})_"},
        {"Xiaomi", "<XiaomiRegistrationId>x</XiaomiRegistrationId>", "xiaomi", "x"},
    };
    for (const Row& row : table) {
        const std::string native = row.kind + "RegistrationDescription";
        for (const auto& body : {form_a(native, row.elements), form_b(native, row.elements)}) {
            const auto registration = parsed(body);
            CHECK(registration.platform == row.platform);
            CHECK(registration.handle == row.handle);
        }
        CHECK(refused(form_a(native, "<Tags>a</Tags>")).message.find("missing or empty") !=
              std::string::npos);
    }
}

TEST_CASE("push variables are a JSON object as text", "[hub]") {
    const auto with = [](const std::string& text) {
        return form_a("GcmRegistrationDescription",
                      "<GcmRegistrationId>g</GcmRegistrationId>"
                      "<PushVariables>" +
                          text + "</PushVariables>");
    };
    CHECK(parsed(with("{\"k\":\"v\",\"n\":7,\"z\":null}")).push_variables ==
          std::map<std::string, std::string>{{"k", "v"}, {"n", "7"}});
    CHECK(parsed(with(" ")).push_variables.empty());
    CHECK(refused(with("[1]")).status == 400);
    CHECK(refused(with("{\"k\":{}}")).message.find("'k'") != std::string::npos);
    CHECK(refused(with("{")).message.find("PushVariables is not valid JSON") != std::string::npos);
}

TEST_CASE("wrong registration bodies are refused with the reason", "[hub]") {
    const std::string handle = "<GcmRegistrationId>g</GcmRegistrationId>";
    for (const auto& [body, why] : std::vector<std::pair<std::string, std::string>>{
             {form_a("OtherRegistrationDescription", handle), "'OtherRegistrationDescription'"},
             {form_a("Something", handle), "'Something'"},
             {form_b("Something", handle), "'Something'"},
             {entry_around(""), "one content with one element in it; it has 1 with 0."},
             {entry_around("<RegistrationDescription/>"), "needs the attribute i:type"},
             {entry_around("<GcmRegistrationDescription/><GcmRegistrationDescription/>"),
              "it has 1 with 2."},
             {"<entry><content/><content/></entry>", "it has 2 with 0 in the first."},
             {"<entry/>", "has no content"}}) {
        INFO(body);
        const std::string message = refused(body).message;
        INFO(message);
        CHECK(message.starts_with("The specified resource description is invalid. "));
        CHECK(message.find(why) != std::string::npos);
    }
    const std::string sound = form_a("GcmRegistrationDescription", handle);
    const std::string element = sound.substr(sound.find("?>") + 2);
    CHECK(refused(sound + element).message.find("2 root elements") != std::string::npos);
    CHECK(refused(sound + " garbage").message.find("text outside") != std::string::npos);
    CHECK(refused("garbage" + sound).message.find("text outside") != std::string::npos);
    CHECK(refused(sound + "<![CDATA[x]]>").message.find("text outside") != std::string::npos);
    CHECK(refused(sound + std::string("\0<a/>", 5)).message.find("value 0") != std::string::npos);
    CHECK(refused(form_a("GcmRegistrationDescription", handle + "<Tags>a</Tags><Tags>b</Tags>"))
              .message == "The element Tags occurs twice.");
    CHECK(parsed("\xEF\xBB\xBF<?xml version=\"1.0\"?>\r\n<!-- a -->" + element + "\n<!-- b -->\n")
              .handle == "g");
    CHECK(refused("").message.find("not XML") != std::string::npos);
    CHECK(refused("<!DOCTYPE e [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>" +
                  form_a("GcmRegistrationDescription", "&x;").substr(55))
              .message.find("DOCTYPE") != std::string::npos);
    CHECK(
        refused(form_a("GcmRegistrationDescription", "<GcmRegistrationId>bad</GcmRegistrationId>"))
            .message == "The handle is malformed.");
    CHECK(refused(form_a("GcmRegistrationDescription", handle + "<Tags>a,$UserId:{u}</Tags>"))
              .message == "Tags can not start with $");
    const auto templated = [&](const std::string& rest) {
        return form_a("GcmTemplateRegistrationDescription", handle + rest);
    };
    CHECK(refused(templated("")).message.find("body is empty") != std::string::npos);
    CHECK(refused(templated("<BodyTemplate>{\"a\":\"$(b\"}</BodyTemplate>"
                            "<TemplateName>n</TemplateName>"))
              .message.find("Template 'n' is invalid: the value of /a, column 4") !=
          std::string::npos);
    CHECK(refused(std::string(70'000, ' ')).status == 413);
}

TEST_CASE("an entry has the shape and order that clients read", "[hub]") {
    auto registration = sample("apns", token);
    registration.tags = {"lang:nl", "team:red"};
    const std::string id = registration.id;
    const std::string url =
        "https://push.example.com/orders/registrations/" + id + "?api-version=2020-06";
    CHECK(hub::registration_url(place(), id) == url);
    CHECK(hub::registration_entry(registration, place()) ==
          "<entry a:etag=\"W/&quot;3&quot;\" xmlns=\"http://www.w3.org/2005/Atom\" "
          "xmlns:a=\"http://schemas.microsoft.com/ado/2007/08/dataservices/metadata\">"
          "<id>" +
              url + "</id><title type=\"text\">" + id +
              "</title>"
              "<published>2026-11-21T12:00:00Z</published><updated>2026-11-21T12:00:00Z</updated>"
              "<link rel=\"self\" href=\"" +
              url +
              "\"/><content type=\"application/xml\">"
              "<AppleRegistrationDescription " +
              connect +
              "><ETag>3</ETag>"
              "<ExpirationTime>9999-12-31T23:59:59.999Z</ExpirationTime>"
              "<RegistrationId>" +
              id +
              "</RegistrationId><Tags>lang:nl,team:red</Tags>"
              "<DeviceToken>" +
              token +
              "</DeviceToken></AppleRegistrationDescription>"
              "</content></entry>");
}

TEST_CASE("descriptions hold their elements in the contract's order", "[hub]") {
    const Names common{"ETag", "ExpirationTime", "RegistrationId"};
    struct Row {
        std::string platform;
        std::string handle;
        std::string element;
        Names own;
        Names templated;
    };
    const std::vector<Row> table{
        {"apns",
         "AB",
         "Apple",
         {"DeviceToken"},
         {"BodyTemplate", "Expiry", "TemplateName", "Priority", "ApnsHeaders"}},
        {"gcm", "g", "Gcm", {"GcmRegistrationId"}, {"BodyTemplate", "TemplateName"}},
        {"fcmv1", "g", "FcmV1", {"FcmV1RegistrationId"}, {"BodyTemplate", "TemplateName"}},
        {"wns", "u", "Windows", {"ChannelUri"}, {"BodyTemplate", "WnsHeaders", "TemplateName"}},
        {"mpns", "u", "Mpns", {"ChannelUri"}, {"BodyTemplate", "MpnsHeaders", "TemplateName"}},
        {"adm", "a", "Adm", {"AdmRegistrationId"}, {"BodyTemplate", "TemplateName"}},
        {"baidu",
         "u-c",
         "Baidu",
         {"BaiduUserId", "BaiduChannelId"},
         {"BodyTemplate", "TemplateName", "MessageType"}},
        {"browser",
         R"_({"endpoint":"e","p256dh":"k","auth":"a"})_",
         "Browser",
         {"Endpoint", "P256DH", "Auth"},
         {"BodyTemplate", "TemplateName"}},
        {"xiaomi", "x", "Xiaomi", {"XiaomiRegistrationId"}, {"BodyTemplate", "TemplateName"}},
    };
    for (const Row& row : table) {
        auto registration = sample(row.platform, row.handle);
        Names expected = common;
        expected.insert(expected.end(), row.own.begin(), row.own.end());
        pugi::xml_document document;
        REQUIRE(document.load_string(hub::registration_description(registration).c_str()));
        const pugi::xml_node native = document.first_child();
        CHECK(native.name() == row.element + "RegistrationDescription");
        CHECK(children_of(native) == expected);

        registration.body = registry::Template{"n", "{}", {{"h", "v"}}, "0", "5", {}};
        registration.push_variables = {{"a", "b\""}};
        registration.tags = {"t"};
        expected = common;
        expected.insert(expected.end(), {"Tags", "PushVariables"});
        expected.insert(expected.end(), row.own.begin(), row.own.end());
        expected.insert(expected.end(), row.templated.begin(), row.templated.end());
        REQUIRE(document.load_string(hub::registration_description(registration).c_str()));
        const pugi::xml_node templated = document.first_child();
        CHECK(templated.name() == row.element + "TemplateRegistrationDescription");
        CHECK(children_of(templated) == expected);
        CHECK(templated.child_value("PushVariables") == std::string("{\"a\":\"b\\\"\"}"));
    }
    auto windows = sample("wns", "u");
    windows.body = registry::Template{"", "<toast/>", {}, "", "", {}};
    CHECK(hub::registration_description(windows).find("<WnsHeaders/>") != std::string::npos);
    CHECK(hub::registration_description(windows).find("TemplateName") == std::string::npos);
    windows.installation_id = "i";
    CHECK(hub::registration_description(windows).find("9999-12-31T23:59:59.9999999Z") !=
          std::string::npos);
}

TEST_CASE("what is written is read back the same", "[hub]") {
    for (const std::string body : {"{\"a\":\"$(x)\"}", "{\"a\":\"]]>\"}", "{\"a\":\"<&>\\n\"}"}) {
        auto registration = sample("gcm", "g:1");
        registration.tags = {"a", "b:c"};
        registration.push_variables = {{"k", "<v>\"\n"}};
        registration.body = registry::Template{"my <template>", body, {}, "", "", {}};
        auto again = parsed(hub::registration_entry(registration, place()));
        again.id = registration.id;
        again.etag = registration.etag;
        CHECK(again == registration);
    }
}

TEST_CASE("the message type of a Baidu template is kept as its header", "[hub]") {
    const std::string handle =
        "<BaiduUserId>u</BaiduUserId><BaiduChannelId>c</BaiduChannelId>"
        "<BodyTemplate>{}</BodyTemplate><TemplateName>n</TemplateName>";
    const auto with = [&](const std::string& type) {
        return form_a("BaiduTemplateRegistrationDescription", handle + type);
    };
    for (const std::string type : {"0", "1", "-2147483648", "2147483647"}) {
        const auto registration = parsed(with("<MessageType> " + type + "\n</MessageType>"));
        CHECK(registration.body->headers == registry::Headers{{"X-Baidu-Message-Type", type}});
        const std::string entry = hub::registration_entry(registration, place());
        CHECK(entry.find("<TemplateName>n</TemplateName><MessageType>" + type +
                         "</MessageType></BaiduTemplateRegistrationDescription>") !=
              std::string::npos);
        CHECK(parsed(entry).body == registration.body);
    }
    for (const std::string none : {"", "<MessageType/>", "<MessageType i:nil=\"true\"/>"}) {
        const auto registration = parsed(with(none));
        CHECK(registration.body->headers.empty());
        CHECK(hub::registration_description(registration).find("MessageType") == std::string::npos);
    }
    for (const std::string wrong : {"2147483648", "x", "1.5", "1 2", "$(t)", "{'1'}"}) {
        CHECK(refused(with("<MessageType>" + wrong + "</MessageType>"))
                  .message.find("the message type must be a whole number of 32 bits") !=
              std::string::npos);
    }
    // Natives have none, nor have other platforms.
    CHECK_FALSE(parsed(form_b("BaiduRegistrationDescription",
                              "<BaiduUserId>u</BaiduUserId><BaiduChannelId>c</BaiduChannelId>"
                              "<MessageType>1</MessageType>"))
                    .body);
    CHECK(parsed(form_a("GcmTemplateRegistrationDescription",
                        "<GcmRegistrationId>g</GcmRegistrationId><BodyTemplate>{}</BodyTemplate>"
                        "<MessageType>1</MessageType>"))
              .body->headers.empty());
}

TEST_CASE("feeds repeat the query and link to the next page", "[hub]") {
    auto where = place();
    where.query = "api-version=2020-06&$top=2";
    const std::vector<registry::Registration> two{sample("apns", "AB"), sample("gcm", "g")};
    const std::string feed =
        hub::registration_feed(two, where, "/registrations", "api-version=2020-06&%24top=2&c=x");
    pugi::xml_document document;
    REQUIRE(document.load_string(feed.c_str()));
    const pugi::xml_node root = document.child("feed");
    CHECK(children_of(root) == Names{"title", "id", "updated", "link", "link", "entry", "entry"});
    CHECK(root.child_value("title") == std::string("Registrations"));
    CHECK(root.child_value("id") ==
          std::string("https://push.example.com/orders/registrations?api-version=2020-06&$top=2"));
    CHECK(root.find_child_by_attribute("link", "rel", "next").attribute("href").value() ==
          std::string("https://push.example.com/orders/registrations"
                      "?api-version=2020-06&%24top=2&c=x"));
    const std::string empty = hub::registration_feed({}, where, "/tags/a%20b/registrations");
    REQUIRE(document.load_string(empty.c_str()));
    CHECK(children_of(document.child("feed")) == Names{"title", "id", "updated", "link"});
}

TEST_CASE("hub entries carry the name in title and the host's first label", "[hub]") {
    const hub::HubEntry entry{"orders", "<NotificationHubDescription/>", 0, 1'795'262'400'000};
    pugi::xml_document document;
    REQUIRE(document.load_string(
        hub::hub_entry(entry, "https://push.example.com", "api-version=2020-06").c_str()));
    const pugi::xml_node root = document.child("entry");
    CHECK(children_of(root) ==
          Names{"id", "title", "published", "updated", "author", "link", "content"});
    CHECK(root.child_value("id") ==
          std::string("https://push.example.com/orders?api-version=2020-06"));
    CHECK(root.child("author").child_value("name") == std::string("push"));
    CHECK(root.child_value("updated") == std::string("2026-11-21T12:00:00Z"));
    const std::vector<hub::HubEntry> entries{entry, entry};
    REQUIRE(
        document.load_string(hub::hub_feed(entries, "https://push.example.com", "", 0).c_str()));
    CHECK(children_of(document.child("feed")) ==
          Names{"title", "id", "updated", "link", "entry", "entry"});
}
