// Tested by tests/pns_endpoint_guard_test.cpp, tests/fuzz_endpoint.cpp.
#include "pns/endpoint_guard.hpp"

#include <algorithm>
#include <array>

#include "pns/errc.hpp"
#include "pns/handles.hpp"

namespace pns {

namespace {

struct Block4 {
    std::uint32_t prefix;
    unsigned bits;
};
constexpr std::uint32_t ipv4(unsigned a, unsigned b, unsigned c, unsigned d) {
    return (a << 24) | (b << 16) | (c << 8) | d;
}
// The IANA registry of special-purpose IPv4 addresses (RFC 6890 and later), and multicast.
constexpr std::array<Block4, 15> special4 = {{
    {ipv4(0, 0, 0, 0), 8},        // this network
    {ipv4(10, 0, 0, 0), 8},       // private
    {ipv4(100, 64, 0, 0), 10},    // shared by carriers
    {ipv4(127, 0, 0, 0), 8},      // loopback
    {ipv4(169, 254, 0, 0), 16},   // link-local
    {ipv4(172, 16, 0, 0), 12},    // private
    {ipv4(192, 0, 0, 0), 24},     // protocol assignments
    {ipv4(192, 0, 2, 0), 24},     // documentation
    {ipv4(192, 88, 99, 0), 24},   // 6to4 relays
    {ipv4(192, 168, 0, 0), 16},   // private
    {ipv4(198, 18, 0, 0), 15},    // benchmarks
    {ipv4(198, 51, 100, 0), 24},  // documentation
    {ipv4(203, 0, 113, 0), 24},   // documentation
    {ipv4(224, 0, 0, 0), 4},      // multicast
    {ipv4(240, 0, 0, 0), 4},      // reserved, broadcast
}};

bool is_public4(std::uint32_t address) {
    return std::none_of(special4.begin(), special4.end(), [address](const Block4& block) {
        return (address ^ block.prefix) >> (32 - block.bits) == 0;
    });
}

using Bytes16 = asio::ip::address_v6::bytes_type;

std::uint32_t ipv4_at(const Bytes16& bytes, std::size_t at) {
    return ipv4(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

bool starts_with(const Bytes16& bytes, std::initializer_list<unsigned> prefix) {
    return std::equal(prefix.begin(), prefix.end(), bytes.begin());
}

bool is_public6(const Bytes16& bytes) {
    // IPv4-mapped, and the well-known NAT64 prefix that DNS64 makes names of IPv4 hosts lead to.
    if (starts_with(bytes, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}) ||
        starts_with(bytes, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}))
        return is_public4(ipv4_at(bytes, 12));
    if ((bytes[0] & 0xe0) != 0x20) return false;  // only 2000::/3 is global unicast
    const bool assignments = starts_with(bytes, {0x20, 0x01}) && bytes[2] < 2;  // 2001::/23, Teredo
    const bool documentation = starts_with(bytes, {0x20, 0x01, 0x0d, 0xb8}) ||
                               (starts_with(bytes, {0x3f, 0xff}) && bytes[2] < 0x10);
    const bool six_to_four = starts_with(bytes, {0x20, 0x02});
    return !assignments && !documentation && !six_to_four;
}

}  // namespace

const std::vector<std::string>& known_push_services() {
    static const std::vector<std::string> known = {
        "fcm.googleapis.com",           // Chrome and its kin
        "jmt17.google.com",             // Chromium without Google's keys
        "android.googleapis.com",       // old Chrome
        "*.push.services.mozilla.com",  // Firefox
        "*.push.apple.com",             // Safari
        "*.notify.windows.com",         // Edge on Windows
    };
    return known;
}

const std::vector<std::string>& known_wns_hosts() {
    static const std::vector<std::string> known = {"*.notify.windows.com", "notify.windows.com"};
    return known;
}

Result<EndpointGuard> EndpointGuard::parse(const std::vector<std::string>& rules) {
    return parse(rules, known_push_services());
}

Result<EndpointGuard> EndpointGuard::parse(const std::vector<std::string>& rules,
                                           const std::vector<std::string>& otherwise) {
    if (rules.size() > rules_max) return error_code(errc::bad_push_service);
    EndpointGuard out;
    for (const std::string& text : rules.empty() ? otherwise : rules) {
        Rule rule;
        std::string_view name = text;
        const auto colon = std::min(name.find(':'), name.size());
        std::string url = "https://";
        if (name.substr(0, colon) == "*") {
            url.append("any.invalid").append(name.substr(1));
        } else {
            rule.below = name.starts_with("*.");
            if (rule.below) name.remove_prefix(2);
            url.append(name);
        }
        const auto parsed = parse_url(url);
        if (!parsed || parsed->target != "/" || url.back() == '/')
            return error_code(errc::bad_push_service);
        if (text.substr(0, colon) != "*") rule.name = parsed->origin.host;
        rule.port = parsed->origin.port;
        out.rules_.push_back(std::move(rule));
        out.text_ += (out.text_.empty() ? "" : ", ") + lower(text);
    }
    return out;
}

bool EndpointGuard::allows(const Origin& origin) const {
    if (origin.host.empty()) return false;
    return std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) {
        if (rule.port != origin.port) return false;
        if (rule.name.empty()) return true;
        if (!rule.below) return origin.host == rule.name;
        return origin.host != rule.name && within_domain(origin.host, rule.name);
    });
}

bool is_public_address(const asio::ip::address& address) {
    if (address.is_v4()) return is_public4(address.to_v4().to_uint());
    const auto v6 = address.to_v6();
    return v6.scope_id() == 0 && is_public6(v6.to_bytes());
}

}  // namespace pns
