#pragma once

// How a simulator treats each handle: a table for tests, shares by keyed hash for load
// (docs/contracts/pns.md 8.1). The book may be read and replaced from any thread.

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pns/platform.hpp"
#include "pns/task.hpp"

namespace pns::sim {

/// Each provider has its own words for these; `answer` is any status and reason of its table.
enum class Act : std::uint8_t {
    ok,
    gone,
    bad_handle,
    wrong_app,
    throttled,
    server_error,
    unavailable,
    rotate,
    dropped,
    answer,
    never,
    reset,
    close,
};

struct Behaviour {
    Act act = Act::ok;
    std::uint32_t times = 0;        ///< how often, then ok; 0 = always
    std::int64_t delay_ms = 0;      ///< answered so much later
    std::int64_t timestamp_ms = 0;  ///< gone: since when (APNs); 0 = now
    std::string retry_after;        ///< sent as Retry-After, in either form
    std::string to;                 ///< rotate: the new handle
    int status = 500;               ///< answer
    std::string reason;             ///< answer: the provider's word
    std::string body;               ///< answer: instead of the body made from the reason
    Headers headers;                ///< answer: beside the usual ones
};

struct Rules {
    std::map<std::string, Behaviour> handles;  ///< by canonical handle
    std::vector<std::pair<Behaviour, double>>
        shares;  ///< of the handles not in the table; the rest is ok
};

/// {"handles":{"<handle>":"gone"|{"act":"gone","times":1,…}},"shares":{"gone":0.02,"server_error_once":0.01}}.
/// The error tells what was wrong.
std::variant<Rules, std::string> read_rules(const nlohmann::json& json, const Platform& platform);

/// One behaviour as in read_rules; nothing if it is not known.
std::optional<Behaviour> read_behaviour(const nlohmann::json& json);

/// The place of a handle in [0, 1): shares are cut off it in the order given.
double place_of(std::string_view handle, std::uint64_t seed);

class RuleBook {
  public:
    explicit RuleBook(std::uint64_t seed) : seed_(seed) {}
    void replace(Rules rules);
    void add(
        Rules rules);  ///< its handles beside those there are; its shares instead, if it has any
    /// What to do with a push to `handle` now; counts it against Behaviour::times. Nothing = ok.
    std::optional<Behaviour> pick(std::string_view handle);

  private:
    std::uint64_t seed_;
    std::shared_mutex mutex_;
    Rules rules_;
    std::mutex spent_mutex_;
    std::unordered_map<std::string, std::uint32_t> spent_;  ///< only of behaviours that are limited
};

}  // namespace pns::sim
