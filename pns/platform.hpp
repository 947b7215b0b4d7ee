#pragma once

// What a push is, before and after a provider saw it, and the one table of platforms. Pure values;
// any thread.

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pns/retry_policy.hpp"

namespace pns {

class Account;          ///< pns/account.hpp
struct SenderSettings;  ///< pns/sender.hpp

using Headers = std::vector<std::pair<std::string, std::string>>;

/// Final states of one device in one send, by ANH's names (docs/contracts/anh.md 6.2); `unknown` is
/// PushHub's own (at-most-once after a lost connection).
enum class Outcome : std::uint8_t {
    success,
    abandoned,
    bad_channel,
    channel_disconnected,
    channel_throttled,
    dropped,
    expired_channel,
    invalid_credentials,
    invalid_notification_format,
    invalid_notification_size,
    no_targets,
    pns_interface_error,
    pns_server_error,
    pns_unavailable,
    pns_unreachable,
    skipped,
    throttled,
    token_provider_interface_error,
    token_provider_unreachable,
    invalid_token,
    wrong_token,
    wrong_channel,
    refresh_token,
    unknown_error,
    unknown,
};
std::string_view outcome_name(
    Outcome outcome);  ///< "Success", "AbandonedNotificationMessages", ...

/// What a provider said about one push, as a value (docs/contracts/pns.md 0).
struct Verdict {
    enum class Kind : std::uint8_t {
        accepted,     ///< OK or ROTATE (new_handle set)
        retire,       ///< PRUNE / PRUNE-IF-OLDER: the handle is dead
        suspect,      ///< SUSPECT: counts against the handle, may be configuration
        refused,      ///< DROP or CONFIG: this message or this credential; keep the handle
        retry_later,  ///< RETRY or THROTTLE(handle) after retry_after_ms
        lost,         ///< ambiguous: written, no answer. The send's mode decides
    };
    Kind kind = Kind::accepted;
    Outcome outcome = Outcome::success;  ///< what it is counted as if it stays final
    bool unsent = false;                 ///< retry_later: never left this process, no attempt used
    bool configuration = false;          ///< CONFIG: stop the credential, alert the operator
    std::int64_t dead_since_ms =
        std::numeric_limits<std::int64_t>::max();  ///< retire only registrations older than this
    std::int64_t retry_after_ms = 0;
    std::string
        reason;  ///< the provider's word, at most 200 bytes, printable; never a handle or secret
    std::string new_handle;   ///< ROTATE
    std::string provider_id;  ///< the provider's id of the message, if it gave one
};

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
};

/// All platforms, senders or not; ordered as documented.
const std::vector<Platform>& platforms();
const Platform* platform_by_name(std::string_view name);      ///< ignoring case
const Platform* platform_by_format(std::string_view format);  ///< ignoring case

}  // namespace pns
