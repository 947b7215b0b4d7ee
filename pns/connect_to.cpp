// Tested by tests/pns_connection_test.cpp.

#include "pns/connect_to.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "pns/errc.hpp"
#include "pns/text.hpp"

namespace pns {

namespace {

std::optional<Target> host_and_port(std::string_view s) {
    const auto colon = s.rfind(':');
    if (colon == std::string_view::npos) return {};
    auto host = s.substr(0, colon);
    const auto digits = s.substr(colon + 1);
    Target out;
    const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
    if (ec != std::errc() || end != digits.data() + digits.size() || out.port == 0) return {};
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    } else if (host.find_first_of(":[]") != std::string_view::npos) {
        return {};
    }
    if (host.empty() || host.size() > 253 ||
        host.find_first_of("=/ \t\r\n") != std::string_view::npos) {
        return {};
    }
    out.host = lower(host);
    return out;
}

}  // namespace

Result<ConnectTo> ConnectTo::parse(const std::vector<std::string>& rules, int descriptors_below) {
    ConnectTo out;
    out.descriptors_below_ = descriptors_below;
    for (const auto& text : rules) {
        const auto equals = text.find('=');
        if (equals == std::string::npos) return error_code(errc::bad_connect_to);
        auto from = host_and_port(std::string_view(text).substr(0, equals));
        auto to = host_and_port(std::string_view(text).substr(equals + 1));
        if (!from || !to || to->host.find('*') != std::string::npos) {
            return error_code(errc::bad_connect_to);
        }
        Rule rule;
        rule.wildcard = from->host.starts_with("*.");
        rule.host = rule.wildcard ? from->host.substr(2) : from->host;
        if (rule.host.empty() || rule.host.find('*') != std::string::npos) {
            return error_code(errc::bad_connect_to);
        }
        rule.port = from->port;
        rule.target = std::move(*to);
        rule.target.descriptors_below = descriptors_below;
        out.rules_.push_back(std::move(rule));
    }
    return out;
}

Target ConnectTo::resolve(std::string_view host, std::uint16_t port) const {
    Target out;
    out.host = std::string(host);
    out.port = port;
    out.descriptors_below = descriptors_below_;
    if (rules_.empty()) return out;
    const std::string name = lower(host);
    for (const auto& rule : rules_) {
        if (rule.port != port) continue;
        const bool covers = rule.wildcard
                                ? name.size() > rule.host.size() + 1 && name.ends_with(rule.host) &&
                                      name[name.size() - rule.host.size() - 1] == '.'
                                : name == rule.host;
        if (covers) return rule.target;
    }
    return out;
}

}  // namespace pns
