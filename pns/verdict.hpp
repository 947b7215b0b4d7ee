#pragma once

// What became of one push that was handed to a sender: a sum type without a default. Only an answer
// of the provider is an Accepted, Dead, Suspect, Refused or RetryLater; a push that never left this
// process is NotSent and nothing else. Pure values, any thread.
//
// `reason` is the provider's word or ours: at most 200 bytes, printable, never a handle or a
// secret.

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>

namespace pns {

/// Final states of one device in one send, by ANH's names (docs/contracts/anh.md 6.2); `unknown` is
/// PushHub's own (at-most-once after a lost connection).
enum class Outcome : std::uint8_t {
    success,
    abandoned,
    bad_channel,
    channel_disconnected,
    channel_throttled,
    dropped,
    expired_channel,
    invalid_credentials,
    invalid_notification_format,
    invalid_notification_size,
    no_targets,
    pns_interface_error,
    pns_server_error,
    pns_unavailable,
    pns_unreachable,
    skipped,
    throttled,
    token_provider_interface_error,
    token_provider_unreachable,
    invalid_token,
    wrong_token,
    wrong_channel,
    refresh_token,
    unknown_error,
    unknown,
};
std::string_view outcome_name(
    Outcome outcome);  ///< "Success", "AbandonedNotificationMessages", ...

/// The provider took the push.
struct Accepted {
    std::string provider_id{};  ///< the provider's id of the message, if it gave one
    std::string new_handle{};   ///< the provider renamed the handle
};

/// The provider says that the handle is dead.
struct Dead {
    Outcome outcome;
    std::string reason;
    /// Retire only registrations older than this.
    std::int64_t dead_since_ms = std::numeric_limits<std::int64_t>::max();
};

/// Counts against the handle, and may be a fault of the configuration.
struct Suspect {
    Outcome outcome;
    std::string reason;
};

/// The provider will not take the push, now or later. Of the push itself (a header, its body, its
/// handle), or of the credential: then every push of it would be refused.
struct Refused {
    Outcome outcome;
    std::string reason;
    bool of_credential = false;
    /// Of the credential, but while this push was with the sender the provider took others of it.
    bool others_taken = false;
};

/// The provider answered that the push may come again. `of_provider`: the provider is unwell or
/// throttles more than this push, so that the answer says nothing about this push.
struct RetryLater {
    Outcome outcome;  ///< what the push is counted as if it may not come again
    std::string reason;
    std::int64_t after_ms = 0;  ///< the provider's wish; 0 = none
    bool of_provider = false;
};

/// Written and never answered: the provider may have taken it. The mode of the send decides.
struct NoAnswer {
    std::string reason;
    /// The push itself seems to be the cause: nothing else was lost with it, and others were
    /// answered since an answer was last lost there.
    bool own_fault = false;
};

/// Never left this process: no attempt was made, and it may come again at any time.
struct NotSent {
    /// What the push is counted as if its time runs out; without a word about it, never a success.
    Outcome outcome = Outcome::abandoned;
    std::string reason{};
    std::int64_t after_ms = 0;  ///< not worth trying before
    /// What it waits for, as Sender::on_open tells it; 0 = for time only.
    std::uint32_t door = 0;
};

struct Verdict : std::variant<Accepted, Dead, Suspect, Refused, RetryLater, NoAnswer, NotSent> {
    using Kinds = std::variant<Accepted, Dead, Suspect, Refused, RetryLater, NoAnswer, NotSent>;
    using Kinds::variant;
    Verdict() = delete;

    /// Names of the alternatives, in their order.
    enum class Kind : std::uint8_t {
        accepted,
        dead,
        suspect,
        refused,
        retry_later,
        lost,  ///< NoAnswer
        not_sent,
    };
    Kind kind() const { return static_cast<Kind>(index()); }
    template <class Kind>
    bool is() const {
        return std::holds_alternative<Kind>(*this);
    }
    template <class Kind>
    const Kind* get() const {
        return std::get_if<Kind>(static_cast<const Kinds*>(this));
    }
    template <class Kind>
    Kind* get() {
        return std::get_if<Kind>(static_cast<Kinds*>(this));
    }
    /// The provider refuses the credential, not this push.
    bool blames_credential() const {
        const auto* refused = get<Refused>();
        return refused != nullptr && refused->of_credential;
    }
    /// What a device is counted as whose push ends with this.
    Outcome outcome() const;
    std::string_view reason() const;  ///< empty for one that was taken
};

}  // namespace pns
