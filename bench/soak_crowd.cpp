#include "bench/soak_crowd.hpp"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace bench {
namespace {

constexpr std::array<std::string_view, 4> platforms{"apns", "fcmv1", "wns", "adm"};
constexpr std::uint32_t platform_count = platforms.size();
constexpr std::uint32_t versions_per_user = 3;

std::string toast(const std::string& text) {
    return R"(<toast><visual><binding template="ToastText01"><text id="1">)" + text +
           "</text></binding></visual></toast>";
}

nlohmann::json template_of(std::string_view platform) {
    constexpr const char* text = "$(n)";
    if (platform == "wns")
        return {{"body", toast(text)}, {"headers", {{"X-WNS-Type", "wns/toast"}}}};
    nlohmann::json body;
    if (platform == "apns") {
        body["aps"]["alert"] = text;
    } else if (platform == "fcmv1") {
        body["message"]["notification"]["body"] = text;
    } else {
        body["data"]["n"] = text;
    }
    return {{"body", body.dump()}};
}

}  // namespace

std::string_view SoakCrowd::platform(std::uint32_t device) {
    return platforms[device % platform_count];
}

std::string SoakCrowd::id(std::uint32_t device) {
    return "soak-" + std::to_string(device);
}

std::uint32_t SoakCrowd::group(std::uint32_t device) {
    return device / platform_count % groups;
}

std::string SoakCrowd::group_tag(std::uint32_t group) {
    return group == groups ? "steady" : "group:" + std::to_string(group);
}

std::string SoakCrowd::handle(std::uint32_t device, std::uint32_t version) const {
    char hex[33];
    std::snprintf(hex, sizeof hex, "%016X%016X", device, version);
    const std::string_view where = platform(device);
    if (where == "apns") return std::string(32, 'A') + hex;
    if (where == "wns") return std::string("https://db5.notify.windows.com/?token=") + hex;
    if (where == "adm") return std::string("amzn1.adm-registration.v3.") + hex;
    return std::string("fcm") + hex + ":APA91bExample";
}

std::string SoakCrowd::json(std::uint32_t device, std::uint32_t version) const {
    nlohmann::json out;
    out["installationId"] = id(device);
    out["platform"] = platform(device);
    out["pushChannel"] = handle(device, version);
    if (is_steady(device)) {
        out["userId"] = "user-" + std::to_string(device);
        out["tags"] = {group_tag(groups), group_tag(group(device))};
        if (has_template(device)) out["templates"]["t"] = template_of(platform(device));
    } else {
        out["userId"] =
            "moving-" + std::to_string(device) + "-" + std::to_string(version / versions_per_user);
        out["tags"] = {"moving", "version:" + std::to_string(version % 7)};
    }
    return out.dump();
}

std::uint64_t SoakCrowd::audience(std::string_view format, std::uint32_t group_wanted) const {
    std::uint64_t count = 0;
    for (std::uint32_t i = 0; i < steady(); ++i) {
        if (group_wanted != groups && group(i) != group_wanted) continue;
        count += format == "template" ? has_template(i) : format_of(i) == format;
    }
    return count;
}

const std::vector<SoakCrowd::Format>& SoakCrowd::formats() {
    static const std::vector<Format> all{{"apple", "apns"},
                                         {"fcmv1", "fcmv1"},
                                         {"windows", "wns"},
                                         {"adm", "adm"},
                                         {"template", ""}};
    return all;
}

std::string_view SoakCrowd::format_of(std::uint32_t device) {
    return formats()[device % platform_count].format;
}

std::string SoakCrowd::body(std::string_view format, std::uint64_t number) {
    const std::string text = "soak " + std::to_string(number);
    if (format == "windows") return toast(text);
    nlohmann::json out;
    if (format == "apple") {
        out["aps"]["alert"] = text;
    } else if (format == "fcmv1") {
        out["message"]["notification"]["body"] = text;
    } else if (format == "adm") {
        out["data"]["n"] = text;
    } else {
        out["n"] = text;
    }
    return out.dump();
}

std::vector<std::pair<std::string, std::string>> SoakCrowd::headers(std::string_view format) {
    std::vector<std::pair<std::string, std::string>> out{
        {"content-type", "application/json;charset=utf-8"},
        {"servicebusnotification-format", std::string(format)}};
    if (format == "windows") out.emplace_back("x-wns-type", "wns/toast");
    return out;
}

}  // namespace bench
