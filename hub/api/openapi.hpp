#pragma once

// The description of the REST surface as OpenAPI 3.1, served as /openapi.json. Paths, rights,
// bounds of bodies and what all routes of a kind answer come from the route table; the rest is
// written in hub/api/openapi/, and a test demands that both name the same routes and parameters.
// Pure, any thread.
//
// Those files hold pieces of OpenAPI with these short forms, which openapi_json() writes out:
//
//   "operations": {"GET /{hub}": ...}   key: method and pattern of the route
//   "parameters": ["top", ...]          of an operation: names in "parameters"
//   "headers": ["ETag", ...]            of an answer: names in "headers"; a header that is called
//                                       otherwise on the wire says so as "name"
//   "schema": "Send"                    a name in "schemas"
//   "409": "Why"                        of an operation: an error in the form of the route

#include <span>
#include <string>
#include <string_view>

#include "hub/api/routes.hpp"

namespace hub {

/// One file of hub/api/openapi/: common.json, or one of a tag with its operations.
struct OpenapiPiece {
    std::string_view name;
    std::string_view text;
};
std::span<const OpenapiPiece> openapi_pieces();

std::string openapi_json(std::span<const Route> routes);

}  // namespace hub
