#pragma once

// What dev, games and the benchmark load a hub with: HTTP/2 over TLS, many streams on a few
// connections, one thread. It stands beside HttpClient because it is a load generator: one loop
// keeps thousands of requests open at a cost per request that the figures can bear. Calls block;
// what goes wrong on the way (no connection, lost stream) throws std::runtime_error.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/cli/hub_address.hpp"
#include "hub/process/http_client.hpp"

namespace hub {

struct ClientRequest {
    std::string method = "GET";
    std::string path;                                          ///< with query
    std::vector<std::pair<std::string, std::string>> headers;  ///< names lower case
    std::string body;
    std::uint64_t tag = 0;  ///< the caller's
};

using ClientReply = HttpReply;

class HubClient {
  public:
    /// Trusts the anchors in `ca_file`, or those of the system if it is empty.
    HubClient(const std::string& connection_string, const std::string& ca_file,
              unsigned connections = 1);
    ~HubClient();
    HubClient(const HubClient&) = delete;
    HubClient& operator=(const HubClient&) = delete;

    ClientReply call(ClientRequest request);
    /// Asks `next` for requests until it returns false, keeps at most `in_flight_max` of them open
    /// per connection and hands each answer to `done`, in the order of arrival.
    void call_many(const std::function<bool(ClientRequest&)>& next,
                   const std::function<void(const ClientRequest&, const ClientReply&)>& done,
                   std::size_t in_flight_max = 64);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// One exchange by HttpClient, on a connection of its own, for the simulators' control ports and
/// /metrics. `url` is http://ADDRESS:PORT. Throws std::runtime_error when no answer comes.
ClientReply plain_call(const std::string& url, const std::string& method, const std::string& path,
                       const std::string& body = {});

}  // namespace hub
