// Tested by tests/pns_sim_test.cpp.
//
// A handle has a behaviour of its own, or falls by a keyed hash into one of the shares; the same
// seed gives the same answers without any memory per handle. pick() runs for each push under a
// shared lock; only behaviours that are counted down take a second one.
#include "pns/sim/rules.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pns/mixing.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::size_t spent_max = 1'000'000;

struct ActName {
    std::string_view name;
    Act act;
};
constexpr std::array<ActName, 16> act_names = {{
    {"ok", Act::ok},
    {"gone", Act::gone},
    {"unregistered", Act::gone},
    {"bad_handle", Act::bad_handle},
    {"bad_device_token", Act::bad_handle},
    {"wrong_app", Act::wrong_app},
    {"throttled", Act::throttled},
    {"server_error", Act::server_error},
    {"5xx", Act::server_error},
    {"unavailable", Act::unavailable},
    {"rotate", Act::rotate},
    {"dropped", Act::dropped},
    {"answer", Act::answer},
    {"never", Act::never},
    {"reset", Act::reset},
    {"close", Act::close},
}};

std::optional<Behaviour> named(std::string_view name) {
    Behaviour out;
    if (name.ends_with("_once") || name.ends_with("-once")) {
        out.times = 1;
        name.remove_suffix(5);
    }
    const auto found = std::find_if(act_names.begin(), act_names.end(),
                                    [&](const ActName& known) { return known.name == name; });
    if (found == act_names.end()) return std::nullopt;
    out.act = found->act;
    return out;
}

std::string text_of(const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace

std::optional<Behaviour> read_behaviour(const Json& json) {
    if (json.is_string()) return named(json.get<std::string>());
    if (!json.is_object() || !json.contains("act")) return std::nullopt;
    auto out = named(text_of(json["act"]));
    if (!out) return std::nullopt;
    for (const auto& [name, value] : json.items()) {
        const bool whole = value.is_number_integer();
        if (name == "times" && value.is_number_unsigned())
            out->times = value.get<std::uint32_t>();
        else if (name == "delay_ms" && whole)
            out->delay_ms = value.get<std::int64_t>();
        else if (name == "timestamp" && whole)
            out->timestamp_ms = value.get<std::int64_t>();
        else if (name == "retry_after")
            out->retry_after = text_of(value);
        else if (name == "to")
            out->to = text_of(value);
        else if (name == "status" && whole)
            out->status = value.get<int>();
        else if (name == "reason")
            out->reason = text_of(value);
        else if (name == "body")
            out->body = text_of(value);
        else if (name == "headers" && value.is_object())
            for (const auto& [key, text] : value.items())
                out->headers.emplace_back(key, text_of(text));
        else if (name != "act")
            return std::nullopt;
    }
    if (out->status < 200 || out->status > 599) return std::nullopt;
    return out;
}

double place_of(std::string_view handle, std::uint64_t seed) {
    const std::uint64_t hash = mixed(fnv1a(handle, fnv1a_begin ^ seed));
    return static_cast<double>(hash >> 11) * 0x1.0p-53;
}

std::variant<Rules, std::string> read_rules(const Json& json, const Platform& platform) {
    if (!json.is_object()) return "rules must be a JSON object";
    Rules rules;
    const Json handles = json.value("handles", Json::object());
    const Json shares = json.value("shares", Json::object());
    if (!handles.is_object() || !shares.is_object()) return "handles and shares must be objects";
    for (const auto& [handle, value] : handles.items()) {
        auto behaviour = read_behaviour(value);
        if (!behaviour) return "a behaviour in handles is not known: " + value.dump();
        auto canonical = platform.normalise_handle(handle);
        auto* spelled = std::get_if<std::string>(&canonical);
        rules.handles.emplace(spelled ? std::move(*spelled) : handle, std::move(*behaviour));
    }
    double sum = 0;
    for (const auto& [name, value] : shares.items()) {
        auto behaviour = named(name);
        if (!behaviour || !value.is_number()) return "a share is not known: " + name;
        const double share = value.get<double>();
        sum += share;
        if (!(share >= 0) || sum > 1.000001) return "shares must add up to at most 1";
        rules.shares.emplace_back(std::move(*behaviour), share);
    }
    return rules;
}

void RuleBook::replace(Rules rules) {
    std::unique_lock lock(mutex_);
    rules_ = std::move(rules);
    std::lock_guard spent_lock(spent_mutex_);
    spent_.clear();
}

void RuleBook::add(Rules rules) {
    std::unique_lock lock(mutex_);
    std::lock_guard spent_lock(spent_mutex_);
    for (auto& [handle, behaviour] : rules.handles) {
        spent_.erase(handle);
        rules_.handles.insert_or_assign(handle, std::move(behaviour));
    }
    if (!rules.shares.empty()) rules_.shares = std::move(rules.shares);
}

std::optional<Behaviour> RuleBook::pick(std::string_view handle) {
    std::optional<Behaviour> out;
    {
        std::shared_lock lock(mutex_);
        const std::string key(handle);
        if (const auto found = rules_.handles.find(key); found != rules_.handles.end()) {
            out = found->second;
        } else if (!rules_.shares.empty()) {
            double place = place_of(handle, seed_);
            for (const auto& [behaviour, share] : rules_.shares) {
                if (place < share) {
                    out = behaviour;
                    break;
                }
                place -= share;
            }
        }
    }
    if (!out || out->times == 0) return out;
    std::lock_guard lock(spent_mutex_);
    if (spent_.size() >= spent_max) return std::nullopt;
    if (++spent_[std::string(handle)] > out->times) return std::nullopt;
    return out;
}

}  // namespace pns::sim
