#pragma once

// Broadcast channels of an app's Live Activities at Apple (docs/contracts/pns.md 1.5): management
// calls as values. Pushes to a channel go through the sender of the credential, like those to
// devices, with `channel_prefix` before the channel's id as handle. Pure; any thread.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pns/account.hpp"
#include "pns/exchange.hpp"

namespace pns {

inline constexpr std::string_view channel_prefix = "channel:";
inline constexpr std::size_t channel_id_bytes_max = 256;

/// Canonical UUID, lower case.
void append_uuid(std::string& out, const std::array<std::uint8_t, 16>& id);

/// As Apple gives it: base64.
bool is_channel_id(std::string_view id);

struct ChannelCall {
    enum class Verb : std::uint8_t { create, read, remove, list } verb = Verb::list;
    std::string id;             ///< read, remove
    bool keeps_latest = false;  ///< create: Apple stores the most recent message for some hours
    std::array<std::uint8_t, 16> request_id{};
};
/// Refused when the credential does not name its app.
Checked<ExchangeRequest> channel_request(const Credential& credential, const ChannelCall& call);

/// What a call has brought.
struct ChannelAnswer {
    std::string id;                ///< create
    bool keeps_latest = false;     ///< create, read
    std::vector<std::string> ids;  ///< list
    std::string request_id;
};
/// The judgement of anything but success, as for pushes: `retire` is an unknown channel. A channel
/// that is gone already counts as removed.
std::variant<ChannelAnswer, Judgement> read_channel_answer(const ChannelCall& call,
                                                           const ExchangeAnswer& answer,
                                                           std::int64_t now_ms);

}  // namespace pns
