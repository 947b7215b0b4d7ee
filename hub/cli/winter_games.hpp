#pragma once

// The audience of the Winter Games scenario: a deterministic population of devices. GamesDevice i
// is a pure function of (seed, i), so the whole population needs no memory and every expected
// audience can be computed apart from the hub: the oracle of `pushhub bench games`.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hub {

struct GamesDevice {
    std::uint32_t index = 0;
    std::string_view platform;  ///< stored name: apns, fcmv1, wns, adm
    std::string handle;         ///< as the hub and the simulators spell it
    bool dead = false;          ///< its provider answers that the handle is gone
    std::string installation_id;
    std::string user_id;        ///< some users have two devices
    std::string_view language;  ///< one of languages()
    std::vector<std::string> tags;
};

class WinterGames {
  public:
    explicit WinterGames(std::uint32_t devices, std::uint64_t seed = 2026)
        : devices_(devices), seed_(seed) {}

    std::uint32_t size() const { return devices_; }
    GamesDevice device(std::uint32_t index) const;
    /// Body of PUT /{hub}/installations/{id}: the device with its template in its own language.
    std::string installation_json(const GamesDevice& device) const;

    /// What a template send about `athlete` must say on that device.
    static std::string greeting(const GamesDevice& device, std::string_view athlete);

    /// Indices of the devices that match a tag expression, ascending, dead ones included: tagexpr
    /// over the model. Throws std::invalid_argument if the expression does not parse.
    std::vector<std::uint32_t> audience(std::string_view expression) const;

    static const std::vector<std::string>& countries();       ///< 60 tags
    static const std::vector<std::string>& sports();          ///< 40 tags
    static const std::vector<std::string>& athletes();        ///< 200 tags
    static const std::vector<std::string_view>& languages();  ///< 20 codes

  private:
    std::uint32_t devices_;
    std::uint64_t seed_;
};

/// The four platforms in the order in which figures are printed.
inline constexpr std::array<std::string_view, 4> platform_names{"apns", "fcmv1", "wns", "adm"};

}  // namespace hub
