// Any text as a legacy gcm body: refused with a reason, or a JSON object with one message object.
// Inputs: up to 65536 bytes, a body.

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "hub/template/gcm_alias.hpp"
#include "tagexpr/utf8.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const auto body = hub::gcm_to_fcmv1(text);
    if (hub::ok(body)) {
        const auto json = nlohmann::json::parse(std::get<std::string>(body), nullptr, false);
        if (!json.is_object() || !json.contains("message") || !json["message"].is_object())
            std::abort();
    } else {
        const auto& message = std::get<hub::Refusal>(body).message;
        if (message.empty() || (tagexpr::is_utf8(text) && !tagexpr::is_utf8(message))) std::abort();
    }
    return 0;
}
