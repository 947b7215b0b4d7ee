#include "hub/tally.hpp"

#include <cassert>
#include <string>
#include <utility>

namespace hub {

namespace {

std::size_t outcome_by_name(const std::string& name) {
    for (std::size_t o = 0; o < outcomes_count; ++o) {
        if (pns::outcome_name(static_cast<pns::Outcome>(o)) == name) return o;
    }
    return static_cast<std::size_t>(pns::Outcome::unknown_error);
}

}  // namespace

Tally::Tally(std::uint64_t audience, registry::Progress start)
    : audience_(audience), progress_(std::move(start)) {
    const auto& table = pns::platforms();
    assert(table.size() <= platforms_max);
    for (const auto& [key, count] : progress_.counts) {
        const pns::Platform* platform = pns::platform_by_name(key.first);
        const std::size_t p = platform ? static_cast<std::size_t>(platform - table.data()) : 0;
        counts_[p][outcome_by_name(key.second)] += static_cast<std::int64_t>(count);
    }
    for (const auto& done : progress_.done) final_ += done.cardinality();
}

bool Tally::add(Notes& notes) {
    std::lock_guard lock(mutex_);
    const bool was_complete = final_ == audience_;
    for (std::size_t p = 0; p < notes.done_.size(); ++p) {
        auto& numbers = notes.done_[p];
        if (numbers.empty()) continue;
        if (progress_.done.size() <= p) progress_.done.resize(p + 1);
        progress_.done[p].addMany(numbers.size(), numbers.data());
        numbers.clear();
    }
    for (std::size_t p = 0; p < platforms_max; ++p) {
        for (std::size_t o = 0; o < outcomes_count; ++o) {
            counts_[p][o] += notes.counts_[p][o];
            notes.counts_[p][o] = 0;
        }
    }
    final_ += notes.final_;
    notes.final_ = 0;
    notes.marked_ = 0;
    touched_ = true;
    assert(final_ <= audience_);
    return !was_complete && final_ == audience_;
}

void Tally::set_started(std::int64_t now_ms) {
    std::lock_guard lock(mutex_);
    if (progress_.started_at_ms == 0) progress_.started_at_ms = now_ms;
    if (progress_.state == registry::SendState::enqueued) {
        progress_.state = registry::SendState::processing;
    }
}

void Tally::set_abandoned() {
    std::lock_guard lock(mutex_);
    abandoned_ = true;
}

bool Tally::complete() const {
    std::lock_guard lock(mutex_);
    return final_ == audience_;
}

bool Tally::ended() const {
    std::lock_guard lock(mutex_);
    return registry::is_final(progress_.state);
}

bool Tally::take_touched() {
    std::lock_guard lock(mutex_);
    return std::exchange(touched_, false);
}

void Tally::touch() {
    std::lock_guard lock(mutex_);
    touched_ = true;
}

registry::Counts Tally::named_counts() const {
    registry::Counts named;
    const auto& table = pns::platforms();
    for (std::size_t p = 0; p < table.size(); ++p) {
        for (std::size_t o = 0; o < outcomes_count; ++o) {
            if (counts_[p][o] == 0) continue;
            assert(counts_[p][o] > 0);
            const auto name = pns::outcome_name(static_cast<pns::Outcome>(o));
            named[{std::string(table[p].name), std::string(name)}] =
                static_cast<std::uint64_t>(counts_[p][o]);
        }
    }
    return named;
}

registry::Progress Tally::snapshot(std::int64_t now_ms) {
    std::lock_guard lock(mutex_);
    if (final_ == audience_ && !registry::is_final(progress_.state)) {
        progress_.state =
            abandoned_ ? registry::SendState::abandoned : registry::SendState::completed;
        progress_.ended_at_ms = now_ms;
    }
    progress_.counts = named_counts();
    for (auto& done : progress_.done) done.runOptimize();
    return progress_;
}

registry::Progress Tally::summary() const {
    std::lock_guard lock(mutex_);
    registry::Progress summary;
    // The end is told by the ledger, once it and the pruning before it are on disk.
    const bool ended = registry::is_final(progress_.state);
    summary.state = ended ? registry::SendState::processing : progress_.state;
    summary.started_at_ms = progress_.started_at_ms;
    summary.counts = named_counts();
    return summary;
}

}  // namespace hub
