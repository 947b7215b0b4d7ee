// The first line is the Content-Type, the rest the body of a direct batch.
// Inputs: up to 524416 bytes, a batch, and its type.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "hub/text/multipart.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const std::size_t line = std::min(text.find('\n'), text.size());
    const std::string_view body = text.substr(std::min(line + 1, text.size()));
    for (const std::string_view type :
         {text.substr(0, line), std::string_view("multipart/mixed; boundary=b")}) {
        const auto parsed = hub::parse_direct_batch(type, body);
        if (hub::ok(parsed)) {
            const auto& batch = std::get<hub::DirectBatch>(parsed);
            if (batch.handles.empty() || batch.handles.size() > hub::batch_handles_max)
                std::abort();
        } else if (std::get<hub::Refusal>(parsed).message.empty()) {
            std::abort();
        }
    }
    return 0;
}
