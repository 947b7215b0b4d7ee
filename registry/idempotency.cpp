// Tested by tests/hub_idempotency_test.cpp.

#include "registry/idempotency.hpp"

#include <algorithm>
#include <vector>

#include "registry/changes.hpp"

namespace registry {
namespace {

std::optional<KeptAnswer> stored_answer(Transaction& tx, std::uint32_t hub, std::string_view scope,
                                        std::string_view key) {
    const auto bytes = tx.get(Family::ledger, answer_key(hub, scope, key));
    if (!bytes) return std::nullopt;
    auto answer = decode_answer(*bytes);
    if (!answer) {
        tx.set_fault(answer.error());
        return std::nullopt;
    }
    return std::move(*answer);
}

/// `before` goes and `after` comes; either may be null.
void count(Transaction& tx, std::uint32_t hub, const std::string& scope, const KeptAnswer* before,
           const KeptAnswer* after) {
    AnswerCounts& kept = tx.memory().answers[hub];
    kept.answers += after != nullptr ? 1 : 0;
    kept.answers -= before != nullptr ? 1 : 0;
    const std::uint64_t less = before != nullptr ? answer_units(*before) : 0;
    const std::uint64_t more = after != nullptr ? answer_units(*after) : 0;
    std::uint64_t& units = kept.units[scope];
    units = units + more - std::min(units + more, less);
    if (units == 0) kept.units.erase(scope);
    tx.memory().answers_changed.insert(hub);
    tx.batch().put(Family::meta, answer_count_key(hub), encode_count(kept.answers));
    tx.batch().put(Family::meta, answer_units_key(hub), encode_answer_counts(kept));
}

void put_answer(Transaction& tx, std::uint32_t hub, const KeptAnswer* before,
                const KeptAnswer& answer) {
    count(tx, hub, answer.scope, before, &answer);
    if (before != nullptr && before->expires_at_ms != answer.expires_at_ms) {
        tx.batch().erase(Family::ledger,
                         answer_expiry_key({before->expires_at_ms, hub, answer.scope, answer.key}));
    }
    tx.batch().put(Family::ledger, answer_key(hub, answer.scope, answer.key),
                   encode_answer(answer));
    tx.batch().put(Family::ledger,
                   answer_expiry_key({answer.expires_at_ms, hub, answer.scope, answer.key}),
                   encode_version());
}

/// Applies `change` and keeps the answer, or neither.
template <class T, class Apply>
Result<T> once(Transaction& tx, std::uint32_t hub, const KeptAnswer& answer, Apply&& change) {
    const auto before = stored_answer(tx, hub, answer.scope, answer.key);
    if (tx.fault()) return tx.fault();
    const bool waits_for_this =
        before && before->status == 0 && before->fingerprint == answer.fingerprint;
    if (before && !waits_for_this && before->expires_at_ms > answer.kept_at_ms)
        return make_error_code(errc::exists);
    Result<T> changed = change();
    if (changed && !tx.fault()) put_answer(tx, hub, before ? &*before : nullptr, answer);
    return changed;
}

}  // namespace

Result<void> accept_once(Transaction& tx, std::uint32_t hub,
                         const std::shared_ptr<const FrozenSend>& frozen, const Progress& progress,
                         const KeptAnswer& answer) {
    return once<void>(tx, hub, answer, [&] { return accept(tx, hub, frozen, progress); });
}

Result<Registration> put_registration_once(Transaction& tx, std::uint32_t hub,
                                           const Registration& value, const KeptAnswer& answer) {
    return once<Registration>(tx, hub, answer, [&]() -> Result<Registration> {
        RegistrationPut put(hub, value, {});
        if (const auto written = put_registration(tx, put); !written) return written.error();
        return std::move(put.value);
    });
}

Result<void> keep_answer(Transaction& tx, std::uint32_t hub, const KeptAnswer& answer) {
    if (tx.hub(hub) == nullptr) return make_error_code(errc::not_found);
    const auto before = stored_answer(tx, hub, answer.scope, answer.key);
    if (tx.fault()) return tx.fault();
    put_answer(tx, hub, before ? &*before : nullptr, answer);
    return {};
}

Result<std::size_t> expire_answers(Transaction& tx, std::int64_t now_ms, std::size_t count_max) {
    std::vector<AnswerExpiryKey> due;
    {
        const std::string prefix(1, static_cast<char>(LedgerKind::answer_expiry));
        const auto cursor = tx.batch().cursor(Family::ledger);
        for (cursor->seek(prefix); cursor->valid() && due.size() < count_max; cursor->next()) {
            if (!cursor->key().starts_with(prefix)) break;
            auto key = decode_answer_expiry_key(cursor->key());
            if (!key) tx.set_fault(key.error());
            if (!key || key->at_ms > now_ms) break;
            due.push_back(std::move(*key));
        }
        if (auto status = cursor->status(); !status) tx.set_fault(status.error());
    }
    for (const AnswerExpiryKey& key : due) {
        if (tx.fault()) return tx.fault();
        tx.batch().erase(Family::ledger, answer_expiry_key(key));
        if (tx.hub(key.hub) == nullptr) continue;  // its answers went with it
        const auto kept = stored_answer(tx, key.hub, key.scope, key.key);
        if (!kept || kept->expires_at_ms != key.at_ms) continue;
        tx.batch().erase(Family::ledger, answer_key(key.hub, key.scope, key.key));
        count(tx, key.hub, key.scope, &*kept, nullptr);
    }
    if (tx.fault()) return tx.fault();
    return due.size();
}

Result<KeptAnswer> read_answer(const View& view, std::uint32_t hub, std::string_view scope,
                               std::string_view key) {
    std::string bytes;
    const auto found = view.snapshot->get(Family::ledger, answer_key(hub, scope, key), bytes);
    if (!found) return found.error();
    if (!*found) return make_error_code(errc::not_found);
    auto answer = decode_answer(bytes);
    if (!answer) return answer.error();
    answer->scope = scope;
    answer->key = key;
    return answer;
}

}  // namespace registry
