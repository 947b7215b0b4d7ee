#include "hub/send_run.hpp"

#include "hub/gcm_alias.hpp"

namespace hub {

void SendRun::prepare(std::size_t lanes, bool gcm_alias) {
    gcm_through_fcmv1 = gcm_alias;
    native.headers = send.headers;
    if (send.format == "template") {
        auto parsed = parse_properties(send.body);
        if (ok(parsed)) properties = std::get<Properties>(std::move(parsed));
    } else if (send.format == "gcm" && gcm_through_fcmv1) {
        auto converted = gcm_to_fcmv1(send.body);
        if (ok(converted)) {
            native.body = std::get<std::string>(std::move(converted));
        } else {
            native_refusal = {pns::Outcome::invalid_notification_format,
                              std::get<Refusal>(std::move(converted)).message};
        }
    } else {
        native.body = send.body;
    }
    for (std::size_t p = 0; p < todo.partitions.size(); ++p) {
        if (!todo.partitions[p].isEmpty()) {
            home = p % lanes;
            break;
        }
    }
}

bool SendRun::first_with_handle(std::string_view platform, std::string_view handle) {
    std::string key(gcm_through_fcmv1 && platform == "gcm" ? "fcmv1" : platform);
    key += ':';
    key += handle;
    std::lock_guard lock(handles_mutex_);
    return handles_seen_.insert(std::move(key)).second;
}

}  // namespace hub
