// Tested by tests/hub_routes_test.cpp.

#include "hub/http/route.hpp"

#include <algorithm>
#include <set>

#include "hub/text/text.hpp"

namespace hub {

namespace {

/// The next segment of a pattern, taken off its front. Empty: no more.
std::string_view take_segment(std::string_view& pattern) {
    if (pattern.starts_with('/')) pattern.remove_prefix(1);
    const auto segment = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(segment.size());
    return segment;
}

bool is_rest(std::string_view pattern_segment) {
    return pattern_segment.ends_with("...}");
}

/// Literal segments that matched, counted from the left as digits: the more literal route wins. -1:
/// no match.
int fit(const Route& route, std::span<const std::string> segments) {
    if (route.segments != segments.size() && !route.takes_rest) return -1;
    std::string_view pattern = route.pattern;
    int score = 0;
    for (const auto& segment : segments) {
        const auto wanted = take_segment(pattern);
        if (wanted.empty()) return -1;
        if (is_rest(wanted)) {
            const auto left =
                static_cast<std::size_t>(segments.data() + segments.size() - &segment);
            return score << left;
        }
        const bool literal = wanted.front() != '{';
        if (literal && !same_ignoring_case(wanted, segment)) return -1;
        score = score * 2 + (literal ? 1 : 0);
    }
    return take_segment(pattern).empty() ? score : -1;
}

std::vector<std::string> arguments(std::string_view pattern,
                                   std::span<const std::string> segments) {
    std::vector<std::string> out;
    bool in_rest = false;
    for (const auto& segment : segments) {
        if (in_rest) {
            out.back().append("/").append(segment);
            continue;
        }
        const auto wanted = take_segment(pattern);
        in_rest = is_rest(wanted);
        if (wanted.front() == '{') out.push_back(segment);
    }
    return out;
}

/// The one parameter of our own that may be blank: of the first page.
constexpr std::string_view first_page = "continuation";

/// Flags of the contract: whoever reads them judges several of one name.
bool is_flag(std::string_view name) {
    return name == "direct" || name == "test";
}

}  // namespace

std::optional<Refusal> check_query(const Route& route, const Request& request) {
    if (route.tells_health) return std::nullopt;
    constexpr std::string_view version = "api-version";
    const bool of_contract = !route.answers_problems;
    std::set<std::string_view> known{version}, seen;
    if (of_contract && route.names_hub) known.insert("test");  // docs/contracts/anh.md 2.2
    std::string listed;
    for (auto rest = route.parameters; !rest.empty();) {
        const auto name = rest.substr(0, rest.find(' '));
        rest.remove_prefix(std::min(name.size() + 1, rest.size()));
        known.insert(name);
        listed.append(listed.empty() ? "" : ", ").append(name);
    }
    for (const auto& [name, value] : request.query) {
        if (!known.contains(name)) {
            return bad_request(
                "The parameter '" + shown(name) + "' is not known here. " +
                (listed.empty() ? "There are none." : "There are these: " + listed + "."));
        }
        const bool may_repeat = of_contract && (name == version || is_flag(name));
        if (!seen.insert(name).second && !may_repeat)
            return bad_request("The parameter '" + name + "' is there twice.");
        if (of_contract) continue;
        if (name != version && name != first_page && trimmed(value).empty())
            return bad_request("The parameter '" + name +
                               "' is blank. Give it a value, or leave it out.");
    }
    return std::nullopt;
}

bool takes_pieces(const Routed& routed) {
    const auto* matched = std::get_if<Matched>(&routed);
    return matched != nullptr && matched->route->takes_pieces;
}

Routed match(std::span<const Route> routes, std::string_view method,
             std::span<const std::string> segments) {
    constexpr std::size_t segments_max = 20;  // bounds the score of a pattern with `...`
    int best = -1;
    if (segments.size() <= segments_max) {
        for (const auto& route : routes) best = std::max(best, fit(route, segments));
    }
    if (best < 0) return NoRoute{404, {}};
    std::string allow;
    const Route* get = nullptr;
    bool has_head = false;
    for (const auto& route : routes) {
        if (fit(route, segments) != best) continue;
        if (route.method == method) return Matched{&route, arguments(route.pattern, segments)};
        if (route.method == "GET") get = &route;
        has_head = has_head || route.method == "HEAD";
        allow.append(allow.empty() ? "" : ", ").append(route.method);
    }
    if (get != nullptr && method == "HEAD") return Matched{get, arguments(get->pattern, segments)};
    if (get != nullptr && !has_head) allow += ", HEAD";
    return NoRoute{405, std::move(allow)};
}

}  // namespace hub
