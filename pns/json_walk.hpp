#pragma once

// Visits a JSON text once without building it: how senders look at payloads that go on byte for
// byte. Does not recurse.

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace pns {

enum class JsonKind { object, array, string, number, boolean, null };

struct JsonPlace {
    static constexpr std::size_t keys_max = 4;
    std::size_t depth = 0;  ///< 0 = the document itself
    std::array<std::string, keys_max>
        keys;  ///< the first names on the way, outermost first; an array item has an empty name
    std::size_t name_bytes = 0;  ///< of the value's own name, at any depth
    bool is(std::string_view a) const { return depth == 1 && keys[0] == a; }
    bool is(std::string_view a, std::string_view b) const {
        return depth == 2 && keys[0] == a && keys[1] == b;
    }
    bool below(std::string_view a, std::string_view b) const {
        return depth == 3 && keys[0] == a && keys[1] == b;
    }
};

/// Calls `visit` for every value, objects and arrays when they begin. `text` is the unescaped value
/// of a string, the digits of a number, true or false. False: `json` is no single valid JSON value
/// in UTF-8.
bool walk_json(std::string_view json,
               const std::function<void(const JsonPlace&, JsonKind, std::string_view text)>& visit);

/// Finds the top-level member `name`, written without escapes, whose value is an object, and says
/// where that object begins. `json` begins with a valid JSON object.
std::optional<std::size_t> find_object_member(std::string_view json, std::string_view name);

}  // namespace pns
