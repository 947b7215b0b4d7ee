#pragma once

// JSON from outside: size and depth are bounded before a tree is built, and errors have a position.
// Pure, any thread.

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t json_bytes_max = 64 * 1024;
constexpr std::size_t json_depth_max = 32;
/// Objects, arrays and what is in them, in all: more than the largest installation that is taken
/// has. A tree costs many times its text, and none is built beyond this.
constexpr std::size_t json_values_max = 16'384;

/// UTF-8 without a byte order mark. UTF-16 is known by its mark, or by the zero byte that an ASCII
/// bracket has in it. What is neither stays as it is: it is no JSON.
std::string json_in_utf8(std::string text);

/// `text` as json_in_utf8() takes it. `what` names the document in refusals: "The body", "The
/// devices part".
Parsed<nlohmann::json> read_json(std::string_view text, std::string_view what,
                                 std::size_t bytes_max = json_bytes_max,
                                 std::size_t values_max = json_values_max);

/// Checks size, depth, the count of values and grammar, and builds nothing.
std::optional<Refusal> check_json(std::string_view text, std::string_view what,
                                  std::size_t bytes_max = json_bytes_max,
                                  std::size_t values_max = SIZE_MAX);

/// An object of strings; numbers and booleans give their JSON text, null members are dropped,
/// objects and arrays are refused.
Parsed<std::map<std::string, std::string>> string_members(const nlohmann::json& object,
                                                          std::string_view what);

}  // namespace hub
