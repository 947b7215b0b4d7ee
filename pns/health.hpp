#pragma once

// How it goes between a credential and its provider, as the senders of all loops hear it. A sender
// tells when something begins to go wrong, and the first answer after that.

#include <atomic>
#include <cstdint>
#include <string_view>

namespace pns {

enum class Trouble : std::uint8_t {
    throttled,    ///< the provider asks to wait
    unreachable,  ///< no connection, no answers, or answers that say that it is unwell
    refused,      ///< the credential, or what its tokens are fetched with
};

/// Any thread; must not block.
class HealthListener {
  public:
    virtual ~HealthListener() = default;
    /// `host`: of the provider; empty: the credential as a whole. `reason`: printable, no secret.
    virtual void unwell(Trouble trouble, std::string_view host, std::string_view reason) = 0;
    virtual void well(std::string_view host) = 0;
    /// Something is: well() says something new.
    bool any_unwell() const { return any_unwell_.load(std::memory_order_relaxed); }

  protected:
    std::atomic<bool> any_unwell_{false};
};

}  // namespace pns
