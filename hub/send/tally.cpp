// Tested by tests/hub_tally_test.cpp.
//
// Two sets of figures: those of now, which lanes add to and snapshots are made of, and those that
// are told, which written() replaces when the ledger has them. Lanes, handlers and the writer's
// thread call in; one mutex is held for the length of a call. A device that is marked before its
// push (at most once) counts as Unknown until settle() puts the outcome in its place.

#include "hub/send/tally.hpp"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

namespace hub {

pns::Outcome outcome_by_name(std::string_view name) {
    for (std::size_t o = 0; o < outcomes_count; ++o) {
        const auto outcome = static_cast<pns::Outcome>(o);
        if (pns::outcome_name(outcome) == name) return outcome;
    }
    return pns::Outcome::unknown_error;
}

std::uint64_t never_out_of(const registry::Progress& progress) {
    if (progress.never_out) return *progress.never_out;
    std::uint64_t sum = 0;
    for (const auto& [key, count] : progress.counts) {
        const pns::Outcome outcome = outcome_by_name(key.second);
        if (outcome == pns::Outcome::abandoned || outcome == pns::Outcome::skipped) sum += count;
    }
    return sum;
}

Tally::Tally(std::uint64_t audience, registry::Progress start)
    : audience_(audience), progress_(std::move(start)) {
    progress_.never_out = never_out_of(progress_);
    const auto& table = pns::platforms();
    for (const auto& [key, count] : progress_.counts) {
        const pns::Platform* platform = pns::platform_by_name(key.first);
        const std::size_t p = platform ? static_cast<std::size_t>(platform - table.data()) : 0;
        counts_.add(p, outcome_by_name(key.second), static_cast<std::int64_t>(count));
    }
    for (const auto& numbers : progress_.finished) final_ += numbers.cardinality();
    for (const auto& [bucket, count] : progress_.latency) {
        if (bucket < latency_buckets) latency_[bucket] = count;
    }
    progress_.audience = audience;
    told_ = std::make_shared<const Told>(Told{figures(), changes_});
}

void Tally::changed() {
    touched_ = true;
    ++changes_;
}

bool Tally::add(Notes& notes) {
    std::lock_guard lock(mutex_);
    const bool was_complete = final_ == audience_;
    const bool was_there = final_ >= goal_;
    // First what was taken back: it may have been marked again since, never the other way round.
    for (std::size_t p = 0; p < notes.unfinished_.size(); ++p) {
        for (const std::uint32_t number : notes.unfinished_[p])
            progress_.finished[p].remove(number);
        notes.unfinished_[p].clear();
    }
    for (std::size_t p = 0; p < notes.finished_.size(); ++p) {
        auto& numbers = notes.finished_[p];
        if (numbers.empty()) continue;
        if (progress_.finished.size() <= p) progress_.finished.resize(p + 1);
        progress_.finished[p].addMany(numbers.size(), numbers.data());
        numbers.clear();
    }
    for (const auto& [platform, outcome, count] : notes.counts_.entries())
        counts_.add(platform, outcome, count);
    notes.counts_.clear();
    for (const auto& [platform, outcome, count] : notes.open_.entries())
        open_.add(platform, outcome, count);
    notes.open_.clear();
    final_ += notes.final_;
    notes.final_ = 0;
    *progress_.never_out += std::exchange(notes.never_out_, 0);
    notes.marked_ = 0;
    if (notes.last_push_ms_ != 0) {
        if (progress_.first_push_ms == 0) progress_.first_push_ms = notes.first_push_ms_;
        progress_.last_push_ms = std::max(progress_.last_push_ms, notes.last_push_ms_);
        notes.first_push_ms_ = notes.last_push_ms_ = 0;
    }
    for (std::size_t b = 0; b < latency_buckets; ++b) {
        latency_[b] += notes.latency_[b];
        notes.latency_[b] = 0;
    }
    changed();
    assert(final_ <= audience_);
    return (!was_complete && final_ == audience_) || (!was_there && final_ >= goal_);
}

void Tally::set_goal(std::uint64_t devices) {
    std::lock_guard lock(mutex_);
    goal_ = devices;
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
    progress_.gave_up = true;
}

bool Tally::apply(SendEvent event, std::int64_t now_ms) {
    std::lock_guard lock(mutex_);
    const auto next = next_state(progress_.state, event);
    if (!next) return false;
    const bool waits = *next == registry::SendState::held || *next == registry::SendState::paused;
    if (!waits) progress_.waits_since_ms = 0;
    if (waits && progress_.waits_since_ms == 0) progress_.waits_since_ms = now_ms;
    progress_.state = *next;
    changed();
    return true;
}

void Tally::set_released() {
    std::lock_guard lock(mutex_);
    progress_.released = true;
    changed();
}

void Tally::set_deadline(std::int64_t deadline_ms) {
    std::lock_guard lock(mutex_);
    progress_.deadline_ms = deadline_ms;
    changed();
}

void Tally::note_pace(std::int64_t steady_ms) {
    constexpr std::int64_t apart_ms = 500;
    std::lock_guard lock(mutex_);
    const Sample& last = pace_[(pace_next_ + pace_.size() - 1) % pace_.size()];
    if (steady_ms - last.at_ms < apart_ms) return;
    pace_[pace_next_] = {steady_ms, final_};
    pace_next_ = (pace_next_ + 1) % pace_.size();
}

double Tally::rate_per_s() const {
    std::lock_guard lock(mutex_);
    const Sample& last = pace_[(pace_next_ + pace_.size() - 1) % pace_.size()];
    const Sample* first = &last;
    for (const Sample& sample : pace_) {
        if (sample.at_ms != 0 && sample.at_ms < first->at_ms) first = &sample;
    }
    if (first->at_ms >= last.at_ms) return 0;
    return static_cast<double>(last.final_devices - first->final_devices) * 1'000 /
           static_cast<double>(last.at_ms - first->at_ms);
}

bool Tally::is_done(std::uint16_t partition, std::uint32_t number) const {
    std::lock_guard lock(mutex_);
    return partition < progress_.finished.size() && progress_.finished[partition].contains(number);
}

std::uint64_t Tally::final_devices() const {
    std::lock_guard lock(mutex_);
    return final_;
}

registry::SendState Tally::state() const {
    std::lock_guard lock(mutex_);
    return progress_.state;
}

bool Tally::released() const {
    std::lock_guard lock(mutex_);
    return progress_.released;
}

std::int64_t Tally::waits_since_ms() const {
    std::lock_guard lock(mutex_);
    return progress_.waits_since_ms;
}

bool Tally::goal_reached() const {
    std::lock_guard lock(mutex_);
    return goal_ != 0 && final_ >= goal_;
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

registry::Counts Tally::named(const OutcomeCounts& counts) {
    registry::Counts all;
    const auto& table = pns::platforms();
    for (const auto& [platform, outcome, count] : counts.entries()) {
        if (count == 0) continue;
        assert(count > 0);
        all[{std::string(table[platform].name), std::string(pns::outcome_name(outcome))}] =
            static_cast<std::uint64_t>(count);
    }
    return all;
}

std::map<std::uint8_t, std::uint64_t> Tally::latency_counts() const {
    std::map<std::uint8_t, std::uint64_t> counts;
    for (std::size_t b = 0; b < latency_buckets; ++b) {
        if (latency_[b] != 0) counts[static_cast<std::uint8_t>(b)] = latency_[b];
    }
    return counts;
}

Tally::Snapshot Tally::snapshot(std::int64_t now_ms, bool may_end) {
    std::lock_guard lock(mutex_);
    if (may_end && final_ == audience_ && !registry::is_final(progress_.state)) {
        const auto end = next_state(
            progress_.state, progress_.gave_up ? SendEvent::all_given_up : SendEvent::all_final);
        assert(end.has_value());
        progress_.state = *end;
        progress_.ended_at_ms = now_ms;
        progress_.waits_since_ms = 0;
    }
    progress_.counts = named(counts_);
    progress_.latency = latency_counts();
    for (auto& numbers : progress_.finished) numbers.runOptimize();
    Snapshot out{progress_, nullptr};
    if (!registry::is_final(progress_.state))
        out.told = std::make_shared<const Told>(Told{figures(), changes_});
    return out;
}

void Tally::written(std::shared_ptr<const Told> told) {
    std::lock_guard lock(mutex_);
    if (told && told->changes >= told_->changes) told_ = std::move(told);
}

registry::Progress Tally::summary() const {
    std::lock_guard lock(mutex_);
    return told_->figures;
}

bool Tally::told_all() const {
    std::lock_guard lock(mutex_);
    return told_->changes == changes_;
}

registry::Progress Tally::figures() const {
    registry::Progress summary;
    summary.state = progress_.state;
    summary.started_at_ms = progress_.started_at_ms;
    OutcomeCounts final_only = counts_;
    for (const auto& [platform, outcome, count] : open_.entries())
        final_only.add(platform, outcome, -count);
    summary.counts = named(final_only);
    summary.audience = audience_;
    summary.first_push_ms = progress_.first_push_ms;
    summary.last_push_ms = progress_.last_push_ms;
    summary.waits_since_ms = progress_.waits_since_ms;
    summary.deadline_ms = progress_.deadline_ms;
    summary.released = progress_.released;
    summary.gave_up = progress_.gave_up;
    summary.never_out = progress_.never_out;
    summary.latency = latency_counts();
    return summary;
}

}  // namespace hub
