#pragma once

// The one way in which a send begins: is there room, whom does it reach, may it reach as many, the
// record in the ledger, the first pushes. The handlers of sends, test sends, direct batches and
// scheduled sends come here, and so does what fires scheduled sends.
//
// Nothing is pushed for a send that the ledger does not have. One that it has goes out: here, or
// after a restart.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <variant>

#include "hub/device/hubs.hpp"
#include "hub/process/config.hpp"
#include "hub/process/loops.hpp"
#include "hub/send/audience_bounds.hpp"
#include "hub/send/device_results.hpp"
#include "hub/send/fanout.hpp"
#include "pns/clock.hpp"
#include "registry/registry.hpp"

namespace hub {

class Metrics;

/// Leaves the first `devices` of a selection.
void keep_first(registry::Selection& selection, std::size_t devices);

/// How a send says whom it reaches. A direct send names its handles and is refused without: it must
/// never fall back to the empty expression, which reaches everybody.
enum class Reach : std::uint8_t { expression, handles };

/// A send that is to begin, and who listens.
struct NewSend {
    std::shared_ptr<const HubState> hub;
    registry::Send send;
    AudienceBounds bounds{};
    Reach reach = Reach::expression;
    /// Only the first so many of whom it reaches get it.
    std::size_t devices_max = std::numeric_limits<std::size_t>::max();
    std::optional<registry::KeptAnswer> answer{};  ///< kept in the same batch as the send
    std::shared_ptr<DeviceResults> results{};      ///< this and the next: as Fanout::start
    std::function<void()> ended{};                 ///< never called if nobody is reached
};

/// Serves all lanes; any loop.
class Admission {
  public:
    /// All outlive it.
    struct Parts {
        StorePool& store;
        registry::Registry& registry;
        Fanout& fanout;
        Metrics& metrics;
        const Config& config;
        const pns::Clock& clock;
    };
    /// Why nothing has happened: no room, an expression that is wrong, an audience that the send
    /// may not reach, a fault of the store.
    using Declined =
        std::variant<Fanout::Busy, Refusal, AudienceRefusal, boost::system::error_code>;
    /// The send as it is in the ledger.
    using Outcome = std::variant<std::shared_ptr<const registry::FrozenSend>, Declined>;

    explicit Admission(Parts parts) : parts_(parts) {}

    /// Takes up a send and starts it. errc::exists: the ledger has it, and not as scheduled, or
    /// `answer` is kept already.
    pns::Task<Outcome> accept(NewSend wanted);
    /// Takes up a send that waits for its time. Its bounds are held against whom it would reach
    /// now.
    pns::Task<Outcome> schedule(NewSend wanted);

  private:
    using Selected = std::variant<registry::Selection, Declined>;

    /// Whom the send reaches, if it may reach them all.
    pns::Task<Selected> select(const NewSend& wanted);
    pns::Task<Outcome> record(NewSend& wanted, registry::Selection selection,
                              registry::Progress progress);

    Parts parts_;
};

}  // namespace hub
