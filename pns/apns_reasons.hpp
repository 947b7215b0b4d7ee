#pragma once

// What APNs' refusals mean, for pushes to devices (docs/contracts/pns.md 1.6) and for broadcast
// channels (1.5). Only pns/apns*.cpp use it. Pure; any thread.

#include <string_view>

#include "pns/account.hpp"

namespace pns {

enum class ApnsSurface { device, channel };
/// Who chose the topic of a push. Whoever may send or register chooses the headers of messages and
/// templates.
enum class ApnsTopic { of_credential, of_message };

/// The judgement of an answer that is no success. `handle` never shows in a reason.
Judgement judge_apns_refusal(ApnsSurface surface, std::string_view handle, const Answer& answer,
                             ApnsTopic topic = ApnsTopic::of_credential);

}  // namespace pns
