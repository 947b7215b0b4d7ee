#pragma once

// Legacy `gcm` messages as FCM v1 messages, for hubs whose gcm registrations are served through
// their FCM v1 credential (Config::gcm_through_fcmv1; docs/contracts/anh.md 5.1,
// docs/contracts/pns.md 2). Pure, any thread.

#include <string>
#include <string_view>

#include "hub/text/wire_error.hpp"

namespace hub {

/// What FCM allows at most, seconds: four weeks.
constexpr std::int64_t fcm_ttl_s_max = 28 * 86'400;

/// The body of a gcm notification or of a rendered gcm template as `{"message":{...}}`:
///
///   data                       data; numbers and booleans as text, structures as JSON text
///   notification.title, body   notification
///   notification, the rest     android.notification (android_channel_id becomes channel_id)
///   priority                   android.priority HIGH or NORMAL; also 10 and 5
///   time_to_live               android.ttl
///   collapse_key, restricted_package_name, direct_boot_ok     android
///   content_available, mutable_content, notification.badge    apns.payload.aps
///   dry_run                    validate_only
///
/// A body that already is `{"message":{...}}` stays as it is. Members that FCM v1 has no place for
/// and members that name a receiver are refused by name.
Parsed<std::string> gcm_to_fcmv1(std::string_view body);

}  // namespace hub
