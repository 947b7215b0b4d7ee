#pragma once

// What somebody looked up before the writer had his change, and whether it still holds.
//
// A key that a view does not have is still absent if nothing has put it since. A fixed table of
// positions of the log says when keys were last put, one for many keys: "nothing came" is always
// right, "may have come" may be meant for another key. Writer thread only.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace registry {

/// What a new row needs to know of the store, as the view at `position` had it. False: not known.
struct LookedUp {
    std::uint64_t position = 0;
    bool id_absent = false;
    bool handle_absent = false;  ///< no row of its kind has it
};

class Arrivals {
  public:
    /// What was looked up before `position` is not believed.
    void begin(std::uint64_t position) { begun_ = position; }
    void came(std::uint64_t hash, std::uint64_t position) { slots_[hash % slots] = position; }
    bool may_have_come(std::uint64_t hash, std::uint64_t since) const {
        return since < begun_ || slots_[hash % slots] > since;
    }

  private:
    static constexpr std::size_t slots = 1u << 17;
    std::vector<std::uint64_t> slots_ = std::vector<std::uint64_t>(slots);
    std::uint64_t begun_ = 0;
};

}  // namespace registry
