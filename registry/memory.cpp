// Rebuilds what the writer keeps in memory from the store: hubs, open sends, free device numbers.

#include "registry/reader.hpp"
#include "registry/transaction.hpp"

namespace registry {
namespace {

/// As they are stored; stores of before have no units, which are counted then.
Result<AnswerCounts> load_answers(const Snapshot& snapshot, std::uint32_t hub,
                                  std::uint64_t answers) {
    std::string bytes;
    const auto stored = snapshot.get(Family::meta, answer_units_key(hub), bytes);
    if (!stored) return stored.error();
    if (*stored) {
        auto counts = decode_answer_counts(bytes);
        if (!counts || counts->answers == answers) return counts;
    }
    AnswerCounts counts;
    counts.answers = answers;
    const std::string prefix = ledger_hub_prefix(LedgerKind::answer, hub);
    const auto cursor = snapshot.cursor(Family::ledger);
    for (cursor->seek(prefix); cursor->valid(); cursor->next()) {
        if (!cursor->key().starts_with(prefix)) break;
        auto scope = decode_answer_scope(cursor->key());
        if (!scope) return scope.error();
        const auto answer = decode_answer(cursor->value());
        if (!answer) return answer.error();
        counts.units[std::move(*scope)] += answer_units(*answer);
    }
    if (auto status = cursor->status(); !status) return status.error();
    return counts;
}

Result<void> load_hubs(const Snapshot& snapshot, Memory& memory) {
    auto hubs = std::make_shared<Hubs>();
    const auto cursor = snapshot.cursor(Family::meta);
    for (cursor->seek(hub_key_prefix); cursor->valid(); cursor->next()) {
        const std::string_view key = cursor->key();
        if (!key.starts_with(hub_key_prefix)) break;
        auto hub = decode_hub(cursor->value());
        if (!hub || key.size() != hub_key_prefix.size() + 4) return make_error_code(errc::corrupt);
        for (const char byte : key.substr(hub_key_prefix.size())) {
            hub->number = hub->number << 8 | static_cast<std::uint8_t>(byte);
        }
        std::string bytes;
        const auto counted = snapshot.get(Family::meta, count_key(hub->number), bytes);
        if (!counted) return counted.error();
        if (*counted) {
            const auto count = decode_count(bytes);
            if (!count) return count.error();
            memory.installations[hub->number] = *count;
        }
        const auto kept = snapshot.get(Family::meta, answer_count_key(hub->number), bytes);
        if (!kept) return kept.error();
        if (*kept) {
            const auto count = decode_count(bytes);
            if (!count) return count.error();
            auto counts = load_answers(snapshot, hub->number, *count);
            if (!counts) return counts.error();
            memory.answers[hub->number] = std::move(*counts);
        }
        const auto ended = snapshot.get(Family::meta, ended_bytes_key(hub->number), bytes);
        if (!ended) return ended.error();
        if (*ended) {
            const auto count = decode_count(bytes);
            if (!count) return count.error();
            memory.ended_bytes[hub->number] = *count;
        }
        const std::string name = fold(hub->name);
        hubs->names.emplace(hub->number, name);
        hubs->by_name.emplace(name, std::move(*hub));
    }
    memory.hubs = std::move(hubs);
    return cursor->status();
}

Result<void> load_open(const Snapshot& snapshot, Memory& memory) {
    return each_open(snapshot, *memory.hubs, [&memory](OpenRecord&& found) {
        OpenEntry entry;
        entry.state = found.progress.state;
        entry.selection_stored = std::move(found.selection_stored);
        entry.finished_stored = std::move(found.finished_stored);
        entry.failures_stored = found.failures_stored;
        entry.progress_stored = found.progress_stored;
        entry.mark = found.mark;
        entry.bytes = found.bytes;
        if (found.send.direct_handles.empty())
            entry.frozen = std::make_shared<std::vector<Bitmap>>(std::move(found.selection));
        ++memory.marks[found.mark];
        memory.open.emplace(std::pair{found.hub, std::move(found.send.id)}, std::move(entry));
    });
}

Result<void> load_numbers(const Snapshot& snapshot, const Memory* before, Memory& memory) {
    const auto cursor = snapshot.cursor(Family::postings, true);
    for (const auto& [name, hub] : memory.hubs->by_name) {
        std::uint64_t total = 0;
        for (std::uint16_t p = 0; p < hub.partitions; ++p) {
            const auto alive = read_posting(*cursor, internal_prefix(hub.number, p, alive_name));
            if (!alive) return alive.error();
            total += alive->cardinality();
            std::vector<const Bitmap*> frozen;
            for (const auto& [key, entry] : memory.open) {
                if (key.first == hub.number && entry.frozen && p < entry.frozen->size()) {
                    frozen.push_back(&(*entry.frozen)[p]);
                }
            }
            std::uint64_t used_below = 0;
            if (before != nullptr) {
                const auto old = before->numbers.find({hub.number, p});
                if (old != before->numbers.end()) used_below = old->second.used_below();
            }
            memory.numbers.insert_or_assign(
                {hub.number, p}, Numbers(*alive, frozen, used_below, memory.state.applied));
        }
        memory.registrations[hub.number] = total;
    }
    return {};
}

}  // namespace

Result<Memory> Memory::load(const Store& store, const Memory* before) {
    const auto snapshot = store.snapshot();
    Memory memory;
    std::string bytes;
    const auto found = snapshot->get(Family::meta, state_key, bytes);
    if (!found) return found.error();
    if (*found) {
        const auto state = decode_state(bytes);
        if (!state) return state.error();
        memory.state = *state;
    }
    const auto swept = snapshot->get(Family::meta, sweep_key, bytes);
    if (!swept) return swept.error();
    if (*swept) {
        auto state = decode_sweep(bytes);
        if (!state) return state.error();
        memory.sweep = std::move(*state);
    }
    // Positions given to changes of a failed batch are not given again: a selection may have seen
    // none of them, but numbers freed by them must not look older than its pin.
    if (before != nullptr && before->state.applied > memory.state.applied) {
        memory.state.applied = before->state.applied;
    }
    memory.arrivals.begin(memory.state.applied);
    if (auto hubs = load_hubs(*snapshot, memory); !hubs) return hubs.error();
    if (auto open = load_open(*snapshot, memory); !open) return open.error();
    if (auto numbers = load_numbers(*snapshot, before, memory); !numbers) return numbers.error();
    return memory;
}

}  // namespace registry
