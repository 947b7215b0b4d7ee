// Installations as JSON (docs/contracts/anh.md 4). Tested by tests/hub_service_test.cpp
// and tests/conformance/.

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/device/handle_check.hpp"
#include "hub/device/installation_json.hpp"
#include "hub/device/installation_patch.hpp"
#include "hub/device/tags.hpp"
#include "hub/http/responses.hpp"
#include "hub/process/turns.hpp"
#include "hub/text/times.hpp"

namespace hub {

namespace {

using registry::Installation;

constexpr std::string_view missing = "Installation not found";  // docs/contracts/anh.md 2.5
constexpr int patch_attempts_max = 64;                          // against writes of other kinds

BadTemplates bad_templates(const Call& call) {
    return call.parts.config.strict_templates ? BadTemplates::refused : BadTemplates::kept;
}

void set_expiry(const Call& call, Installation& installation) {
    const std::int64_t ttl = call.hub->description.registration_ttl_ms;
    if (ttl == registry::never_ms || installation.expires_at_ms != registry::never_ms) return;
    installation.expires_at_ms = call.request.received_at_ms + ttl;
}

/// default(DateTime), a clock that stands: an installation that has ended before it begins is lost
/// without a word.
std::optional<Refusal> check_expiry(const Request& request, std::int64_t expires_at_ms) {
    if (expires_at_ms >= request.received_at_ms - past_ms_max) return std::nullopt;
    return bad_request("The expirationTime " + iso_ms(expires_at_ms) +
                       " is more than a day past; leave it out for the default of the hub.");
}

pns::Task<registry::Result<Installation>> read(Call call, std::string id) {
    auto get = [&call, &id] { return call.parts.registry.installation(call.hub->row.number, id); };
    co_return co_await on_store(call.parts.store, std::move(get));
}

pns::Task<registry::Result<Installation>> write(Call call, Installation value,
                                                std::optional<std::uint64_t> expected) {
    value.updated_at_ms = call.request.received_at_ms;
    auto put = [&call, &value, expected](registry::Done<Installation> done) {
        call.parts.registry.put_installation(call.hub->row.number, std::move(value), expected,
                                             std::move(done));
    };
    co_return co_await committed<Installation>(std::move(put));
}

}  // namespace

pns::Task<Response> put_installation(Call call) {
    const Request& request = call.request;
    auto parsed = parse_installation(request.body, call.args.back(), call.parts.handle_rule,
                                     bad_templates(call));
    if (!ok(parsed)) co_return refused(request, std::get<Refusal>(parsed));
    Installation value = std::get<Installation>(std::move(parsed));
    if (auto refusal = check_expiry(request, value.expires_at_ms))
        co_return refused(request, *refusal);
    value.registered_at_ms = request.received_at_ms;
    set_expiry(call, value);
    const auto written = co_await write(call, std::move(value), std::nullopt);
    if (!written) co_return refused(request, written.error(), missing);
    Response response = empty_response(200);
    response.headers.emplace_back(
        "Content-Location",
        absolute_url(request, {call.hub->row.name, "installations", call.args.back()}));
    co_return response;
}

pns::Task<Response> patch_installation(Call call) {
    const Request& request = call.request;
    const std::string& id = call.args.back();
    std::string key = std::to_string(call.hub->row.number) + '/' + id;
    const auto turn = co_await call.parts.turns.enter(std::move(key));
    if (!turn) co_return busy(request, "Too many patches of this installation wait already.");
    // The patch is applied to what was read; if a device or a provider's answer changed it
    // meanwhile, it is read and applied again.
    for (int attempt = 0; attempt < patch_attempts_max; ++attempt) {
        const auto current = co_await read(call, id);
        if (!current) co_return refused(request, current.error(), missing);
        auto patched =
            patch_installation(*current, request.body, call.parts.handle_rule, bad_templates(call));
        if (!ok(patched)) co_return refused(request, std::get<Refusal>(patched));
        auto& change = std::get<PatchedInstallation>(patched);
        if (change.value.expires_at_ms != current->expires_at_ms) {
            if (auto refusal = check_expiry(request, change.value.expires_at_ms))
                co_return refused(request, *refusal);
        }
        if (change.push_channel_written) change.value.registered_at_ms = request.received_at_ms;
        const auto written = co_await write(call, std::move(change.value), current->version);
        if (written) co_return empty_response(200);
        if (written.error() != registry::errc::etag_mismatch)
            co_return refused(request, written.error(), missing);
    }
    co_return busy(request, "Others keep changing this installation.");
}

pns::Task<Response> get_installation(Call call) {
    const auto found = co_await read(call, call.args.back());
    if (!found) co_return refused(call.request, found.error(), missing);
    Response response;
    response.headers.emplace_back("Content-Type", "application/json; charset=utf-8");
    response.body = installation_json(*found);
    co_return response;
}

pns::Task<Response> delete_installation(Call call) {
    if (auto refusal = check_id("installation id", call.args.back()))
        co_return refused(call.request, *refusal);
    auto erase = [&call](registry::Done<bool> done) {
        call.parts.registry.erase_installation(call.hub->row.number, call.args.back(),
                                               std::move(done));
    };
    const auto erased = co_await committed<bool>(std::move(erase));
    if (!erased) co_return refused(call.request, erased.error(), missing);
    co_return empty_response(204);
}

}  // namespace hub
