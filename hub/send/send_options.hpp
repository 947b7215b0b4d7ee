#pragma once

// The headers with which a back end steers how a send goes out. Pure, any thread.
//
//   PushHub-Canary    share '%' [';' 'hold']    0.0001 to 99.9999: goes out first, the rest waits
//   PushHub-Rate      number '/s' | '/m' | '/h' pushes in each second, minute or hour, all lanes
//                                               together
//   PushHub-Deadline  time | duration           what is not out by then is abandoned; a duration
//                                               counts from the request, or from the scheduled time

#include <cstdint>
#include <optional>

#include "hub/http/http.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/send.hpp"

namespace hub {

constexpr std::uint32_t send_rate_per_s_max = 1'000'000;
constexpr std::int64_t deadline_ahead_ms_max = 14 * 86'400'000LL;

/// Reads them into `send`, whose deadline is set already. What is wrong, or nothing.
std::optional<Refusal> read_send_options(const Request& request, registry::Send& send);

}  // namespace hub
