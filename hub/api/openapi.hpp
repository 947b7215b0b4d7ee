#pragma once

// The description of the REST surface as OpenAPI 3.1, served as /openapi.json. Paths, rights,
// bounds and path parameters come from the route table; words about each route from
// openapi_text.cpp, and a test demands that both name the same routes. Pure, any thread.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hub/api/routes.hpp"

namespace hub {

/// A query parameter or header that means something to a route: "top: devices in a page".
struct RouteParameter {
    std::string_view name;
    bool header = false;
    std::string_view text;
};

struct RouteText {
    std::string_view method;
    std::string_view pattern;  ///< as in the route table
    std::string_view group;    ///< what it is about: "sends"
    std::string_view summary;
    std::string_view body;    ///< media type of the request, empty = none
    int status = 200;         ///< of success
    std::string_view answer;  ///< media type of success, empty = no body
    std::vector<RouteParameter> parameters{};
};
const std::vector<RouteText>& route_texts();
/// Null: nobody has described it.
const RouteText* text_of(const Route& route);

std::string openapi_json(std::span<const Route> routes);

}  // namespace hub
