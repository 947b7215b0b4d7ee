// Tested by tests/hub_attempts_test.cpp and tests/hub_outage_test.cpp.

#include "hub/send/attempt_counts.hpp"

#include <algorithm>

#include "pns/answers.hpp"
#include "pns/platform.hpp"

namespace hub {

std::string_view refusal_label(const pns::Verdict& verdict) {
    if (verdict.is<pns::NoAnswer>()) return "NoAnswer";
    const std::string_view word = pns::reason_word(verdict.reason());
    return word.empty() ? pns::outcome_name(verdict.outcome()) : word;
}

void AttemptCounts::add(std::size_t platform, const pns::Verdict& verdict) {
    if (counts_.empty()) counts_.resize(pns::platforms().size());
    ++counts_[platform][static_cast<std::size_t>(verdict.kind())];
    any_ = true;
    if (!verdict.is<pns::Accepted>() && !verdict.is<pns::NotSent>())
        add_refusal(platform, refusal_label(verdict));
}

void AttemptCounts::add_refusal(std::size_t platform, std::string_view label) {
    const auto find = [&] {
        return std::find_if(refusals_.begin(), refusals_.end(), [&](const Refusals& one) {
            return one.platform == platform && one.label == label;
        });
    };
    auto known = find();
    if (known == refusals_.end() && refusals_.size() >= reasons_max) {
        label = "other";
        known = find();
    }
    if (known != refusals_.end()) {
        ++known->count;
    } else {
        refusals_.push_back({platform, std::string(label), 1});
    }
}

}  // namespace hub
