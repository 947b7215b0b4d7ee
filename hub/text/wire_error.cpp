#include "hub/text/wire_error.hpp"

#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"

namespace hub {

std::string error_xml(int status, std::string_view message, std::string_view tracking_id,
                      std::int64_t now_ms) {
    std::string out = "<Error><Code>" + std::to_string(status) + "</Code><Detail>";
    append_xml(out, message);
    out += message.ends_with('.') ? "TrackingId:" : ".TrackingId:";
    append_xml(out, tracking_id);
    // Real answers name the gateway instance here; there is one.
    out += "_G0,TimeStamp:" + error_stamp(now_ms) + "</Detail></Error>";
    return out;
}

}  // namespace hub
