// Tested by tests/hub_sends_command_test.cpp and tests/hub_bench_client_test.cpp.

#include "hub/cli/hub_address.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "hub/text/text.hpp"

namespace hub {
namespace {

/// One member of a connection string, names ignoring case.
std::string member(std::string_view text, std::string_view name) {
    while (!text.empty()) {
        const auto end = std::min(text.find(';'), text.size());
        const auto part = trimmed(text.substr(0, end));
        const auto equals = part.find('=');
        if (equals != std::string_view::npos && same_ignoring_case(part.substr(0, equals), name))
            return std::string(part.substr(equals + 1));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return {};
}

void check_ca_file(const std::string& file) {
    std::error_code none;
    if (std::filesystem::is_directory(file, none))
        throw std::invalid_argument("the file of trust anchors " + file + " is a directory");
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    if (!in.is_open() || in.bad())
        throw std::invalid_argument("the file of trust anchors " + file +
                                    " cannot be read: " + std::strerror(errno));
    if (text.find("CERTIFICATE-----") == std::string::npos)
        throw std::invalid_argument("the file of trust anchors " + file +
                                    " holds no certificate (PEM)");
}

/// A flag without a value is a variable of a script that is not set. What the environment says in
/// its place may be another hub.
void check_not_blank(const HubArguments& flags) {
    for (const auto& [name, value] :
         {std::pair{"--url", &flags.url}, std::pair{"--connection-string", &flags.connection},
          std::pair{"--hub", &flags.hub}, std::pair{"--ca-file", &flags.ca_file}}) {
        if (*value && trimmed(**value).empty())
            throw std::invalid_argument(std::string(name) +
                                        " is blank: give it a value, or leave it out");
    }
}

}  // namespace

HubUrl HubUrl::parse(std::string_view text) {
    HubUrl out;
    const auto scheme_end = text.find("://");
    const auto scheme = lower(text.substr(0, std::min(scheme_end, text.size())));
    out.plain = scheme == "http";
    if (scheme_end == std::string_view::npos || (!out.plain && scheme != "https" && scheme != "sb"))
        throw std::invalid_argument("the address of a hub is https://HOST[:PORT][/HUB] or http://" +
                                    std::string("HOST[:PORT][/HUB], and not \"") + shown(text) +
                                    "\"");
    text.remove_prefix(scheme_end + 3);
    const auto slash = std::min(text.find('/'), text.size());
    out.authority = std::string(text.substr(0, slash));
    text.remove_prefix(slash);
    while (text.starts_with('/')) text.remove_prefix(1);
    while (text.ends_with('/')) text.remove_suffix(1);
    out.path = std::string(text);
    out.host = out.authority;
    out.port = out.plain ? "80" : "443";
    const auto colon = out.authority.rfind(':');
    if (colon != std::string::npos && out.authority.find(']', colon) == std::string::npos) {
        out.host = out.authority.substr(0, colon);
        out.port = out.authority.substr(colon + 1);
    }
    if (out.host.starts_with('[') && out.host.ends_with(']'))
        out.host = out.host.substr(1, out.host.size() - 2);
    if (out.host.empty() || out.port.empty())
        throw std::invalid_argument("the address of a hub names no host, or no port behind \":\"");
    return out;
}

ConnectionString ConnectionString::parse(std::string_view text) {
    ConnectionString out;
    out.key_name = member(text, "SharedAccessKeyName");
    out.key = member(text, "SharedAccessKey");
    const std::string endpoint = member(text, "Endpoint");
    if (endpoint.empty() || out.key_name.empty() || out.key.empty())
        throw std::invalid_argument(
            "a connection string needs Endpoint, SharedAccessKeyName and SharedAccessKey");
    const HubUrl url = HubUrl::parse(endpoint);
    if (url.plain)
        throw std::invalid_argument("this client speaks TLS only, and the Endpoint is http://");
    out.host = url.host;
    out.port = url.port;
    return out;
}

HubArguments hub_environment() {
    const auto read = [](const char* name) -> std::optional<std::string> {
        const char* value = std::getenv(name);
        if (value == nullptr || *value == '\0') return std::nullopt;
        return value;
    };
    return {read("PUSHHUB_URL"), read("PUSHHUB_CONNECTION_STRING"), read("PUSHHUB_HUB"),
            read("PUSHHUB_CA_FILE")};
}

HubTarget hub_target(const HubArguments& flags, const HubArguments& environment) {
    check_not_blank(flags);
    HubTarget out;
    const std::string connection =
        flags.connection ? *flags.connection : environment.connection.value_or("");
    if (connection.empty())
        throw std::invalid_argument(
            "name a rule: --connection-string or PUSHHUB_CONNECTION_STRING");
    out.rule = member(connection, "SharedAccessKeyName");
    out.key = member(connection, "SharedAccessKey");
    if (out.rule.empty() || out.key.empty())
        throw std::invalid_argument(
            "the connection string has no SharedAccessKeyName or SharedAccessKey");
    std::string where = flags.url ? *flags.url : member(flags.connection.value_or(""), "Endpoint");
    if (where.empty()) where = environment.url.value_or(member(connection, "Endpoint"));
    if (where.empty()) throw std::invalid_argument("name the hub's address: --url or PUSHHUB_URL");
    const HubUrl url = HubUrl::parse(where);
    if (flags.hub && flags.url && !url.path.empty() && *flags.hub != url.path)
        throw std::invalid_argument("--hub and --url name two hubs");
    out.hub = flags.hub                        ? *flags.hub
              : flags.url && !url.path.empty() ? url.path
                                               : environment.hub.value_or(url.path);
    if (out.hub.empty() || out.hub.find('/') != std::string::npos)
        throw std::invalid_argument(
            "name the hub: --hub NAME, PUSHHUB_HUB, or --url https://HOST[:PORT]/HUB");
    out.host = url.host;
    out.url = (url.plain ? "http://" : "https://") + url.authority;
    if (url.plain && flags.ca_file)
        throw std::invalid_argument("--ca-file is for https:// and the address is http://");
    if (!url.plain) out.ca_file = flags.ca_file ? *flags.ca_file : environment.ca_file.value_or("");
    if (flags.ca_file || !out.ca_file.empty()) check_ca_file(out.ca_file);
    return out;
}

}  // namespace hub
