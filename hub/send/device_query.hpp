#pragma once

// The query of GET /{hub}/devices. Pure, any thread.

#include <cstddef>
#include <cstdint>

#include "hub/http/http.hpp"
#include "hub/process/config.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/registry.hpp"

namespace hub {

constexpr std::size_t devices_page_default = 100, devices_page_max = 1'000;
constexpr std::size_t handle_prefix_bytes_max = 2'048;

/// `tag` (an expression), `user`, `platform`, `handle` (how it begins), `state`, `top`,
/// `continuation`, whose token must be of this list of `hub` (its number).
Parsed<registry::DeviceQuery> read_device_query(const Request& request, const Config& config,
                                                std::uint32_t hub);

/// The token behind a page of what `request` asks for; read_device_query() takes it back.
std::string device_token(const Request& request, std::uint32_t hub, std::string_view next);

}  // namespace hub
