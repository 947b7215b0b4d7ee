#pragma once

// How the codecs learn a handle's canonical spelling: from the platform table, passed in.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/text/wire_error.hpp"

namespace hub {

/// `platform` is the stored name. A Refusal says what is wrong without repeating the handle.
using NormaliseHandle =
    std::function<Parsed<std::string>(std::string_view platform, std::string_view handle)>;

/// The rule of pns/platforms.cpp for that platform.
Parsed<std::string> normalise_handle(std::string_view platform, std::string_view handle);

/// The same, and a Web Push endpoint must be of one of these services (Config::push_services).
NormaliseHandle handle_rule(const std::vector<std::string>& push_services);

}  // namespace hub
