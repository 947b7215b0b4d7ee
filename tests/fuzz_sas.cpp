// Any Authorization header: no crash, and nobody gets in without the key.
// Inputs: up to 8192 bytes, the header.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "hub/access/sas.hpp"
#include "hub/text/times.hpp"
#include "pns/http_date.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const std::array<hub::Rule, 1> rules{
        {{"Root", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "", true, true, true, 0, 0}}};
    hub::SasCheck check;
    check.authorization = text;
    check.host = "h";
    check.path = "/hub/messages";
    check.namespace_rules = rules;
    if (hub::ok(hub::check_sas(check))) std::abort();

    // The same bytes as the resource of a well-signed token must not get past the host check.
    const std::string sr(text.substr(0, text.find('&')));
    const std::string token = "SharedAccessSignature sr=" + sr + "&se=9999999999&skn=Root&sig=" +
                              hub::sas_signature(rules[0].primary_key, sr, "9999999999");
    check.authorization = token;
    check.host = "\x01";
    if (hub::ok(hub::check_sas(check)) && sr.find('\x01') == sr.npos && sr.find("01") == sr.npos)
        std::abort();

    (void)hub::parse_time_ms(text);
    (void)pns::parse_http_date_ms(text, 0);
    if (const auto duration = hub::parse_duration_ms(text)) {
        if (hub::parse_duration_ms(hub::duration_text(*duration)) != duration) std::abort();
    }
    return 0;
}
