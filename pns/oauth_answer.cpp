// Tested by tests/pns_bearer_test.cpp.

#include "pns/oauth_answer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "pns/http_date.hpp"
#include "pns/retry_policy.hpp"

namespace pns {

namespace {

using nlohmann::json;

constexpr std::size_t token_bytes_max = 16 * 1024;
constexpr std::size_t error_bytes_max = 64, description_bytes_max = 100;
constexpr std::int64_t life_s_unknown = 300;
constexpr std::int64_t life_s_max = 30 * 86'400;

// Errors that the same credential will meet again. What is not listed is decided by the status.
constexpr std::array<std::string_view, 6> lasting_errors{
    "invalid_grant",   "invalid_client",      "invalid_scope",
    "invalid_request", "unauthorized_client", "unsupported_grant_type"};

std::int64_t life_of(const json& answer) {
    const auto at = answer.find("expires_in");
    if (at == answer.end()) return life_s_unknown;
    std::int64_t life_s = 0;
    if (at->is_number_integer()) {
        life_s = at->get<std::int64_t>();
    } else if (at->is_number_float()) {
        const auto number = at->get<double>();
        if (number > 0 && number < static_cast<double>(life_s_max)) {
            life_s = static_cast<std::int64_t>(number);
        }
    } else if (at->is_string()) {
        const auto& s = at->get_ref<const std::string&>();
        std::from_chars(s.data(), s.data() + s.size(), life_s);
    }
    return life_s <= 0 ? life_s_unknown : std::min(life_s, life_s_max);
}

bool is_token(std::string_view s) {
    return !s.empty() && s.size() <= token_bytes_max &&
           std::all_of(s.begin(), s.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

std::string printable(std::string_view s, std::size_t bytes_max) {
    std::string out;
    for (const char c : s.substr(0, bytes_max)) out.push_back(c >= ' ' && c < 0x7f ? c : '?');
    return out;
}

}  // namespace

std::variant<OauthToken, OauthRefusal> read_oauth_answer(const Answer& answer) {
    OauthRefusal refusal;
    const auto parsed = json::parse(answer.body, nullptr, false);
    const bool object = !answer.body_cut && parsed.is_object();
    if (answer.status == 200 && object) {
        const auto token = parsed.find("access_token");
        if (token != parsed.end() && token->is_string()) {
            OauthToken out;
            out.access_token = token->get<std::string>();
            out.life_s = life_of(parsed);
            if (is_token(out.access_token)) return out;
        }
    }
    refusal.reason = "token endpoint answered " + std::to_string(answer.status);
    const auto text = [&](const char* name) -> std::string_view {
        if (!object) return {};
        const auto at = parsed.find(name);
        if (at == parsed.end() || !at->is_string()) return {};
        return at->get_ref<const std::string&>();
    };
    const std::string_view error = text("error"), description = text("error_description");
    if (!error.empty()) refusal.reason += ' ' + printable(error, error_bytes_max);
    if (!description.empty())
        refusal.reason += ": " + printable(description, description_bytes_max);
    if (answer.status == 200) refusal.reason += " without a usable access_token";
    const bool lasting =
        std::find(lasting_errors.begin(), lasting_errors.end(), error) != lasting_errors.end();
    refusal.configuration = answer.status >= 400 && answer.status < 500 && answer.status != 408 &&
                            answer.status != 429 && (lasting || answer.status != 400);
    refusal.retry_after_ms =
        parse_retry_after_ms(answer.header("retry-after"), answer.now_ms).value_or(0);
    return refusal;
}

}  // namespace pns
