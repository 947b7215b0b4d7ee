#pragma once

// What keeps a send from reaching more, or other, devices than its author thinks: the audience he
// expects (`PushHub-Expect-Audience: 1200±5%`), and a ceiling that only `PushHub-Allow: broadcast`
// lifts. Parsers are pure; any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "hub/config.hpp"
#include "hub/handlers.hpp"
#include "hub/wire_error.hpp"
#include "registry/registry.hpp"

namespace hub {

constexpr std::uint64_t expected_audience_max = 10'000'000'000;

/// Both ends included.
struct ExpectedAudience {
    std::uint64_t least = 0;
    std::uint64_t most = 0;
    friend bool operator==(const ExpectedAudience&, const ExpectedAudience&) = default;
};
/// `N`, `N±M`, `N±X%`; "+-" and a Latin-1 "±" do as well; X has up to three decimals.
Parsed<ExpectedAudience> parse_expected_audience(std::string_view text);

/// `HUB=COUNT`, an element of the setting audience_ceilings.
std::optional<std::pair<std::string, std::uint64_t>> parse_ceiling(std::string_view text);
/// 0: none.
std::uint64_t audience_ceiling(const Config& config, std::string_view hub);

/// The answer to a send that may not reach `count` devices: 400 for headers that cannot be read,
/// 409 with the count.
std::optional<Response> refuse_audience(const Request& request, const Config& config,
                                        std::string_view hub, std::uint64_t count);

/// For a send that waits for its time: the same, with its audience as it is now. Nothing is
/// selected if neither header nor ceiling asks for it.
pns::Task<std::optional<Response>> refuse_scheduled_audience(const Call& call,
                                                             const registry::Send& send);

}  // namespace hub
