#pragma once

// The provider-specific half of a sender: pure functions over one opened credential. Only
// pns/<name>.cpp implements them; pns/sender.cpp drives them and knows no provider. Immutable after
// opening; any thread.

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "pns/platform.hpp"
#include "pns/push.hpp"
#include "pns/sender_settings.hpp"
#include "pns/task.hpp"

namespace pns {

/// A Message encoded for one credential. `head + encoded handle + tail` is the body when the handle
/// stands in it.
class Prepared {
  public:
    Headers headers;  ///< fixed request headers, names lower case, without authorization
    std::shared_ptr<const std::string> body;  ///< whole body, when the handle is not in it
    std::string body_head, body_tail;         ///< else these two around the JSON-escaped handle
    std::int64_t expires_at_ms = std::numeric_limits<std::int64_t>::max();
    /// For which of the credential's apps it is, where that stands in the message; else empty. What
    /// a provider says of the handles of one app says nothing of those of another.
    std::string app;
};

/// One request, built into buffers that are reused from push to push. Views into it stay valid
/// until the next encode.
struct Encoded {
    std::string path;
    Headers headers;   ///< only those that differ from push to push
    std::string body;  ///< empty = Prepared::body
};

/// host:port of an https origin, as the provider is addressed (before Network::connect_to).
struct Origin {
    std::string host;
    std::uint16_t port = 443;
    friend auto operator<=>(const Origin&, const Origin&) = default;
};

/// How a credential proves itself on each request.
struct NoToken {};
/// Signed here (APNs ES256): `mint(now_s)` signs a token good until `life_s` later; renewed at
/// `renew_s`.
struct SelfSigned {
    std::function<Result<std::string>(std::int64_t now_s)> mint;
    std::int64_t renew_s = 50 * 60, life_s = 60 * 60;
    std::int64_t renew_s_min = 20 * 60;  ///< not more often than this, whatever happens
};
/// Fetched from a token endpoint (FCM, WNS, ADM): POST of a form; the answer is OAuth JSON.
struct Fetched {
    Origin origin;
    std::string path;
    std::function<Result<std::string>(std::int64_t now_s)>
        form;  ///< application/x-www-form-urlencoded body
};
using TokenSource = std::variant<NoToken, SelfSigned, Fetched>;

/// What the sender does with an answer (docs/contracts/pns.md 0).
struct Judgement {
    enum class Step : std::uint8_t {
        final,
        resend_now,
        reauthorise,
        earlier_token,  ///< the token changed too soon: the one before it may still be taken
    };
    Verdict verdict;  ///< used when step is final, or when it cannot be taken (again)
    Step step = Step::final;
    bool reconnect = false;                   ///< take this connection out of service
    std::int64_t throttle_credential_ms = 0;  ///< hold all pushes of this credential for so long
    std::int64_t throttle_origin_ms = 0;      ///< hold all its pushes to this origin for so long
    /// The answer does not say whether it means this target or all: hold the credential (the origin
    /// if tokens_per_origin) for so long if several targets get it within a short time.
    std::int64_t throttle_if_many_ms = 0;
};

struct Answer {
    int status = 0;
    std::span<const std::pair<std::string_view, std::string_view>> headers;  ///< names lower case
    std::string_view body;                                                   ///< capped
    bool body_cut = false;
    std::int64_t now_ms = 0;                               ///< when it was read, by the wall clock
    std::int64_t steady_ms = 0;                            ///< and by the steady one
    std::string_view header(std::string_view name) const;  ///< first value, or empty
};

class Account {
  public:
    enum class Protocol : std::uint8_t { h2, h1 };
    /// Who names the host that is connected to. A handle that names it came from a client, so only
    /// public addresses are connected to.
    enum class Hosts : std::uint8_t {
        fixed,         ///< the provider
        channel,       ///< the handle; it must pass Network::wns_hosts
        subscription,  ///< the handle; it must pass Network::push_services
    };
    virtual ~Account() = default;
    virtual const Platform& platform() const = 0;
    virtual Protocol protocol() const = 0;
    virtual bool starts_with_one_stream() const { return false; }  ///< APNs token authentication
    /// An h2 account that takes HTTP/1.1 from an origin that does not choose h2 by ALPN.
    virtual bool falls_back_to_h1() const { return false; }
    virtual Hosts hosts() const { return Hosts::fixed; }
    /// Each origin has its own token, which must be SelfSigned, and its own halt (VAPID); else the
    /// credential has one of both.
    virtual bool tokens_per_origin() const { return false; }
    virtual TokenSource token_source() const = 0;
    /// Key under which all loops share the token: equal for equal team/key or project; holds no
    /// secret in clear.
    virtual std::string token_key() const = 0;
    /// The two for one origin, when tokens_per_origin().
    virtual TokenSource token_source_for(const Origin&) const { return token_source(); }
    virtual std::string token_key_for(const Origin&) const { return token_key(); }
    /// What the provider counts its rate by: the project, the application; holds no secret in
    /// clear.
    virtual std::string rate_key() const { return token_key(); }
    /// PEM chain and key of a client certificate, for APNs certificate authentication; empty =
    /// none.
    virtual std::pair<std::string, std::string> client_certificate() const { return {}; }
    virtual Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const = 0;
    /// The origin to which pushes of a handle go. Its host is empty if the handle no longer passes
    /// the rule for handles.
    virtual Origin origin(std::string_view handle) const = 0;
    /// The `authorization` value for a token.
    virtual std::string authorization(std::string_view token) const {
        return "Bearer " + std::string(token);
    }
    virtual void encode(const Push& push, Encoded& out) const = 0;
    virtual Judgement judge(const Push& push, const Answer& answer) const = 0;
};

/// Opens a credential that passed Platform::check_credential.
Checked<std::unique_ptr<Account>> open_account(const Credential& credential);

/// Defaults of docs/contracts/pns.md 11 for a platform name.
SenderSettings default_settings(std::string_view platform);

}  // namespace pns
