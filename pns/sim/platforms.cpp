// Tested by tests/pns_sim_test.cpp.
#include "pns/sim/platforms.hpp"

#include <algorithm>

namespace pns::sim {

std::unique_ptr<Provider> make_apns(const SimOptions& options, RuleBook& rules, Journal& journal);
std::unique_ptr<Provider> make_fcm(const SimOptions& options, RuleBook& rules, Journal& journal);
std::unique_ptr<Provider> make_wns(const SimOptions& options, RuleBook& rules, Journal& journal);
std::unique_ptr<Provider> make_adm(const SimOptions& options, RuleBook& rules, Journal& journal);
std::unique_ptr<Provider> make_hms(const SimOptions& options, RuleBook& rules, Journal& journal);
MadeCredential make_hms_credential();
std::unique_ptr<Provider> make_web_push(const SimOptions& options, RuleBook& rules,
                                        Journal& journal);
MadeCredential make_web_push_credential();

const std::vector<SimPlatform>& sim_platforms() {
    static const std::vector<SimPlatform> table = {
        {"apns",
         make_apns,
         make_apns_credential,
         {"api.push.apple.com", "api.sandbox.push.apple.com", "api.development.push.apple.com",
          "api-broadcast.push.apple.com", "api-broadcast.sandbox.push.apple.com",
          "api-manage-broadcast.push.apple.com", "api-manage-broadcast.sandbox.push.apple.com"},
         {"h2"},
         {443, 2195, 2196, 2197}},
        {"fcmv1",
         make_fcm,
         make_fcm_credential,
         {"fcm.googleapis.com", "oauth2.googleapis.com"},
         {"h2", "http/1.1"}},
        {"wns",
         make_wns,
         make_wns_credential,
         {"*.notify.windows.com", "login.live.com", "login.microsoftonline.com"},
         {"http/1.1"}},
        {"adm", make_adm, make_adm_credential, {"api.amazon.com"}, {"http/1.1"}},
        // Not fcm.googleapis.com and *.notify.windows.com: their names lead to fcmv1 and wns.
        {"browser",
         make_web_push,
         make_web_push_credential,
         {"*.push.services.mozilla.com", "*.push.apple.com", "jmt17.google.com",
          "android.googleapis.com"},
         {"h2", "http/1.1"}},
        {"hms",
         make_hms,
         make_hms_credential,
         {"push-api.cloud.huawei.com", "oauth-login.cloud.huawei.com"},
         {"http/1.1"}},
    };
    return table;
}

const SimPlatform* sim_platform(std::string_view name) {
    const auto& all = sim_platforms();
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const SimPlatform& row) { return row.name == name; });
    return found == all.end() ? nullptr : &*found;
}

std::vector<std::string> sim_platform_names() {
    std::vector<std::string> out;
    for (const SimPlatform& row : sim_platforms()) out.emplace_back(row.name);
    return out;
}

}  // namespace pns::sim
