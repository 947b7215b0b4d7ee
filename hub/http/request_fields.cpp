// Tested by tests/hub_http_test.cpp.

#include "hub/http/request_fields.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>

#include "hub/text/text.hpp"

namespace hub {

bool has_header(const Request& request, std::string_view lower_name) {
    return std::any_of(request.headers.begin(), request.headers.end(),
                       [&](const auto& header) { return header.first == lower_name; });
}

std::optional<Refusal> check_own_headers(const Request& request, bool steers_sends) {
    constexpr std::string_view ours = "pushhub-";
    constexpr std::array<std::string_view, 6> known{"pushhub-allow",           "pushhub-canary",
                                                    "pushhub-deadline",        "pushhub-delivery",
                                                    "pushhub-expect-audience", "pushhub-rate"};
    std::set<std::string_view> seen;
    for (const auto& [name, value] : request.headers) {
        if (!name.starts_with(ours)) continue;
        if (std::find(known.begin(), known.end(), name) == known.end()) {
            std::string listed;
            for (const auto one : known) listed.append(listed.empty() ? "" : ", ").append(one);
            return bad_request("The header " + shown(name) + " is not known. There are " + listed +
                               ".");
        }
        if (!steers_sends)
            return bad_request("The header " + name + " steers a send, and this request is none.");
        if (trimmed(value).empty())
            return bad_request("The header " + name +
                               " is blank. Give it a value, or leave it out.");
        if (!seen.insert(name).second)
            return bad_request("The header " + name + " is there twice.");
    }
    return std::nullopt;
}

Parsed<bool> read_flag(const Request& request, std::string_view lower_name) {
    std::optional<bool> set;
    for (const auto& [name, value] : request.query) {
        if (name != lower_name) continue;
        const bool on = value.empty() || same_ignoring_case(value, "true");
        const bool known = on || same_ignoring_case(value, "false");
        if (!known || set.value_or(on) != on) {
            return bad_request("The parameter " + name + " is set by " + name + " or " + name +
                               "=true, and not set by " + name + "=false; '" + shown(value) +
                               "' is neither, or comes on top of another value.");
        }
        set = on;
    }
    return set.value_or(false);
}

Parsed<std::size_t> read_count(const Request& request, std::string_view name, std::size_t least,
                               std::size_t otherwise) {
    const auto text = request.param(name);
    if (!text) return otherwise;
    const auto given = std::count_if(request.query.begin(), request.query.end(),
                                     [&](const auto& one) { return one.first == name; });
    if (given > 1) return bad_request(std::string(name) + " is there twice.");
    std::size_t count = 0;
    const auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), count);
    if (ec != std::errc{} || end != text->data() + text->size() || count < least) {
        return bad_request(std::string(name) + " must be a whole number from " +
                           std::to_string(least) + ".");
    }
    return count;
}

}  // namespace hub
