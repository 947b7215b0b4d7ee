#include "hub/handle_check.hpp"

#include "pns/platform.hpp"

namespace hub {

Parsed<std::string> normalise_handle(std::string_view platform, std::string_view handle) {
    const pns::Platform* row = pns::platform_by_name(platform);
    if (row == nullptr) return bad_request("The platform is unknown.");
    auto checked = row->normalise_handle(handle);
    if (const auto* refusal = std::get_if<pns::Refusal>(&checked))
        return bad_request(refusal->message);
    return std::get<std::string>(std::move(checked));
}

}  // namespace hub
