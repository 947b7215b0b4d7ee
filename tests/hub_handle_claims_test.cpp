#include "hub/send/handle_claims.hpp"

#include <catch2/catch.hpp>

#include "pns/account.hpp"

using hub::HandleClaims;
using Holder = HandleClaims::Holder;

namespace {

pns::Prepared push_of(const std::string& body) {
    pns::Prepared push;
    push.headers.emplace_back("topic", "t");
    push.body = std::make_shared<const std::string>(body);
    return push;
}

}  // namespace

TEST_CASE("one device has the push of a shared handle until it gives it back", "[hub]") {
    HandleClaims claims;
    const Holder first{1, 7}, second{2, 3};
    const auto hi = push_of("hi"), bye = push_of("bye");
    CHECK(claims.take("alone", hi, first, false));
    CHECK_FALSE(claims.any());
    CHECK(claims.take("h", hi, first, true));
    CHECK(claims.any());
    CHECK(claims.take("h", hi, first, true));
    CHECK_FALSE(claims.take("h", push_of("hi"), second, true));
    CHECK_FALSE(claims.take("h", hi, second, false));
    CHECK(claims.take("h", bye, second, true));
    CHECK(claims.take("other", hi, second, true));
    CHECK(claims.holder("h", hi) == first);
    CHECK(claims.holder("h", bye) == second);
    CHECK_FALSE(claims.holder("alone", hi).has_value());
    claims.release("h", hi, second);  // not its own
    CHECK(claims.holder("h", hi) == first);
    claims.release("h", hi, first);
    CHECK(claims.take("h", hi, second, true));
}

TEST_CASE("claims are bounded", "[hub]") {
    HandleClaims claims;
    const auto hi = push_of("hi");
    for (std::uint32_t i = 0; i < HandleClaims::claims_max; ++i)
        claims.take(std::to_string(i), hi, {0, i}, true);
    CHECK(claims.take("more", hi, {1, 1}, true));
    CHECK_FALSE(claims.holder("more", hi).has_value());
    CHECK(claims.holder("5", hi) == Holder{0, 5});
}
