#pragma once

// What a simulator does wrong on purpose: the fault catalogue F01 to F36
// (docs/contracts/pns.md 8.2) and which connection or request gets which. The book may be read and
// replaced from any thread; with one loop the same seed and the same arrivals give the same faults.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pns/sim/rules.hpp"

namespace pns::sim {

struct Request;

/// Where a fault strikes.
enum class FaultPoint : std::uint8_t {
    connection,  ///< from the accepted socket on
    request,     ///< a push whose request is complete
    token,       ///< a request for an access token
    now,         ///< the whole simulator, when the fault is set
};

/// What it means for a push that it strikes, if its sender does everything right.
enum class FaultEffect : std::uint8_t {
    harmless,     ///< taken and answered: no resend, no doubt
    unprocessed,  ///< provably not taken: sent again at once, no doubles
    ambiguous,    ///< taken or not (Fault::taken), the sender cannot know
    answered,     ///< an answer like others: refused, throttled, dead
    down,         ///< nothing goes through while it lasts
};

struct FaultRow {
    int number;
    std::string_view variant;  ///< the first row of a number is what the bare number means
    FaultPoint point;
    FaultEffect effect;
    bool h1;  ///< strikes providers that speak HTTP/1.1 too
    std::string_view says;
};
const std::vector<FaultRow>& fault_rows();
/// Null if there is none; an empty variant is the first.
const FaultRow* fault_row(int number, std::string_view variant);
std::string fault_name(const FaultRow& row);  ///< "F05 garbage"

struct Fault {
    const FaultRow* row = nullptr;
    // When. All conditions must hold.
    double share = 1;         ///< of what arrives, chosen by seed and ordinal
    std::uint64_t nth = 0;    ///< only the nth connection or request since it was set; 0 = any
    std::uint64_t every = 0;  ///< only every so many; 0 = any
    std::uint32_t times = 0;  ///< at most so often; 0 = always
    std::int64_t after_ms = 0, for_ms = 0;  ///< only then after it was set; for_ms 0 = for ever
    std::string prefix;                     ///< of the canonical handle
    std::string header, value;              ///< a request header; empty value = any
    // What.
    std::int64_t ms = 0;  ///< the fault's own time; 0 = its usual one
    std::uint32_t code = 0;
    std::string text;
    enum class Taken : std::uint8_t { half, yes, no } taken = Taken::half;
    std::optional<Behaviour> rule;  ///< instead of a row: answer like this
};
using FaultHit = std::shared_ptr<const Fault>;

/// {"faults":["F07", {"fault":"F05","variant":"garbage","share":0.1,"times":3,…},
///            {"rule":{"act":"gone"},"nth":7}],
///  "seed":7, "mix":0.02, "of":["F01","F07 ",…]}; `mix` adds every fault of `of` (default: all that
/// strike requests) at that share in all. The error tells what was wrong.
std::variant<std::vector<Fault>, std::string> read_faults(const nlohmann::json& json, bool h1);
/// "F07=0.1,F05:garbage=0.01,F15": name, variant, share.
std::variant<std::vector<Fault>, std::string> read_faults_line(std::string_view text, bool h1);

class FaultBook {
  public:
    explicit FaultBook(std::uint64_t seed) : seed_(seed) {}

    void replace(std::vector<Fault> faults, std::int64_t now_ms, std::uint64_t seed);
    std::uint64_t seed() const { return seed_.load(std::memory_order_relaxed); }
    bool any() const { return any_.load(std::memory_order_acquire); }
    /// Null: nothing goes wrong. Each of these counts as one arrival of its kind.
    FaultHit on_connection(std::int64_t now_ms);
    FaultHit on_token(std::int64_t now_ms);
    FaultHit on_request(const Request& request, std::string_view handle, std::int64_t now_ms);
    /// Whether an ambiguous fault strikes after (true) or before the push was taken.
    bool is_taken(const Fault& fault, std::string_view handle, std::uint64_t ordinal) const;

  private:
    struct Armed {
        FaultHit fault;
        std::uint32_t spent = 0;
    };
    FaultHit pick(FaultPoint point, std::uint64_t ordinal, std::int64_t now_ms,
                  const Request* request, std::string_view handle);

    std::atomic<std::uint64_t> seed_;
    std::atomic<bool> any_{false};
    std::mutex mutex_;
    std::vector<Armed> armed_;
    std::int64_t set_ms_ = 0;
    std::array<std::uint64_t, 3> arrivals_{};  ///< by point, since set
};

}  // namespace pns::sim
