#pragma once

// Where a hub is and whose key a client signs with: connection strings, URLs, flags, environment.
// Any thread; what cannot be understood throws std::invalid_argument.

#include <optional>
#include <string>
#include <string_view>

namespace hub {

/// SCHEME://HOST[:PORT][/PATH] with https, sb (the same), or http.
struct HubUrl {
    bool plain = false;     ///< http: without TLS
    std::string host;       ///< without brackets
    std::string port;       ///< that of the scheme if none is named
    std::string authority;  ///< HOST[:PORT] as it was written
    std::string path;       ///< without slashes before and behind
    static HubUrl parse(std::string_view text);
};

/// What a connection string says (docs/contracts/anh.md 1.1).
struct ConnectionString {
    std::string host;
    std::string port;
    std::string key_name;
    std::string key;
    static ConnectionString parse(std::string_view text);  ///< of a hub that is spoken to over TLS
};

/// How a verb is told which hub it is about: by flags, and by the environment.
struct HubArguments {
    std::optional<std::string> url, connection, hub, ca_file;
};
/// PUSHHUB_URL, PUSHHUB_CONNECTION_STRING, PUSHHUB_HUB, PUSHHUB_CA_FILE, as `pushhub dev` writes
/// them. What is set to nothing is not set.
HubArguments hub_environment();

struct HubTarget {
    std::string url;  ///< https://HOST[:PORT] or http://HOST[:PORT]
    std::string host, hub;
    std::string rule, key;
    std::string ca_file;  ///< readable; empty: the system's anchors, or no TLS
};
/// A flag beats the environment, whatever it says: a connection string from a flag also beats an
/// URL from the environment.
HubTarget hub_target(const HubArguments& flags, const HubArguments& environment);

}  // namespace hub
