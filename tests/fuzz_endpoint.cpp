// URLs and subscriptions from clients: no crash; what is accepted leads to a host name that no
// resolver takes for an address, and keeps its spelling when it is read again.
// Inputs: up to 8192 bytes, a target.

#include <boost/asio/ip/address.hpp>
#include <cstdlib>
#include <string>
#include <string_view>

#include "pns/endpoint_guard.hpp"
#include "pns/handles.hpp"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void check_url(std::string_view text) {
    const auto url = pns::parse_url(text);
    if (!url) return;
    const std::string& host = url->origin.host;
    require(text.size() <= 2048 && host.size() <= 253 && url->origin.port != 0);
    require(host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == std::string::npos);
    require(host.find("..") == std::string::npos && host.front() != '.' && host.back() != '.');
    // The last label begins with a letter: inet_aton and the URL standard read no number in it.
    const char last = host[host.rfind('.') + 1];
    require(last >= 'a' && last <= 'z');
    boost::system::error_code not_literal;
    boost::asio::ip::make_address(host, not_literal);
    require(not_literal.failed());
    require(url->target.front() == '/');
    for (const char c : url->target) require(c > ' ' && c < '\x7f' && c != '#');

    std::string again = url->secure ? "https://" : "http://";
    again += host + ':' + std::to_string(url->origin.port) + url->target;
    if (again.size() > 2048) return;
    const auto same = pns::parse_url(again);
    require(same && same->origin == url->origin && same->target == url->target);
}

void check_guard(std::string_view text) {
    const auto rule = pns::EndpointGuard::parse({std::string(text)});
    if (rule) require(!rule->allows({"", 443}) && !rule->rules_text().empty());
    static const auto known = pns::EndpointGuard::parse({});
    const auto url = pns::parse_url(text);
    if (!url || !known->allows(url->origin)) return;
    require(url->origin.port == 443);
    bool listed = false;
    for (std::string_view service : pns::known_push_services()) {
        if (service.starts_with("*.")) service.remove_prefix(1);
        listed = listed || url->origin.host.ends_with(service);
    }
    require(listed);
}

void check_address(std::string_view text) {
    boost::system::error_code ec;
    const auto address = boost::asio::ip::make_address(std::string(text), ec);
    if (ec || !pns::is_public_address(address)) return;
    require(!address.is_loopback() && !address.is_multicast() && !address.is_unspecified());
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
        const auto inner =
            boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6());
        require(pns::is_public_address(inner));
    }
}

void check_subscription(std::string_view text) {
    auto checked = pns::normalise_browser_handle(text);
    const auto* handle = std::get_if<std::string>(&checked);
    if (!handle) return;
    const auto origin = pns::browser_origin(*handle);
    require(origin && !origin->host.empty());
    auto again = pns::normalise_browser_handle(*handle);
    require(std::get_if<std::string>(&again) && std::get<std::string>(again) == *handle);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    check_url(input);
    check_url("https://" + std::string(input));
    check_guard(input);
    check_address(input);
    check_subscription(input);
    pns::browser_origin(input);
    return 0;
}
