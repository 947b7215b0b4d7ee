#pragma once

// Credentials made for one run: what a hub is given, and what a simulator needs to check it. Fresh
// keys each time.

#include <string>
#include <string_view>
#include <vector>

#include "pns/platform.hpp"

namespace pns::sim {

/// What a simulator knows about the one app it serves. Unused members of other providers are empty.
struct Trust {
    std::string public_key_pem;  ///< APNs P-256 key; RSA key of a service account (FCM, HMS v3)
    std::string key_id, team_id, app;  ///< APNs
    /// APNs: further keys of the team; "sandbox" or "production" ties one to an environment.
    struct OtherKey {
        std::string public_key_pem, key_id, environment;
    };
    std::vector<OtherKey> other_keys;
    std::string project, client_email;            ///< FCM; HMS v3, where it is the account's name
    std::string client_id, client_secret, scope;  ///< WNS, ADM
    std::string browser_key_pem;                  ///< Web Push: private key of every browser
};

struct MadeCredential {
    Credential credential;
    Trust trust;
};

/// `platform`: one of sim_platforms(). RSA keys take about 100 ms to make.
MadeCredential make_credential(std::string_view platform);
MadeCredential make_apns_credential();
MadeCredential make_fcm_credential();
MadeCredential make_wns_credential();
MadeCredential make_adm_credential();
/// At most 64 characters drawn from `alphabet`.
std::string random_text(std::size_t size, std::string_view alphabet);

/// Host names that a simulator of the platform stands in for: what its certificate must name.
std::vector<std::string> host_names(std::string_view platform);

}  // namespace pns::sim
