#pragma once

// An APNs credential opened: token or certificate, the app, and the three places of its environment
// (docs/contracts/pns.md 1.1, 1.2). Production and sandbox never meet: all three come from one
// Endpoint. Only pns/apns*.cpp use it. Immutable; any thread.

#include <cstdint>
#include <optional>
#include <string>

#include "pns/account.hpp"
#include "pns/certificate_file.hpp"
#include "pns/jwt.hpp"

namespace pns {

struct ApnsCredential {
    Origin devices;          ///< pushes to devices
    Origin broadcast;        ///< pushes to broadcast channels
    Origin channels;         ///< management of broadcast channels
    std::optional<Key> key;  ///< token authentication
    std::string key_id, team_id;
    std::string app;              ///< bundle id
    CertificateFile certificate;  ///< without a key
};

Checked<ApnsCredential> read_apns_credential(const Credential& credential);
/// When its certificate ends; a token's key has no end.
std::optional<std::int64_t> apns_credential_end_s(const Credential& credential);

}  // namespace pns
