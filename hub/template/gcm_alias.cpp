// Tested by tests/hub_gcm_alias_test.cpp.
//
// Each member of the legacy body is taken by its name and put where FCM v1 has it; `data` becomes
// texts. A target is refused: the hub adds it for each device. A member that has no place in FCM
// v1 is refused instead of dropped without a word.

#include "hub/template/gcm_alias.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"

namespace hub {

namespace {

using Json = nlohmann::json;

/// Members of a legacy notification that keep their name and are texts.
constexpr std::array android_texts{"icon",         "color",         "sound",        "tag",
                                   "click_action", "title_loc_key", "body_loc_key", "ticker"};
constexpr std::array receivers{"to", "registration_ids", "condition", "notification_key"};

template <std::size_t n>
bool one_of(const std::array<const char*, n>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::string text_of(const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
}

/// Numbers came as text, too.
std::optional<std::int64_t> whole_number(const Json& value) {
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
    if (value.is_number_integer()) return value.get<std::int64_t>();
    if (!value.is_string()) return std::nullopt;
    const auto& text = value.get_ref<const std::string&>();
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

std::optional<bool> truth(const Json& value) {
    if (value.is_boolean()) return value.get<bool>();
    const auto text = lower(text_of(value));
    if (text == "true" || text == "1") return true;
    if (text == "false" || text == "0") return false;
    return std::nullopt;
}

Refusal wrong(std::string_view name, std::string_view what) {
    return bad_request("The member '" + shown(name) + "' of the gcm notification " +
                       std::string(what) + ".");
}

/// One legacy body on its way; the parts of the new one.
struct Conversion {
    Json data = Json::object(), notification = Json::object(), android = Json::object(),
         android_notification = Json::object(), aps = Json::object();
    bool validate_only = false;

    std::optional<Refusal> take(const std::string& name, const Json& value);
    std::optional<Refusal> take_data(const Json& object);
    std::optional<Refusal> take_notification(const Json& object);
    std::optional<Refusal> take_shown(const std::string& name, const Json& value);
    std::optional<Refusal> take_arguments(const std::string& name, const Json& value);
    std::optional<Refusal> take_priority(const Json& value);
    std::optional<Refusal> take_time_to_live(const Json& value);
    std::optional<Refusal> take_flag(const std::string& name, const Json& value);
    std::string body();
};

std::optional<Refusal> Conversion::take_data(const Json& object) {
    if (!object.is_object()) return wrong("data", "must be an object");
    for (const auto& [name, value] : object.items()) {
        if (!value.is_null()) data[name] = text_of(value);
    }
    return std::nullopt;
}

/// An array of texts, or such an array as text.
std::optional<Refusal> Conversion::take_arguments(const std::string& name, const Json& value) {
    Json list = value;
    if (value.is_string()) {
        auto read = read_json(value.get_ref<const std::string&>(), name);
        if (!ok(read)) return std::get<Refusal>(std::move(read));
        list = std::get<Json>(std::move(read));
    }
    if (!list.is_array()) return wrong("notification." + name, "must be an array of strings");
    Json texts = Json::array();
    for (const auto& item : list) texts.push_back(text_of(item));
    android_notification[name] = std::move(texts);
    return std::nullopt;
}

std::optional<Refusal> Conversion::take_shown(const std::string& name, const Json& value) {
    if (value.is_null()) return std::nullopt;
    if (name == "title_loc_args" || name == "body_loc_args") return take_arguments(name, value);
    if (value.is_structured()) return wrong("notification." + name, "must be a string");
    if (name == "title" || name == "body" || name == "image") {
        notification[name] = text_of(value);
    } else if (name == "badge") {
        const auto number = whole_number(value);
        if (!number) return wrong("notification.badge", "must be a number");
        aps["badge"] = *number;
    } else if (name == "android_channel_id") {
        android_notification["channel_id"] = text_of(value);
    } else if (one_of(android_texts, name)) {
        android_notification[name] = text_of(value);
    } else if (name == "subtitle") {
        aps["alert"]["subtitle"] = text_of(value);
    } else {
        return wrong("notification." + name, "has no place in an FCM v1 message");
    }
    return std::nullopt;
}

std::optional<Refusal> Conversion::take_notification(const Json& object) {
    if (!object.is_object()) return wrong("notification", "must be an object");
    for (const auto& [name, value] : object.items()) {
        if (auto refusal = take_shown(name, value)) return refusal;
    }
    return std::nullopt;
}

std::optional<Refusal> Conversion::take_priority(const Json& value) {
    const auto text = lower(text_of(value));
    if (text == "high" || text == "10") {
        android["priority"] = "HIGH";
    } else if (text == "normal" || text == "5") {
        android["priority"] = "NORMAL";
    } else {
        return wrong("priority", "must be high or normal");
    }
    return std::nullopt;
}

std::optional<Refusal> Conversion::take_time_to_live(const Json& value) {
    const auto seconds = whole_number(value);
    if (!seconds || *seconds < 0 || *seconds > fcm_ttl_s_max) {
        return wrong("time_to_live", "must be a whole number of seconds from 0 to " +
                                         std::to_string(fcm_ttl_s_max));
    }
    android["ttl"] = std::to_string(*seconds) + "s";
    return std::nullopt;
}

std::optional<Refusal> Conversion::take_flag(const std::string& name, const Json& value) {
    const auto on = truth(value);
    if (!on) return wrong(name, "must be true or false");
    if (name == "dry_run") {
        validate_only = *on;
    } else if (name == "direct_boot_ok") {
        android["direct_boot_ok"] = *on;
    } else if (*on) {
        aps[name == "content_available" ? "content-available" : "mutable-content"] = 1;
    }
    return std::nullopt;
}

std::optional<Refusal> Conversion::take(const std::string& name, const Json& value) {
    if (value.is_null()) return std::nullopt;
    if (one_of(receivers, name)) return wrong(name, "is the hub's to set");
    if (name == "data") return take_data(value);
    if (name == "notification") return take_notification(value);
    if (name == "priority") return take_priority(value);
    if (name == "time_to_live") return take_time_to_live(value);
    if (name == "delay_while_idle") return std::nullopt;  // without effect since 2016
    if (name == "dry_run" || name == "direct_boot_ok" || name == "content_available" ||
        name == "mutable_content") {
        return take_flag(name, value);
    }
    if (name == "collapse_key" || name == "restricted_package_name") {
        if (!value.is_string()) return wrong(name, "must be a string");
        android[name] = value;
        return std::nullopt;
    }
    return wrong(name, "has no place in an FCM v1 message");
}

std::string Conversion::body() {
    Json message = Json::object();
    if (!aps.empty()) {
        // Beside a title, a subtitle alone would hide what FCM derives from the notification.
        const bool alert = aps.contains("alert");
        if (alert && notification.contains("title")) aps["alert"]["title"] = notification["title"];
        if (alert && notification.contains("body")) aps["alert"]["body"] = notification["body"];
        message["apns"]["payload"]["aps"] = std::move(aps);
    }
    if (!android_notification.empty()) android["notification"] = std::move(android_notification);
    if (!data.empty()) message["data"] = std::move(data);
    if (!notification.empty()) message["notification"] = std::move(notification);
    if (!android.empty()) message["android"] = std::move(android);
    Json whole = {{"message", std::move(message)}};
    if (validate_only) whole["validate_only"] = true;
    return whole.dump();
}

}  // namespace

Parsed<std::string> gcm_to_fcmv1(std::string_view body) {
    auto read = read_json(body, "The notification");
    if (!ok(read)) return std::get<Refusal>(std::move(read));
    const auto& legacy = std::get<Json>(read);
    if (!legacy.is_object()) return bad_request("The notification must be a JSON object.");
    const auto message = legacy.find("message");
    if (message != legacy.end() && message->is_object()) return std::string(body);
    Conversion conversion;
    for (const auto& [name, value] : legacy.items()) {
        if (auto refusal = conversion.take(name, value)) return std::move(*refusal);
    }
    return conversion.body();
}

}  // namespace hub
