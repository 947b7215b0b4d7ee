// Tested by tests/hub_reload_test.cpp.

#include "hub/device/credential_ends.hpp"

#include "hub/device/hubs.hpp"
#include "pns/platform.hpp"

namespace hub {

std::vector<CredentialEnd> CredentialEnds::all() {
    const std::lock_guard lock(mutex_);
    std::map<std::uint32_t, Known> now;
    std::vector<CredentialEnd> out;
    for (const auto& hub : hubs_.all()) {
        Known& known = now[hub->row.number];
        const auto before = known_.find(hub->row.number);
        if (before != known_.end() && before->second.etag == hub->row.etag) {
            known = std::move(before->second);
        } else {
            known.etag = hub->row.etag;
            for (const auto& [platform, properties] : hub->description.credentials) {
                if (const auto end_s = pns::credential_end_s({platform, properties}))
                    known.ends.push_back({hub->row.name, platform, *end_s});
            }
        }
        out.insert(out.end(), known.ends.begin(), known.ends.end());
    }
    known_ = std::move(now);
    return out;
}

}  // namespace hub
