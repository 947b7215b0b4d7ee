#include "hub/send_run.hpp"

namespace hub {

void SendRun::prepare(std::size_t lanes) {
    native.headers = send.headers;
    if (send.format == "template") {
        auto parsed = parse_properties(send.body);
        if (ok(parsed)) properties = std::get<Properties>(std::move(parsed));
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
    std::string key(platform);
    key += ':';
    key += handle;
    std::lock_guard lock(handles_mutex_);
    return handles_seen_.insert(std::move(key)).second;
}

}  // namespace hub
