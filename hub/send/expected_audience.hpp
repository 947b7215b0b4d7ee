#pragma once

// The audience that the author of a send expects, as written in `PushHub-Expect-Audience: 1200±5%`.
// Pure, any thread.

#include <cstdint>
#include <string_view>

#include "hub/text/wire_error.hpp"

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

}  // namespace hub
