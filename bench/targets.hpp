#pragma once

// What the benchmarks send to on each platform: handles, bodies, and what h2load must ask so that
// its requests are like the hub's. Pure; any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/sink.hpp"

namespace bench {

/// Spreads bits: neighbours get handles and tags that have nothing in common.
std::uint64_t mixed(std::uint64_t x);
/// 64 upper-case hex digits.
std::string token_of(std::uint64_t number);

struct Target {
    std::string platform;  ///< stored name, and the simulator's
    std::string format;    ///< ServiceBusNotification-Format
    std::string body;      ///< of a native send
    /// The body of a template; one '%' marks the place of its text.
    std::string template_body;
    std::string template_header, template_header_value;  ///< empty = none
    bool h1 = false;                                     ///< the provider speaks HTTP/1.1

    std::vector<std::pair<std::string, std::string>> send_headers() const;  ///< of a native POST

    /// The canonical handle of device `number`. `host` is Sink::host().
    std::string handle(std::uint64_t number, const std::string& host) const;

    // --- h2load ---
    std::string path(std::uint64_t number) const;  ///< differs where the hub's requests differ
    std::string request_body() const;              ///< of the size of what the hub sends
    std::vector<std::string> request_headers(const Sink& sink) const;
};

const std::vector<Target>& targets();
const Target& target(std::string_view platform);  ///< throws std::invalid_argument
std::vector<std::string> target_names();

}  // namespace bench
