#pragma once

// The population of fan-out, audience and scale: device i is a pure function of its number, and
// carries ten tags, from dense (half of all devices) to sparse (one in twenty thousand), and a user
// id of its own. Any thread.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/targets.hpp"
#include "registry/registration.hpp"

namespace bench {

/// One tag of every device: `name`:k with k drawn evenly from 0 to values - 1.
struct TagKind {
    std::string_view name;
    std::uint32_t values;
};
inline constexpr std::array<TagKind, 10> tag_kinds{{{"half", 2},
                                                    {"third", 3},
                                                    {"lang", 20},
                                                    {"country", 60},
                                                    {"sport", 40},
                                                    {"athlete", 200},
                                                    {"version", 12},
                                                    {"topic", 5'000},
                                                    {"city", 5'000},
                                                    {"store", 20'000}}};
constexpr std::uint32_t languages_count = 20;  ///< values of "lang"

std::uint32_t tag_value(std::uint32_t device, std::size_t kind);
std::string tag_text(std::size_t kind, std::uint32_t value);
std::string user_of(std::uint32_t device);

class Crowd {
  public:
    /// Handles that are URLs lead to `host` (Sink::host). With templates, each device has a
    /// template in its language that greets the property `name`.
    Crowd(const Target& target, std::string host, bool with_templates);
    registry::Installation device(std::uint32_t number) const;
    /// A device's body as a template send renders it, about as long as a native one.
    static std::string properties() { return R"({"name":"Ireen, start 14:30 CET, lane 2"})"; }

  private:
    const Target& target_;
    std::string host_;
    std::vector<registry::Template> templates_;  ///< by language; empty = native only
};

}  // namespace bench
