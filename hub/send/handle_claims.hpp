#pragma once

// Which devices of one send got its push, or are about to get it, under a handle that others share.
// The rule that the first row with a handle gets the push needs no memory while rows stay; this is
// the memory for rows that were deleted, or moved to another handle, after their push. It ends with
// the process. Thread-safe.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace pns {
class Prepared;
}

namespace hub {

class HandleClaims {
  public:
    /// Beyond so many nothing more is remembered.
    static constexpr std::size_t claims_max = 1u << 17;
    struct Holder {
        std::uint16_t partition = 0;
        std::uint32_t number = 0;
        friend bool operator==(const Holder&, const Holder&) = default;
    };

    bool any() const { return any_.load(std::memory_order_acquire); }
    /// The device is about to get this push under this handle. False: another one has it. It is
    /// remembered if the handle is `shared`.
    bool take(std::string_view handle, const pns::Prepared& push, const Holder& device,
              bool shared);
    /// The device did not get it after all.
    void release(std::string_view handle, const pns::Prepared& push, const Holder& device);
    /// Who has it.
    std::optional<Holder> holder(std::string_view handle, const pns::Prepared& push) const;

  private:
    struct Claim {
        std::uint64_t push;  ///< its keyed hash
        Holder device;
    };
    using Claims = std::unordered_multimap<std::uint64_t, Claim>;  ///< by keyed hash of the handle
    Claims::const_iterator find(std::uint64_t handle, const pns::Prepared& push) const;

    mutable std::mutex mutex_;
    Claims claims_;
    std::atomic<bool> any_{false};  ///< there was one
};

}  // namespace hub
