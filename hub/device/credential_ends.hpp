#pragma once

// When the credentials of all hubs end, as far as that is known. Any thread; keeps what it has read
// of a hub until the hub changes.

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace hub {

class Hubs;

struct CredentialEnd {
    std::string hub, platform;
    std::int64_t end_s = 0;  ///< since 1970
};

class CredentialEnds {
  public:
    explicit CredentialEnds(const Hubs& hubs) : hubs_(hubs) {}
    std::vector<CredentialEnd> all();

  private:
    struct Known {
        std::uint64_t etag = 0;
        std::vector<CredentialEnd> ends;
    };
    const Hubs& hubs_;
    std::mutex mutex_;
    std::map<std::uint32_t, Known> known_;  ///< by the hub's number
};

}  // namespace hub
