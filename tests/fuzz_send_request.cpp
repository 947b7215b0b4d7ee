// Any headers, query and body as a request to send: refused in words, or a send within the bounds
// of its options that the ledger keeps as it is.
// Inputs: up to 270336 bytes, headers and a body of the largest kind.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <variant>

#include "hub/http/request_fields.hpp"
#include "hub/process/config.hpp"
#include "hub/send/expected_audience.hpp"
#include "hub/send/send_options.hpp"
#include "hub/send/send_request.hpp"
#include "hub/text/text.hpp"
#include "pns/platform.hpp"
#include "registry/keys.hpp"
#include "tagexpr/utf8.hpp"
#include "tests/support/fuzzing.hpp"

namespace {

using support::require;
using support::take_line;
using support::taken;

constexpr std::int64_t now_ms = 1'795'200'000'000;

constexpr std::string_view names[] = {"servicebusnotification-format",
                                      "servicebusnotification-tags",
                                      "servicebusnotification-scheduletime",
                                      "servicebusnotification-apns-expiry",
                                      "servicebusnotification-devicehandle",
                                      "pushhub-canary",
                                      "pushhub-rate",
                                      "pushhub-deadline",
                                      "pushhub-delivery",
                                      "pushhub-expect-audience",
                                      "pushhub-allow",
                                      "content-type",
                                      "apns-expiration",
                                      "x-apns-expiration",
                                      "apns-push-type",
                                      "x-wns-type",
                                      "x-windowsphone-target",
                                      "ttl",
                                      "urgency",
                                      "topic",
                                      "push-type"};
constexpr std::string_view formats[] = {"apple", "fcmv1", "gcm",     "windows", "windowsphone",
                                        "adm",   "hms",   "browser", "template"};

/// The first letter of a line names a header that is known, or the line has its own name.
void add_header(hub::Request& request, std::string_view line) {
    const auto colon = line.find(':');
    if (colon != std::string_view::npos && colon > 0) {
        request.headers.emplace_back(hub::lower(line.substr(0, colon)), line.substr(colon + 1));
    } else {
        request.headers.emplace_back(
            names[static_cast<unsigned char>(line.front()) % std::size(names)], line.substr(1));
    }
}

void check_send(const registry::Send& send, const hub::Config& config) {
    require(send.format == "template" || pns::platform_by_format(send.format) != nullptr);
    require(send.headers.size() <= 64 && !send.body.empty() && !send.id.empty());
    for (const auto& [name, value] : send.headers) require(value.size() <= 4'096);
    require(send.canary_ppm < 1'000'000);
    require(send.rate.count <= std::uint64_t{hub::send_rate_per_s_max} * send.rate.period_s);
    require(send.deadline_ms > now_ms && send.deadline_ms <= now_ms + hub::deadline_ahead_ms_max);
    require(send.deadline_given || send.deadline_ms == now_ms + hub::undelivered_ms_max);
    const auto universe = hub::universe_of(send, config);
    require((send.format == "template") == (universe.kind == registry::Universe::Kind::templated));
    const bool is_json = send.format != "windows" && send.format != "windowsphone";
    if (is_json) require(nlohmann::json::accept(send.body));

    registry::Progress first;
    const auto bytes = registry::encode_send(send, first, {});
    const auto again = registry::decode_send(bytes);
    require(again && again->send.headers == send.headers && again->send.body == send.body &&
            again->send.rate == send.rate && again->send.deadline_ms == send.deadline_ms &&
            registry::encode_send(again->send, again->first, again->selection) == bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < 1) return 0;
    std::string_view text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    hub::Config config;
    config.gcm_through_fcmv1 = (bytes[0] & 0x80) != 0;
    hub::Request request;
    request.method = "POST";
    request.received_at_ms = now_ms;
    const std::size_t format = bytes[0] & 0x0f;
    if (format < std::size(formats))
        request.headers.emplace_back("servicebusnotification-format", formats[format]);
    for (auto line = take_line(text); !line.empty(); line = take_line(text))
        add_header(request, line);
    request.target = "/orders/messages?";
    request.target += take_line(text);
    if (!hub::parse_target(request)) request.query.clear();

    if (const auto own = hub::check_own_headers(request, true)) {
        bool are_texts = true;
        for (const auto& header : request.headers)
            are_texts = are_texts && tagexpr::is_utf8(header.first);
        require(own->status == 400 && (!are_texts || tagexpr::is_utf8(own->message)));
    }
    taken(hub::read_flag(request, "test"));
    taken(hub::read_flag(request, "direct"));
    (void)hub::check_no_handle(request);
    if (const auto tags = hub::read_tag_expression(request); taken(tags))
        taken(hub::plan_of(std::get<std::string>(tags), config));
    const auto send = hub::read_send(request, std::string(text), config);
    if (taken(send)) check_send(std::get<registry::Send>(send), config);
    return 0;
}
