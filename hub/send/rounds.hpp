#pragma once

// In which portions the devices of a send go out: all at once, or first the canary and, when that
// is released, the rest. Pure; lives on the send's home lane.

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "registry/send.hpp"

namespace hub {

/// The share of a send that goes out first: each device by a hash of its number with the send's id,
/// so that it is the same after every restart; one device at least.
std::vector<registry::Bitmap> canary_of(const std::vector<registry::Bitmap>& devices,
                                        std::string_view send_id, std::uint32_t ppm);

class Rounds {
  public:
    Rounds() = default;
    /// Of a send whose canary is open: `whole` is its selection as frozen, with what was final
    /// before a restart.
    explicit Rounds(std::vector<registry::Bitmap> whole) : whole_(std::move(whole)) {}

    /// The devices of the canary that are among `todo`. Takes long; may run on a store thread while
    /// the home lane waits for it.
    std::vector<registry::Bitmap> canary_left(const std::vector<registry::Bitmap>& todo,
                                              std::string_view send_id, std::uint32_t ppm) const;
    /// What canary_left() found goes first. Before next().
    void canary_first(std::vector<registry::Bitmap> devices);
    /// The canary was released before it was known: one round takes all.
    void all_at_once() { whole_.clear(); }

    /// The devices that go out now, of those `todo` when the send was taken up. The first round may
    /// be empty: a canary that was final before a restart.
    std::vector<registry::Bitmap> next(const std::vector<registry::Bitmap>& todo);
    /// Has the first round begun?
    bool begun() const { return begun_; }

  private:
    std::vector<registry::Bitmap> whole_;   ///< only until the canary is known
    std::vector<registry::Bitmap> canary_;  ///< of `todo`; empty: one round takes all
    bool begun_ = false;
};

}  // namespace hub
