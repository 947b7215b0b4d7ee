// Tested by tests/hub_http_test.cpp.

#include "hub/http/request_fields.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "hub/text/text.hpp"

namespace hub {

bool has_header(const Request& request, std::string_view lower_name) {
    return std::any_of(request.headers.begin(), request.headers.end(),
                       [&](const auto& header) { return header.first == lower_name; });
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
