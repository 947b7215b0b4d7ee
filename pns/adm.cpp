// Amazon Device Messaging: docs/contracts/pns.md 4. Tested by tests/pns_adm_test.cpp.
//
// The account holds endpoint and login; prepare() checks a body once for all devices, encode()
// puts one device's path and identity to it, judge() reads the answer. An id that Amazon renames
// comes back as the new handle of an accepted push. Pure but for the login, which pns/bearer.cpp
// carries out; any loop.
#include <array>
#include <nlohmann/json.hpp>

#include "pns/answers.hpp"
#include "pns/json_walk.hpp"
#include "pns/jwt.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

constexpr std::size_t body_bytes_max = 6144;
/// What a consolidation key of ours adds to a body: its name, quotes and 22 characters.
constexpr std::size_t own_key_bytes = 44;
constexpr std::int64_t rate_pause_ms = 60'000;
constexpr std::string_view token_url = "https://api.amazon.com/auth/O2/token";
constexpr std::string_view send_template =
    "https://api.amazon.com/messaging/registrations/{0}/messages";
constexpr std::string_view place = "{0}";

enum class Rule {
    prune_bad,
    prune_gone,
    drop,
    drop_size,
    drop_interface,
    reauthorise,
    throttle,
    throttle_perhaps,
    retry
};
struct Row {
    int status;
    std::string_view reason;
    Rule rule;
};
// docs/contracts/pns.md 4.3. An empty reason stands for any that is not listed above it.
constexpr std::array<Row, 13> rows = {{
    {400, "InvalidRegistrationId", Rule::prune_bad},
    {400, "Unregistered", Rule::prune_gone},
    {400, "InvalidData", Rule::drop},
    {400, "InvalidConsolidationKey", Rule::drop},
    {400, "InvalidExpiration", Rule::drop},
    {400, "InvalidChecksum", Rule::drop_interface},
    {400, "InvalidType", Rule::drop_interface},
    {401, "", Rule::reauthorise},
    {413, "", Rule::drop_size},
    {429, "MaxRateExceeded", Rule::throttle},
    {429, "", Rule::throttle_perhaps},
    {500, "", Rule::retry},
    {503, "", Rule::retry},
}};

class Adm final : public Account {
  public:
    struct Setup {
        Url token;
        Origin origin;
        std::string path_head, path_tail;  ///< around the registration id
        std::string client_id, client_secret;
    };
    explicit Adm(Setup setup) : setup_(std::move(setup)) {}

    const Platform& platform() const override { return *platform_by_name("adm"); }
    Protocol protocol() const override { return Protocol::h1; }

    TokenSource token_source() const override {
        return login_with(setup_.token, form_of({{"grant_type", "client_credentials"},
                                                 {"scope", "messaging:push"},
                                                 {"client_id", setup_.client_id},
                                                 {"client_secret", setup_.client_secret}}));
    }

    std::string token_key() const override {
        return login_key("adm", setup_.token, setup_.client_id, setup_.client_secret);
    }
    Origin origin(std::string_view) const override { return setup_.origin; }
    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const override;
    void encode(const Push& push, Encoded& out) const override;
    Judgement judge(const Push& push, const Answer& answer) const override;

  private:
    Setup setup_;
};

std::optional<Refusal> check_body(std::string_view body) {
    std::string fault;
    bool has_content = false;
    const bool valid = walk_json(body, [&](const JsonPlace& at, JsonKind kind, std::string_view) {
        if (!fault.empty()) return;
        if (at.depth == 0 && kind != JsonKind::object) {
            fault = R"(An ADM body must be a JSON object {"data":{…}}.)";
        } else if (at.is("data")) {
            has_content = true;
            if (kind != JsonKind::object) fault = "data must be an object of strings.";
        } else if (at.is("notification")) {
            has_content = true;
            if (kind != JsonKind::object) fault = "notification must be an object.";
        } else if (at.depth == 2 && at.keys[0] == "data" && kind != JsonKind::string) {
            fault = "All values of data must be strings.";
        } else if (at.is("expiresAfter") && kind != JsonKind::number) {
            fault = "expiresAfter must be a number of seconds.";
        } else if ((at.is("consolidationKey") || at.is("md5")) && kind != JsonKind::string) {
            fault = "consolidationKey and md5 must be strings.";
        }
    });
    if (fault.empty() && !valid) fault = "An ADM body must be valid JSON in UTF-8.";
    if (fault.empty() && !has_content) fault = "An ADM body must have data or notification.";
    if (!fault.empty()) return bad_format(std::move(fault));
    return std::nullopt;
}

bool has_consolidation_key(std::string_view body) {
    bool has = false;
    walk_json(body, [&](const JsonPlace& at, JsonKind, std::string_view) {
        has = has || at.is("consolidationKey");
    });
    return has;
}

Checked<std::shared_ptr<const Prepared>> Adm::prepare(const Message& message) const {
    if (message.target != Message::Target::device)
        return bad_format("ADM pushes go to devices only.");
    if (message.body.size() > body_bytes_max)
        return bad_size("The ADM body", message.body.size(), body_bytes_max);
    if (auto refusal = check_body(message.body)) return std::move(*refusal);
    auto prepared = std::make_shared<Prepared>();
    prepared->body = std::make_shared<const std::string>(message.body);
    const std::size_t begin = message.body.find('{') + 1;
    if (!has_consolidation_key(message.body) &&
        message.body.size() + own_key_bytes <= body_bytes_max) {
        prepared->body_head = message.body.substr(0, begin) + R"("consolidationKey":")";
        prepared->body_tail = "\"," + message.body.substr(begin);
    }
    prepared->expires_at_ms = message.expires_at_ms;
    prepared->headers = {
        {"content-type", "application/json"},
        {"accept", "application/json"},
        {"x-amzn-type-version", "com.amazon.device.messaging.ADMMessage@1.0"},
        {"x-amzn-accept-type", "com.amazon.device.messaging.ADMSendResult@1.0"},
    };
    return std::shared_ptr<const Prepared>(std::move(prepared));
}

void Adm::encode(const Push& push, Encoded& out) const {
    out.path = setup_.path_head;
    append_percent_encoded(out.path, push.handle);
    out.path += setup_.path_tail;
    out.headers.clear();
    out.body.clear();
    // A copy that is sent again after a lost answer replaces the first one, if that still waits.
    if (push.prepared->body_head.empty() || !has_identity(push)) return;
    out.body = push.prepared->body_head;
    out.body += identity_of(push);
    out.body += push.prepared->body_tail;
}

std::string text_member(std::string_view body, const char* name) {
    const auto object = nlohmann::json::parse(body, nullptr, false);
    if (!object.is_object()) return {};
    const auto member = object.find(name);
    return member != object.end() && member->is_string() ? member->get<std::string>()
                                                         : std::string();
}

Judgement follow(Rule rule, const Answer& answer, std::string reason) {
    switch (rule) {
        case Rule::prune_bad:
            return retired(Outcome::bad_channel, std::move(reason));
        case Rule::prune_gone:
            return retired(Outcome::expired_channel, std::move(reason));
        case Rule::drop:
            return refused(Outcome::invalid_notification_format, std::move(reason));
        case Rule::drop_size:
            return refused(Outcome::invalid_notification_size, std::move(reason));
        case Rule::drop_interface:
            return refused(Outcome::pns_interface_error, std::move(reason));
        case Rule::reauthorise:
            return unauthorised(std::move(reason));
        case Rule::throttle:
            return throttled(std::move(reason), retry_after_ms(answer, rate_pause_ms));
        case Rule::throttle_perhaps:
            return perhaps_throttled(std::move(reason), retry_after_ms(answer, rate_pause_ms));
        case Rule::retry:
            break;
    }
    return unlisted(answer, std::move(reason));
}

Judgement Adm::judge(const Push& push, const Answer& answer) const {
    if (answer.status == 200) {
        Judgement out = accepted(answer.header("x-amzn-requestid"));
        const std::string current = text_member(answer.body, "registrationID");
        auto checked = normalise_adm_handle(current);
        if (auto* handle = std::get_if<std::string>(&checked); handle && *handle != push.handle)
            out.verdict.get<Accepted>()->new_handle = std::move(*handle);
        return out;
    }
    const std::string word = text_member(answer.body, "reason");
    std::string reason = clean_reason(word, push.handle);
    if (reason.empty()) reason = "HTTP " + std::to_string(answer.status);
    for (const Row& row : rows)
        if (row.status == answer.status && (row.reason.empty() || row.reason == word))
            return follow(row.rule, answer, std::move(reason));
    return unlisted(answer, std::move(reason));
}

std::optional<Url> amazon_url(std::string_view text) {
    auto url = parse_url(text);
    if (!url || !url->secure || url->origin.port != 443 ||
        !within_domain(url->origin.host, "amazon.com"))
        return std::nullopt;
    return url;
}

}  // namespace

Checked<std::unique_ptr<Account>> open_adm(const Credential& credential) {
    if (auto refusal = missing_property(credential, {"ClientId", "ClientSecret"}))
        return std::move(*refusal);
    const auto given_token_url = property(credential, "AuthTokenUrl");
    const auto token = amazon_url(given_token_url.empty() ? token_url : given_token_url);
    if (!token) return bad_credential("AuthTokenUrl must be " + std::string(token_url) + ".");

    auto send = property(credential, "SendUrlTemplate");
    if (send.empty()) send = send_template;
    const std::size_t at = send.find(place);
    std::optional<Url> head;
    if (at != std::string_view::npos) head = amazon_url(send.substr(0, at));
    const std::string_view tail =
        at == std::string_view::npos ? std::string_view() : send.substr(at + place.size());
    if (!head || !is_printable(tail) || tail.size() > 512)
        return bad_credential("SendUrlTemplate must be " + std::string(send_template) + ".");

    Adm::Setup setup;
    setup.token = *token;
    setup.origin = head->origin;
    setup.path_head = head->target;
    setup.path_tail = tail;
    setup.client_id = property(credential, "ClientId");
    setup.client_secret = property(credential, "ClientSecret");
    if (!is_printable(setup.client_id) || setup.client_id.size() > 512 ||
        !is_printable(setup.client_secret) || setup.client_secret.size() > 512)
        return bad_credential("ClientId and ClientSecret must be printable and without spaces.");
    return std::unique_ptr<Account>(std::make_unique<Adm>(std::move(setup)));
}

}  // namespace pns
