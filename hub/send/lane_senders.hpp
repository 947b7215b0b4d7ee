#pragma once

// The senders of one lane, one for each platform of a hub that has a credential, with the window
// that bounds what the fan-out has handed to each. A sender is opened when it is first asked for
// and replaced when its hub changes; what it had then comes back as not sent. One loop only.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "hub/device/hubs.hpp"
#include "hub/process/config.hpp"
#include "hub/send/provider_health.hpp"
#include "hub/send/push_window.hpp"
#include "pns/bearer.hpp"
#include "pns/nursery.hpp"
#include "pns/sender.hpp"

namespace hub {

/// Stored credentials that do not open and are in the log. Thread-safe.
class BrokenCredentials {
  public:
    /// False: it was told before, and has not changed since.
    bool is_news(std::uint32_t hub, std::size_t platform) {
        std::lock_guard lock(mutex_);
        return told_.emplace(hub, platform).second;
    }
    void forget(std::uint32_t hub) {
        std::lock_guard lock(mutex_);
        std::erase_if(told_, [hub](const auto& one) { return one.first == hub; });
    }

  private:
    std::mutex mutex_;
    std::set<std::pair<std::uint32_t, std::size_t>> told_;
};

/// What the senders of all lanes are made of. All of it outlives them.
struct SenderParts {
    Hubs& hubs;
    const Config& config;
    pns::BearerCache& bearers;
    const pns::Network& network;
    BrokenCredentials& broken;
    ProviderHealth& health;
};

class LaneSenders {
  public:
    /// The sender of one (hub, platform) and what bounds it. The slot stays, the sender may be
    /// replaced: `epoch` counts them, and what one has prepared is not for another.
    struct Slot {
        Slot(pns::Executor executor, std::size_t pushes_max) : window(executor, pushes_max) {}
        PushWindow window;
        std::unique_ptr<pns::Sender> sender;  ///< null: no usable credential, or stopping
        std::uint64_t epoch = 0;
        bool broken = false;  ///< the stored credential does not open; until forget()
    };
    /// A door of a sender is open again (pns::Sender::on_open), or with door 0 the sender is new.
    using Opened = std::function<void(std::uint32_t hub, std::size_t platform, std::uint32_t door)>;

    LaneSenders(boost::asio::io_context& loop, SenderParts parts, Opened opened);

    /// The platform through which registrations of `platform` are served: itself but for gcm behind
    /// the alias.
    std::size_t serving(std::size_t platform) const;
    /// Of the serving platform. Opens its sender if there may be one.
    Slot& slot(std::uint32_t hub, std::size_t platform);
    /// The hub has changed: its senders end, and new ones take their place when they are needed.
    void forget(std::uint32_t hub);
    /// Takes back what waits of one send: its walks `owner`, its pushes `flow` of this hub.
    void withdraw(const void* owner, std::uint32_t hub, std::uint32_t flow);
    /// No sender is opened from now on, and nobody waits for a window.
    void close();
    /// After close(): what was never sent comes back at once, what is with the provider gets
    /// `drain_ms`.
    pns::Task<void> stop(std::int64_t drain_ms);
    /// Ends everything that still runs. Last call but for the destructor.
    pns::Task<void> join();

  private:
    void open(Slot& slot, std::uint32_t hub, std::size_t platform);
    pns::Task<void> retire(std::unique_ptr<pns::Sender> sender);

    boost::asio::io_context& loop_;
    const SenderParts parts_;
    const Opened opened_;
    bool closed_ = false;
    std::map<std::pair<std::uint32_t, std::size_t>, std::unique_ptr<Slot>> slots_;
    pns::Nursery nursery_;
};

}  // namespace hub
