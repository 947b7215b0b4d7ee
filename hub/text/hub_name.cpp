#include "hub/text/hub_name.hpp"

#include <algorithm>

namespace hub {

bool is_hub_name(std::string_view name) {
    const auto alphanumeric = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    };
    return !name.empty() && name.size() <= hub_name_bytes_max && alphanumeric(name.front()) &&
           alphanumeric(name.back()) && std::all_of(name.begin(), name.end(), [&](char c) {
               return alphanumeric(c) || c == '.' || c == '-' || c == '_';
           });
}

}  // namespace hub
