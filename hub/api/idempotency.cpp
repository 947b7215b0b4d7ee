// Tested by tests/hub_idempotency_test.cpp.

#include "hub/api/idempotency.hpp"

#include "hub/access/sas.hpp"
#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/problem.hpp"
#include "hub/process/log.hpp"
#include "hub/process/metrics.hpp"
#include "hub/process/shares.hpp"

namespace hub {

namespace {

constexpr std::string_view replayed_header = "Idempotency-Replayed";

Response replay(const registry::KeptAnswer& answer) {
    Response response;
    response.status = answer.status;
    response.headers = answer.headers;
    response.headers.emplace_back(std::string(replayed_header), "true");
    response.body = answer.body;
    return response;
}

Response at_work(const Request& request) {
    Response response = problem(request, 409, "idempotency-key-in-use",
                                "A request with this Idempotency-Key is still at work.");
    response.headers.emplace_back("Retry-After", "1");
    return response;
}

Response reused(const Request& request) {
    return problem(request, 422, "idempotency-key-reused",
                   "This Idempotency-Key was used for another request. Choose a new key for each "
                   "new request.");
}

/// Empty: one more answer may be kept. Else why not. A rule gets no more of what its hub may have
/// than a hub of the whole, so that a key inside an app does not use up those of the back end.
std::string_view no_room(const Parts& parts, std::uint32_t hub, std::string_view scope) {
    const registry::AnswerUse use = parts.registry.answer_use(hub, scope);
    const std::uint64_t all = parts.config.idempotency_keys_max;
    if (use.all >= all) return "So many idempotency keys are kept that this one cannot be.";
    const std::uint64_t of_hub =
        share_of(all, use.all - use.hub, share_rule(parts.config, parts.hubs)());
    if (use.hub >= of_hub)
        return "So many idempotency keys of this hub are kept that it has its own share of all.";
    const std::uint64_t others = use.hub - use.scope;
    const ShareRule of_rules{parts.config.hub_share_percent, rules_max};
    if (use.scope >= share_of(of_hub, others, of_rules))
        return "So many idempotency keys of this access rule are kept that it has its own share "
               "of its hub's.";
    return {};
}

bool succeeded(const Response& response) {
    return response.status >= 200 && response.status < 300;
}

}  // namespace

registry::KeptAnswer Once::answer(const Response& response) const {
    registry::KeptAnswer kept = answer_;
    kept.status = static_cast<std::uint16_t>(response.status);
    kept.headers = response.headers;
    kept.body = response.body;
    return kept;
}

registry::KeptAnswer Once::plan(std::string id) const {
    registry::KeptAnswer kept = answer_;
    kept.body = std::move(id);
    return kept;
}

Idempotency::Claim::Claim(Idempotency& owner, std::string name)
    : owner_(owner), name_(std::move(name)) {
    const std::lock_guard lock(owner_.mutex_);
    held_ = owner_.names_.insert(name_).second;
}

Idempotency::Claim::~Claim() {
    if (!held_) return;
    const std::lock_guard lock(owner_.mutex_);
    owner_.names_.erase(name_);
}

std::size_t Idempotency::at_work() const {
    const std::lock_guard lock(mutex_);
    return names_.size();
}

pns::Task<Response> answer_once(Call call, Handler handler) {
    const Request& request = call.request;
    Parts& parts = call.parts;
    const std::uint32_t hub = call.hub->row.number;
    auto key = read_idempotency_key(request);
    if (!ok(key)) co_return problem(request, std::get<Refusal>(key), "idempotency-key-invalid");
    registry::KeptAnswer wanted;
    wanted.scope = rule_named_in(request.header("authorization"));
    wanted.key = std::get<std::string>(std::move(key));
    wanted.fingerprint = request_fingerprint(request);
    wanted.kept_at_ms = request.received_at_ms;
    wanted.expires_at_ms = request.received_at_ms + parts.config.idempotency_kept_s * 1'000;

    const Idempotency::Claim claim(parts.idempotency,
                                   std::to_string(hub) + '\n' + wanted.scope + '\n' + wanted.key);
    if (!claim) co_return at_work(request);
    // A claim is released only when the answer is on disk, so that one of both is always seen.
    const auto look = [&parts, hub, &wanted] {
        return parts.registry.kept_answer(hub, wanted.scope, wanted.key);
    };
    auto first_look = look;
    const auto found = co_await on_store(parts.store, std::move(first_look));
    if (!found && found.error() != registry::errc::not_found)
        co_return problem(request, found.error(), "");
    const bool known = found && found->expires_at_ms > request.received_at_ms;
    if (known && found->fingerprint != wanted.fingerprint) co_return reused(request);
    if (known && found->status != 0) co_return replay(*found);
    const std::string_view full_why = known ? "" : no_room(parts, hub, wanted.scope);
    if (!full_why.empty()) {
        parts.metrics.limited("idempotency");
        Response full = problem(request, 429, "too-many-idempotency-keys", full_why);
        full.headers.emplace_back("Retry-After", "60");
        co_return full;
    }
    Once once(wanted, known ? found->body : std::string());
    call.once = &once;
    Response response = co_await handler(std::move(call));
    if (succeeded(response)) {
        if (once.is_kept()) co_return response;
        auto keep = [&parts, hub, &once, &response](registry::Done<void> done) {
            parts.registry.keep_answer(hub, once.answer(response), std::move(done));
        };
        const auto kept = co_await committed<void>(std::move(keep));
        if (!kept) {
            log_warn("an answer was not kept under its idempotency key",
                     {{"what", kept.error().message()}, {"tracking_id", request.tracking_id}});
        }
        co_return response;
    }
    // An attempt that was cut off may have come first after all.
    auto second_look = look;
    const auto other = co_await on_store(parts.store, std::move(second_look));
    if (other && other->status != 0 && other->expires_at_ms > request.received_at_ms &&
        other->fingerprint == wanted.fingerprint) {
        co_return replay(*other);
    }
    co_return response;
}

}  // namespace hub
