// The first byte chooses the platform, the rest is the body: it compiles or is refused, and what
// compiles renders into a well-formed body whatever the message says.
// Inputs: up to 65537 bytes, a body, and a byte that steers.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "hub/template/templates.hpp"
#include "tagexpr/utf8.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return 0;
    std::string_view text(reinterpret_cast<const char*>(bytes), size);
    constexpr std::array platforms{"apns", "fcmv1", "wns", "mpns"};
    constexpr std::array types{"wns/toast", "wns/raw", "$(a)"};
    const std::string platform = platforms[bytes[0] % platforms.size()];
    registry::Template source;
    source.name = "t";
    source.body = text.substr(1);
    if (platform == "wns") source.headers = {{"X-WNS-Type", types[(bytes[0] >> 2) % types.size()]}};
    if (platform == "apns") source.priority = text.substr(1, 20);

    (void)hub::parse_properties(text);
    const auto compiled = hub::compile_template(platform, source);
    if (!hub::ok(compiled)) {
        if (std::get<hub::Refusal>(compiled).message.empty()) std::abort();
        return 0;
    }
    const hub::Properties message{{"a", "\"<&>\\\n$(b)"}, {"b", "12"}, {"c", ""}};
    for (const auto& [values, variables] :
         {std::pair{message, hub::Properties{}}, std::pair{hub::Properties{}, message}}) {
        const auto& body = std::get<hub::CompiledTemplate>(compiled);
        const auto rendered = hub::render(body, values, variables);
        if (rendered.too_big) continue;
        if (!tagexpr::is_utf8(rendered.body)) std::abort();
        pugi::xml_document document;
        const bool well_formed =
            body.kind == hub::CompiledTemplate::Body::json ? nlohmann::json::accept(rendered.body)
            : body.kind == hub::CompiledTemplate::Body::xml
                ? bool(document.load_buffer(rendered.body.data(), rendered.body.size()))
                : true;
        if (!well_formed) std::abort();
    }
    return 0;
}
