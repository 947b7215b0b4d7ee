// Tested by tests/hub_test_send_test.cpp.

#include "hub/api/outcome_xml.hpp"

#include <algorithm>
#include <tuple>

#include "hub/text/xml.hpp"

namespace hub {

namespace {

void append_result(std::string& out, const DeviceResult& result) {
    const pns::Platform* platform = pns::platform_by_name(result.platform);
    std::string name(platform != nullptr ? platform->format : result.platform);
    if (result.templated) name += "template";
    out += "<RegistrationResult>";
    append_element(out, "ApplicationPlatform", name);
    append_element(out, "PnsHandle", result.handle);
    append_element(out, "RegistrationId", result.registration_id);
    append_element(out, "Outcome", outcome_text(result));
    out += "</RegistrationResult>";
}

}  // namespace

std::string outcome_text(const DeviceResult& result) {
    using pns::Outcome;
    switch (result.outcome) {
        case Outcome::success:
            return "The Notification was successfully sent to the Push Notification System";
        case Outcome::bad_channel:
        case Outcome::expired_channel:
        case Outcome::wrong_token:
        case Outcome::wrong_channel:
            return "The Push Notification System handle for the registration is invalid";
        case Outcome::invalid_credentials:
        case Outcome::invalid_token:
            return "The Token obtained from the Token Provider is wrong";
        default:
            break;
    }
    std::string text(pns::outcome_name(result.outcome));
    if (!result.reason.empty()) text += ": " + result.reason;
    return text;
}

std::string notification_outcome(std::vector<DeviceResult> results) {
    const auto key = [](const DeviceResult& r) {
        return std::tie(r.platform, r.registration_id, r.handle);
    };
    std::sort(results.begin(), results.end(),
              [&](const DeviceResult& a, const DeviceResult& b) { return key(a) < key(b); });
    const auto success = std::count_if(results.begin(), results.end(), [](const auto& result) {
        return result.outcome == pns::Outcome::success;
    });
    std::string out =
        "<NotificationOutcome "
        "xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
        "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">";
    append_element(out, "Success", std::to_string(success));
    append_element(out, "Failure",
                   std::to_string(static_cast<std::int64_t>(results.size()) - success));
    out += results.empty() ? "<Results/>" : "<Results>";
    for (const DeviceResult& result : results) append_result(out, result);
    if (!results.empty()) out += "</Results>";
    return out + "</NotificationOutcome>";
}

}  // namespace hub
