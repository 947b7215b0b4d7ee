#pragma once

// `pushhub bench audience`: how long it takes to select and count the devices of an expression, in
// the registry and, with the same answer, by set operations written by hand on bitmaps in memory.

#include <cstdint>
#include <filesystem>
#include <string>

#include "bench/results.hpp"

namespace bench {

/// argv[0] is the verb "audience". 0 when every count was as expected.
int audience_main(int argc, char** argv);

struct AudienceFigures {
    double six_tag_us = 0, six_tag_by_hand_us = 0;
    double user_warm_us = 0, user_cold_us = 0;  ///< medians over single users
};

/// Measures over the store of a hub that is not running and holds `devices` of a Crowd; adds its
/// figures to `results` under names that begin with `prefix`. Throws when a count differs from the
/// model.
AudienceFigures measure_audience(const std::filesystem::path& data_dir, const std::string& hub,
                                 std::uint32_t devices, unsigned runs, const std::string& prefix,
                                 Results& results);

}  // namespace bench
