#pragma once

// The devices of a soak and the messages to them. Three quarters are steady: they never change, so
// whom a send must reach is known. The others move: they get new handles, users and tags, go away
// and come back. Everything is a pure function of its numbers; any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

class SoakCrowd {
  public:
    static constexpr std::uint32_t groups = 100;  ///< of steady devices, a tag each

    explicit SoakCrowd(std::uint32_t devices) : devices_(devices) {}

    std::uint32_t size() const { return devices_; }
    std::uint32_t steady() const { return devices_ / 4 * 3; }
    bool is_steady(std::uint32_t device) const { return device < steady(); }

    static std::string_view platform(std::uint32_t device);
    static std::string id(std::uint32_t device);
    /// Of the steady devices; every fourth group has no templates.
    static std::uint32_t group(std::uint32_t device);
    static bool has_template(std::uint32_t device) { return group(device) % 4 != 3; }
    static std::string group_tag(std::uint32_t group);
    /// Each version of a moving device has another handle, another user now and then.
    std::string handle(std::uint32_t device, std::uint32_t version) const;
    std::string json(std::uint32_t device, std::uint32_t version) const;

    /// Steady devices that a send in `format` to one group reaches, or to all of them (`groups`).
    std::uint64_t audience(std::string_view format, std::uint32_t group) const;

    struct Format {
        std::string_view format, platform;  ///< platform empty: all
    };
    static const std::vector<Format>& formats();
    static std::string_view format_of(std::uint32_t device);
    /// What send number `number` says, so that no two say the same.
    static std::string body(std::string_view format, std::uint64_t number);
    static std::vector<std::pair<std::string, std::string>> headers(std::string_view format);

  private:
    std::uint32_t devices_;
};

}  // namespace bench
