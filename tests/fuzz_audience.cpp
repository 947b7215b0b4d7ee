// Any text as PushHub-Expect-Audience, as the body of POST /{hub}/audience, as the query of GET
// /{hub}/devices and as an idempotency key: refused in words that are well formed, or bounded.
// Inputs: up to 65536 bytes, a body.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "hub/http/idempotency_key.hpp"
#include "hub/process/config.hpp"
#include "hub/send/audience_request.hpp"
#include "hub/send/device_query.hpp"
#include "hub/send/expected_audience.hpp"
#include "tagexpr/utf8.hpp"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

template <class T>
bool taken(const hub::Parsed<T>& parsed, std::string_view text) {
    if (hub::ok(parsed)) return true;
    const auto& refusal = std::get<hub::Refusal>(parsed);
    require(refusal.status >= 400 && refusal.status < 500 && !refusal.message.empty());
    require(!tagexpr::is_utf8(text) || tagexpr::is_utf8(refusal.message));
    return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    static const hub::Config config;

    const auto expected = hub::parse_expected_audience(text);
    if (taken(expected, text)) {
        const auto& range = std::get<hub::ExpectedAudience>(expected);
        require(range.least <= range.most);
    }
    if (const auto ceiling = hub::parse_ceiling(text)) {
        require(!ceiling->first.empty() && ceiling->second <= hub::expected_audience_max);
    }
    const auto audience = hub::parse_audience_request(text);
    if (taken(audience, text))
        require(std::get<hub::AudienceRequest>(audience).sample <= hub::audience_sample_max);

    hub::Request request;
    request.method = "GET";
    request.target = "/orders/devices?" + std::string(text);
    if (hub::parse_target(request)) {
        const auto query = hub::read_device_query(request, config, 1);
        if (hub::ok(query)) {
            const auto& read = std::get<registry::DeviceQuery>(query);
            require(read.count_max >= 1 && read.count_max <= hub::devices_page_max);
            require(read.after.empty() || read.after[0] == 'i' || read.after[0] == 'r');
            require(!read.plan.nodes.empty());
        }
    }
    request.headers = {{"idempotency-key", std::string(text)},
                       {"authorization", std::string(text)}};
    const auto key = hub::read_idempotency_key(request);
    if (taken(key, text)) {
        const auto& value = std::get<std::string>(key);
        require(!value.empty() && value.size() <= hub::idempotency_key_bytes_max);
    }
    require(hub::request_fingerprint(request).size() == 64);
    return 0;
}
