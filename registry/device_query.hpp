#pragma once

// Devices looked for one by one, and those of a user.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "registry/registration.hpp"
#include "tagexpr/expression.hpp"

namespace registry {

/// What a search for devices asks for; all that is set must hold for one part of a device.
struct DeviceQuery {
    enum class State : std::uint8_t { any, active, expired };
    tagexpr::Plan plan;                  ///< over the tags a send would see
    std::vector<std::string> platforms;  ///< stored names; empty = all
    std::string handle_prefix;
    State state = State::any;
    std::string after;  ///< DevicePage::next of the page before, or empty
    std::size_t count_max = 100;
    std::size_t reads_max = 50'000;  ///< entries looked at for one page
};
struct FoundDevice {
    std::optional<Installation> installation;
    std::optional<Registration> registration;  ///< one that belongs to no installation
    std::size_t parts = 0;                     ///< registrations it stands for
};
/// May hold fewer devices than asked for, or none, and still have a next page.
struct DevicePage {
    std::vector<FoundDevice> devices;
    std::string next;  ///< empty = last page
};

struct ErasedInstallation {
    std::string id;
    std::size_t parts = 0;
    std::vector<std::string> handles;
};

}  // namespace registry
