#pragma once

// APNs broadcast channels as Apple keeps them: management calls and broadcasts
// (docs/contracts/pns.md 1.5). Any thread. The parts that all answers of Apple have in common are
// here too.

#include <map>
#include <mutex>
#include <string>

#include "pns/sim/provider.hpp"

namespace pns::sim {

bool is_uuid(std::string_view text);
std::string make_uuid();
Reply apns_refusal(int status, const std::string& reason);

class ChannelDesk {
  public:
    explicit ChannelDesk(std::string app) : app_(std::move(app)) {}

    bool is_management(const Request& request) const { return request.path.starts_with("/1/"); }
    bool is_broadcast(const Request& request) const { return request.path.starts_with("/4/b"); }
    /// The caller's id for the request, or a new one.
    static std::string request_id(const Request& request);

    Reply manage(const Request& request);
    /// Everything about a broadcast but its credential; fills handle.
    std::optional<Reply> check(const Request& request, Incoming& push);
    static Reply acted(const Behaviour& behaviour);

  private:
    Reply create(const Request& request);
    Reply one(const Request& request, const std::string& id);
    Reply all() const;

    std::string app_;
    mutable std::mutex mutex_;
    std::map<std::string, int> policies_;  ///< by channel id
};

}  // namespace pns::sim
