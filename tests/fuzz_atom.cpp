// Any bytes: a registration or hub description is read or refused; what is read writes well-formed
// XML that reads back the same.
// Inputs: up to 65536 bytes, a body.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "hub/device/atom.hpp"
#include "hub/device/hub_description.hpp"
#include "tagexpr/utf8.hpp"

namespace {

hub::Parsed<std::string> as_it_is(std::string_view, std::string_view handle) {
    return std::string(handle);
}

bool has_control(std::string_view text) {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return true;
    }
    // U+FFFE and U+FFFF are no XML characters either.
    return text.find("\xEF\xBF\xBE") != text.npos || text.find("\xEF\xBF\xBF") != text.npos;
}

void check_registration(std::string_view text) {
    auto parsed = hub::parse_registration(text, as_it_is);
    if (!hub::ok(parsed)) {
        if (std::get<hub::Refusal>(parsed).message.empty()) std::abort();
        return;
    }
    const auto& registration = std::get<registry::Registration>(parsed);
    const std::string entry =
        hub::registration_entry(registration, {"https://h/hub", "api-version=1", 0});
    if (!tagexpr::is_utf8(entry)) std::abort();
    // Control characters may come in as &#1; and can not go out.
    bool clean = !has_control(registration.handle) && !has_control(registration.secondary_tile);
    if (registration.body) {
        clean = clean && !has_control(registration.body->name) &&
                !has_control(registration.body->body) && !has_control(registration.body->expiry) &&
                !has_control(registration.body->priority);
        for (const auto& [name, value] : registration.body->headers)
            clean = clean && !has_control(name) && !has_control(value);
    }
    if (!clean || entry.size() > 60'000) return;
    const auto again = hub::parse_registration(entry, as_it_is);
    if (!hub::ok(again) || std::get<registry::Registration>(again).handle != registration.handle ||
        std::get<registry::Registration>(again).tags != registration.tags ||
        std::get<registry::Registration>(again).body.has_value() != registration.body.has_value())
        std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    check_registration(text);
    const auto hub = hub::parse_hub_description(text);
    if (hub::ok(hub)) {
        const auto& description = std::get<hub::HubDescription>(hub);
        const auto stored = hub::read_hub_description_json(hub::hub_description_json(description));
        if (!hub::ok(stored) || !(std::get<hub::HubDescription>(stored) == description))
            std::abort();
        (void)hub::hub_description_xml(description);
    }
    return 0;
}
