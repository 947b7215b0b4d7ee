// Any bytes: as the body of a PUT and of a PATCH. What is accepted writes JSON that reads back the
// same.
// Inputs: up to 65536 bytes, a body.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "hub/device/installation_json.hpp"
#include "hub/device/installation_patch.hpp"

namespace {

hub::Parsed<std::string> as_it_is(std::string_view, std::string_view handle) {
    return std::string(handle);
}

void check_round_trip(registry::Installation value) {
    value.push_channel_expired = false;
    const std::string written = hub::installation_json(value);
    if (written.size() > 60'000) return;
    const auto again = hub::parse_installation(written, value.id, as_it_is);
    if (!hub::ok(again) || !(std::get<registry::Installation>(again).tags == value.tags))
        std::abort();
    if (!(std::get<registry::Installation>(again).templates.size() == value.templates.size()))
        std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const auto parsed = hub::parse_installation(text, "i", as_it_is);
    if (hub::ok(parsed)) check_round_trip(std::get<registry::Installation>(parsed));

    registry::Installation current;
    current.id = "i";
    current.platform = "wns";
    current.push_channel = "c";
    current.tags = {"a"};
    current.templates["n"] = {"n", "<toast/>", {{"X-WNS-Type", "wns/toast"}}, "", "", {}};
    const auto patched = hub::patch_installation(current, text, as_it_is);
    if (hub::ok(patched)) check_round_trip(std::get<hub::PatchedInstallation>(patched).value);
    return 0;
}
