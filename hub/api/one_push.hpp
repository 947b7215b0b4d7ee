#pragma once

// A push that belongs to no send: to an APNs broadcast channel, an FCM topic or condition. It goes
// through the sender of the credential like all others, and the provider's verdict is the answer.
// There is no ledger and no retry of ours.

#include <string>
#include <variant>

#include "hub/api/handlers.hpp"
#include "pns/platform.hpp"

namespace hub {

constexpr std::int64_t one_push_wait_ms_max = 25'000;

/// Why a push was not even handed to the provider.
struct NotPushed {
    int status = 400;
    std::string code;  ///< of the problem
    std::string detail;
};

/// Waits for the verdict, at most one_push_wait_ms_max: a push without one by then is `lost`, and
/// may still arrive.
pns::Task<std::variant<pns::Verdict, NotPushed>> push_once(const Call& call,
                                                           std::string_view platform,
                                                           pns::Message message,
                                                           std::string handle);

/// 201 with what the provider said, or its refusal as a problem. `gone` is the detail of a 404 for
/// a target that the provider does not know.
Response one_push_answer(const Request& request, const pns::Verdict& verdict,
                         std::string_view gone);
Response one_push_answer(const Request& request,
                         const std::variant<pns::Verdict, NotPushed>& result,
                         std::string_view gone);

}  // namespace hub
