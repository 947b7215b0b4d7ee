// Tested by tests/hub_webpush_test.cpp.
#include "hub/device/handle_check.hpp"

#include <boost/system/system_error.hpp>
#include <memory>

#include "pns/endpoint_guard.hpp"
#include "pns/handles.hpp"
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

NormaliseHandle handle_rule(const std::vector<std::string>& push_services) {
    auto guard = pns::EndpointGuard::parse(push_services);
    if (!guard) throw boost::system::system_error(guard.error(), "push_services");
    return [guard = std::move(*guard)](std::string_view platform,
                                       std::string_view handle) -> Parsed<std::string> {
        auto canonical = normalise_handle(platform, handle);
        const auto* spelled = std::get_if<std::string>(&canonical);
        if (spelled == nullptr || !pns::same_ignoring_case(platform, "browser")) return canonical;
        const auto origin = pns::browser_origin(*spelled);
        if (origin && guard.allows(*origin)) return canonical;
        return bad_request("The endpoint of a Web Push subscription must be of " +
                           guard.rules_text() + " (setting push_services).");
    };
}

}  // namespace hub
