#include <catch2/catch.hpp>
#include <pugixml.hpp>
#include <string>
#include <vector>

#include "hub/api/telemetry_xml.hpp"

namespace {

using Names = std::vector<std::string>;

const std::string location = "sb://push.example.com/orders/messages/NH-1?api-version=2020-06";

registry::Send send(const std::string& format) {
    registry::Send out;
    out.id = "NH-1";
    out.format = format;
    out.tag_expression = "team:red && lang:nl";
    out.body = "{\"aps\":{\"alert\":\"<x>\"}}";
    out.enqueued_at_ms = 1'795'262'400'123;
    return out;
}

Names children_of(const pugi::xml_node& node) {
    Names names;
    for (const auto& child : node.children()) names.emplace_back(child.name());
    return names;
}

}  // namespace

TEST_CASE("telemetry has the elements and order of the contract", "[hub]") {
    registry::Progress progress;
    progress.state = registry::SendState::completed;
    progress.started_at_ms = 1'795'262'400'500;
    progress.ended_at_ms = 1'795'262'402'100;
    for (const std::string platform :
         {"xiaomi", "browser", "baidu", "fcmv1", "adm", "gcm", "wns", "mpns", "apns"}) {
        progress.counts[{platform, "Success"}] = 31;
        progress.counts[{platform, "BadChannel"}] = 1;
        progress.counts[{platform, "Dropped"}] = 0;
    }
    pugi::xml_document document;
    REQUIRE(document.load_string(
        hub::notification_details(send("apple"), progress, location, "https://e/").c_str()));
    const pugi::xml_node root = document.child("NotificationDetails");
    CHECK(children_of(root) ==
          Names{"NotificationId", "Location", "State", "EnqueueTime", "StartTime", "EndTime",
                "NotificationBody", "Tags", "TargetPlatforms", "ApnsOutcomeCounts",
                "MpnsOutcomeCounts", "WnsOutcomeCounts", "GcmOutcomeCounts", "AdmOutcomeCounts",
                "PnsErrorDetailsUri", "FcmV1OutcomeCounts", "BaiduOutcomeCounts",
                "BrowserOutcomeCounts", "XiaomiOutcomeCounts"});
    const std::vector<std::pair<std::string, std::string>> values{
        {"NotificationId", "NH-1"},
        {"Location", location},
        {"State", "Completed"},
        {"EnqueueTime", "2026-11-21T12:00:00.123Z"},
        {"StartTime", "2026-11-21T12:00:00.500Z"},
        {"EndTime", "2026-11-21T12:00:02.100Z"},
        {"NotificationBody", "{\"aps\":{\"alert\":\"<x>\"}}"},
        {"Tags", "team:red && lang:nl"},
        {"TargetPlatforms", "apple"},
    };
    for (const auto& [name, value] : values) CHECK(root.child_value(name.c_str()) == value);
    const pugi::xml_node counts = root.child("ApnsOutcomeCounts");
    CHECK(children_of(counts) == Names{"Outcome", "Outcome"});
    CHECK(children_of(counts.first_child()) == Names{"Name", "Count"});
    CHECK(counts.first_child().child_value("Name") == std::string("BadChannel"));
    CHECK(counts.last_child().child_value("Count") == std::string("31"));
}

TEST_CASE("telemetry omits what is not known and never lists nothing", "[hub]") {
    auto broadcast = send("apple");
    broadcast.tag_expression.clear();
    registry::Progress progress;
    progress.counts[{"apns", "Success"}] = 0;
    pugi::xml_document document;
    REQUIRE(document.load_string(hub::notification_details(broadcast, progress, location).c_str()));
    CHECK(children_of(document.first_child()) == Names{"NotificationId", "Location", "State",
                                                       "EnqueueTime", "NotificationBody",
                                                       "TargetPlatforms"});
}

TEST_CASE("template sends name the platforms they reached", "[hub]") {
    registry::Progress progress;
    CHECK(hub::notification_details(send("template"), progress, location).find("TargetPlatforms") ==
          std::string::npos);
    progress.counts[{"wns", "Success"}] = 1;
    progress.counts[{"apns", "Success"}] = 2;
    progress.counts[{"gcm", "Success"}] = 0;
    CHECK(hub::notification_details(send("template"), progress, location)
              .find("<TargetPlatforms>appletemplate,windowstemplate</TargetPlatforms>") !=
          std::string::npos);
}

TEST_CASE("states are the words that Java knows", "[hub]") {
    using registry::SendState;
    const std::vector<std::pair<SendState, std::string>> table{
        {SendState::scheduled, "Scheduled"},     {SendState::enqueued, "Enqueued"},
        {SendState::processing, "Processing"},   {SendState::completed, "Completed"},
        {SendState::no_target, "NoTargetFound"}, {SendState::canceled, "Canceled"},
        {SendState::abandoned, "Abandoned"},
    };
    for (const auto& [state, name] : table) CHECK(hub::state_name(state) == name);
}
