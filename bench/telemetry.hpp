#pragma once

// Reads what GET /{hub}/messages/{id} says (docs/contracts/anh.md 6.1). Pure but for
// wait_until_final().

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/cli/client.hpp"

namespace bench {

struct Telemetry {
    std::string state;
    std::int64_t enqueued_at_ms = 0, started_at_ms = 0, ended_at_ms = 0;
    std::map<std::string, std::map<std::string, std::uint64_t>>
        outcomes;                   ///< platform name -> outcome -> devices
    std::uint64_t devices() const;  ///< over all outcomes
    std::uint64_t devices(std::string_view outcome) const;
    bool is_final() const {
        return state != "Enqueued" && state != "Processing" && state != "Scheduled";
    }
};

/// Throws std::runtime_error if the body is no NotificationDetails.
Telemetry parse_telemetry(const std::string& body);

/// Polls until the send is final. Throws std::runtime_error when that takes longer than
/// `timeout_s`.
Telemetry wait_until_final(hub::HubClient& client, const std::string& hub, const std::string& id,
                           double timeout_s);

/// Posts one notification; the id of the send. Throws std::runtime_error unless the hub answers
/// 201.
std::string post_send(hub::HubClient& client, const std::string& hub, const std::string& format,
                      const std::string& tag_expression, const std::string& body,
                      const std::vector<std::pair<std::string, std::string>>& headers = {});

}  // namespace bench
