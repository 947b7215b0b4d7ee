// Request targets and Host headers from outside: no crash, and what is accepted keeps its promises.
// Inputs: up to 8454 bytes, a target and a host.

#include <cstdlib>
#include <string_view>

#include "hub/http/http.hpp"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    const auto line_end = input.find('\n');
    hub::Request request;
    request.method = "GET";
    request.target = std::string(input.substr(0, line_end));
    if (line_end != std::string_view::npos) {
        request.headers.emplace_back("host", std::string(input.substr(line_end + 1)));
    }
    if (!hub::parse_target(request)) return 0;
    require(request.target.size() <= hub::target_bytes_max);
    require(request.host.find_first_of("<>/\"\r\n @") == std::string::npos);
    std::size_t decoded = 0;
    for (const auto& segment : request.segments) {
        require(!segment.empty() && segment.find('\0') == std::string::npos);
        decoded += segment.size();
    }
    for (const auto& [name, value] : request.query) {
        require(name.find('\0') == std::string::npos && value.find('\0') == std::string::npos);
        for (const char c : name) require(c < 'A' || c > 'Z');
        decoded += name.size() + value.size();
    }
    require(decoded <= request.target.size());
    return 0;
}
