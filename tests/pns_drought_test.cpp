#include "pns/drought.hpp"

#include <catch2/catch.hpp>
#include <string>

using pns::Drought;

TEST_CASE("nothing taken for more than a second is a drought, however short each wait is",
          "[pns]") {
    Drought drought;
    const bool of_all = GENERATE(true, false);
    const auto answer = [&](std::int64_t now_ms) {
        bool dry = false;
        for (int i = 0; i < 4; ++i)
            dry = drought.put_off("target" + std::to_string(i), 100, of_all, now_ms);
        return dry;
    };
    CHECK_FALSE(answer(1'000));
    CHECK_FALSE(answer(2'499));
    CHECK(answer(2'500));
    CHECK(answer(9'000));
    drought.taken();
    CHECK_FALSE(answer(9'001));
    CHECK_FALSE(answer(10'500));
    CHECK(answer(10'501));
}

TEST_CASE("one target that has to wait is no drought", "[pns]") {
    Drought drought;
    for (std::int64_t now_ms = 0; now_ms < 60'000; now_ms += 100)
        CHECK_FALSE(drought.put_off("hot", 100, false, now_ms));
    // Of the credential itself one answer after another is enough.
    Drought all;
    CHECK_FALSE(all.put_off("hot", 1'000, true, 0));
    CHECK_FALSE(all.put_off("hot", 1'000, true, 1'000));
    CHECK(all.put_off("hot", 1'000, true, 2'000));
}

TEST_CASE("a time in which nobody asked counts as nothing", "[pns]") {
    Drought drought;
    CHECK_FALSE(drought.put_off("a", 1'000, true, 0));
    CHECK_FALSE(drought.put_off("a", 1'000, true, 60'000));
    CHECK(drought.put_off("a", 60'000, true, 62'000));
    CHECK(drought.put_off("a", 1'000, true, 122'500));  // when it was asked to
}
