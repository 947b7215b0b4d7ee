#pragma once

// Accounts and pushes for tests of the provider-specific code: one opened account per platform and
// process.

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "pns/account.hpp"
#include "pns/sim/credentials.hpp"

namespace support {

inline constexpr std::int64_t now_ms = 1'795'200'000'000;  // 2026-11-20T18:40:00Z

inline const pns::sim::MadeCredential& made_credential(const std::string& platform) {
    static std::map<std::string, pns::sim::MadeCredential> all;
    auto found = all.find(platform);
    if (found == all.end())
        found = all.emplace(platform, pns::sim::make_credential(platform)).first;
    return found->second;
}

inline std::unique_ptr<pns::Account> open_with(const pns::Credential& credential) {
    auto opened = pns::open_account(credential);
    if (const auto* refusal = std::get_if<pns::Refusal>(&opened)) FAIL(refusal->message);
    return std::move(std::get<std::unique_ptr<pns::Account>>(opened));
}

inline std::unique_ptr<pns::Account> open_account(const std::string& platform) {
    return open_with(made_credential(platform).credential);
}

inline std::string sample_handle(const std::string& platform) {
    if (platform == "apns") return std::string(62, 'A') + "0F";
    if (platform == "fcmv1") return "cX1:APA91b-_z";
    if (platform == "hms") return "IQAAAACy0wXfAAB";
    if (platform == "wns") return "https://wns2-by3p.notify.windows.com/?token=AwYAAAB%3d";
    return "amzn1.adm-registration.v3.Y29t";
}

inline pns::Message message_of(std::string body, pns::Headers headers = {}) {
    pns::Message message;
    message.body = std::move(body);
    message.headers = std::move(headers);
    return message;
}

/// The value of a header, or "(none)".
inline std::string header_of(const pns::Headers& headers, std::string_view name) {
    for (const auto& [key, value] : headers)
        if (key == name) return value;
    return "(none)";
}

inline std::shared_ptr<const pns::Prepared> prepare(const pns::Account& account,
                                                    const pns::Message& message) {
    auto prepared = account.prepare(message);
    if (const auto* refusal = std::get_if<pns::Refusal>(&prepared)) FAIL(refusal->message);
    return std::get<std::shared_ptr<const pns::Prepared>>(prepared);
}

/// The outcome of a refused message, or "(taken)".
inline std::string refusal_of(const pns::Account& account, const pns::Message& message) {
    auto prepared = account.prepare(message);
    const auto* refusal = std::get_if<pns::Refusal>(&prepared);
    if (!refusal) return "(taken)";
    CHECK(refusal->message.size() > 10);
    return std::string(pns::outcome_name(refusal->outcome));
}

inline nlohmann::json data_file(const std::string& path) {
    std::ifstream file(std::string(PUSHHUB_SOURCE_DIR) + "/tests/data/" + path);
    REQUIRE(file.good());
    return nlohmann::json::parse(file);
}

}  // namespace support
