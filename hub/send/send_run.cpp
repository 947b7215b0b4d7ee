#include "hub/send/send_run.hpp"

#include "hub/template/gcm_alias.hpp"
#include "pns/mixing.hpp"

namespace hub {

Mode mode_of(registry::SendState state) {
    if (state == registry::SendState::canceling) return Mode::drop;
    const bool waits = state == registry::SendState::held || state == registry::SendState::paused;
    return waits ? Mode::hold : Mode::go;
}

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

}  // namespace hub
