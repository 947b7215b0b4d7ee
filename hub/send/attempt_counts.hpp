#pragma once

// What attempts to push came to since they were last told to the metrics. Telling takes locks that
// all lanes share, so a lane counts here first. One loop only.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pns/verdict.hpp"

namespace hub {

/// Why a provider did not take a push, fit for a label: its word, or else "NoAnswer" or the name of
/// the outcome.
std::string_view refusal_label(const pns::Verdict& verdict);

class AttemptCounts {
  public:
    static constexpr std::size_t reasons_max = 64;  ///< at a time; further ones are "other"

    void add(std::size_t platform, const pns::Verdict& verdict);

    /// Hands out what is not 0 and begins anew. `take` gets (platform, kind, count), `refused` gets
    /// (platform, label, count) of pushes that the provider had and did not take.
    template <class Take, class TakeRefused>
    void take(const Take& take, const TakeRefused& refused) {
        if (!std::exchange(any_, false)) return;
        for (std::size_t p = 0; p < counts_.size(); ++p) {
            for (std::size_t k = 0; k < kinds; ++k) {
                const std::uint64_t count = std::exchange(counts_[p][k], 0);
                if (count > 0) take(p, static_cast<pns::Verdict::Kind>(k), count);
            }
        }
        for (const Refusals& one : refusals_) refused(one.platform, one.label, one.count);
        refusals_.clear();
    }

  private:
    struct Refusals {
        std::size_t platform = 0;
        std::string label;
        std::uint64_t count = 0;
    };
    void add_refusal(std::size_t platform, std::string_view label);

    static constexpr std::size_t kinds = std::variant_size_v<pns::Verdict::Kinds>;
    std::vector<std::array<std::uint64_t, kinds>> counts_;  // by platform and kind
    std::vector<Refusals> refusals_;  // mostly one or two: providers refuse many for one reason
    bool any_ = false;
};

}  // namespace hub
