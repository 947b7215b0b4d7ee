#pragma once

// What a message, a credential and a platform are, and the one table of platforms. Pure values;
// any thread.

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pns/retry_policy.hpp"
#include "pns/verdict.hpp"

namespace pns {

class Account;          ///< pns/account.hpp
struct SenderSettings;  ///< pns/sender.hpp

using Headers = std::vector<std::pair<std::string, std::string>>;

/// One rendering of one send for one platform: what all devices that share it have in common.
struct Message {
    /// What the handles of the message's pushes name. Only devices are registered; the other
    /// targets are addressed directly, on platforms that have them.
    enum class Target : std::uint8_t {
        device,
        topic,      ///< FCM
        condition,  ///< FCM: topics joined by && and ||
        channel,    ///< APNs: a broadcast channel of Live Activities
    };
    Target target = Target::device;
    std::string body;
    Headers
        headers;  ///< names lower case: apns-*, x-wns-*, ... as the back end or template gave them
    std::int64_t expires_at_ms = std::numeric_limits<std::int64_t>::max();
};

/// Where and with what a hub sends on one platform: credential properties as in
/// docs/contracts/anh.md 10.1.
struct Credential {
    std::string platform;
    std::map<std::string, std::string> properties;
    /// Hosts besides the vendor's that its endpoints may name, as EndpointGuard reads them: the
    /// operator's word, not the hub's.
    std::vector<std::string> operators_hosts = {};
    friend bool operator==(const Credential&, const Credential&) = default;
};

struct Refusal {
    Outcome outcome = Outcome::invalid_notification_format;
    std::string message;  ///< one sentence: what was wrong, where, what would be right
};
template <class T>
using Checked = std::variant<T, Refusal>;

/// One row of the platform table. Adding a provider is one .cpp and one row (README, "Adding a
/// provider"): whatever differs between platforms and is no behaviour of a provider stands here.
/// `name` is what the registry stores; `format` is ServiceBusNotification-Format; `counts` the
/// telemetry element; `kind` also begins <Kind>RegistrationId, what a handle is called in XML.
struct Platform {
    std::string_view name;    ///< "apns"
    std::string_view format;  ///< "apple"
    std::string_view kind;    ///< "Apple": prefix of <Kind>RegistrationDescription
    std::string_view counts;  ///< "ApnsOutcomeCounts"
    bool has_sender;
    /// Canonical spelling of a handle, or why it is none (lengths, characters, URL rules).
    Checked<std::string> (*normalise_handle)(std::string_view handle);
    /// Checks that credential properties are complete and usable (keys parse, right curve).
    Checked<bool> (*check_credential)(const Credential& credential);
    /// The element of a hub description that holds the credential, empty for none, and the
    /// properties it may have, in the order they are written.
    std::string_view credential = {};
    std::vector<std::string_view> properties = {};
    /// Null without a sender.
    Checked<std::unique_ptr<Account>> (*open)(const Credential& credential) = nullptr;
    SenderSettings (*settings)() = nullptr;  ///< defaults of docs/contracts/pns.md 11
    RetryLimits retry = {};
    /// The last second, since 1970, at which a credential is good for anything. Null, or nothing:
    /// none is known.
    std::optional<std::int64_t> (*credential_end_s)(const Credential& credential) = nullptr;
};

/// As its platform's row says.
std::optional<std::int64_t> credential_end_s(const Credential& credential);

/// All platforms, senders or not; ordered as documented.
const std::vector<Platform>& platforms();
const Platform* platform_by_name(std::string_view name);      ///< ignoring case
const Platform* platform_by_format(std::string_view format);  ///< ignoring case

}  // namespace pns
