// Any text as $filter: refused, or one or two handles to look up.
// Inputs: up to 8192 bytes, a target.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "hub/device/filter.hpp"
#include "tagexpr/utf8.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const auto parsed = hub::parse_filter(text);
    if (hub::ok(parsed)) {
        const auto& query = std::get<hub::HandleQuery>(parsed);
        if (query.handles.empty() || query.handles.size() > 2) std::abort();
        if (query.handles[0].empty()) std::abort();
    } else if (tagexpr::is_utf8(text) &&
               !tagexpr::is_utf8(std::get<hub::Refusal>(parsed).message)) {
        std::abort();
    }
    return 0;
}
