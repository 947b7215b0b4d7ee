// Tested by tests/pns_sim_test.cpp.
#include "pns/sim/h1_request.hpp"

#include <algorithm>

#include "pns/text.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t headers_max = 100;

}  // namespace

std::string_view H1Request::header(std::string_view name) const {
    for (const auto& [key, value] : headers)
        if (key == name) return value;
    return {};
}

H1Reader::State H1Reader::fail(int status) {
    status_ = status;
    return State::bad;
}

H1Reader::State H1Reader::take(H1Request& out) {
    if (!in_body_) {
        const std::size_t end = buffer_.find("\r\n\r\n");
        if (end == std::string::npos)
            return buffer_.size() > h1_head_bytes_max ? fail(431) : State::more;
        if (end > h1_head_bytes_max) return fail(431);
        out = H1Request();
        if (parse_head(std::string_view(buffer_).substr(0, end + 2), out) == State::bad)
            return State::bad;
        buffer_.erase(0, end + 4);
        in_body_ = true;
    }
    if (buffer_.size() < length_) return State::more;
    out.body = buffer_.substr(0, length_);
    buffer_.erase(0, length_);
    in_body_ = false;
    return State::complete;
}

H1Reader::State H1Reader::parse_head(std::string_view head, H1Request& out) {
    std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    const std::size_t first = line.find(' '), last = line.rfind(' ');
    if (first == std::string_view::npos || last == first) return fail(400);
    const std::string_view version = line.substr(last + 1);
    if (version != "HTTP/1.1" && version != "HTTP/1.0") return fail(505);
    out.method = line.substr(0, first);
    out.target = line.substr(first + 1, last - first - 1);
    if (!is_printable(out.target) || out.target.empty()) return fail(400);

    bool has_length = false;
    length_ = 0;
    while (!head.empty()) {
        end = head.find("\r\n");
        const std::string_view field = head.substr(0, end);
        head.remove_prefix(end + 2);
        const std::size_t colon = field.find(':');
        if (colon == std::string_view::npos || colon == 0 || out.headers.size() >= headers_max ||
            !is_printable(field.substr(0, colon)))
            return fail(400);
        out.headers.emplace_back(lower(field.substr(0, colon)), trimmed(field.substr(colon + 1)));
        const auto& [name, value] = out.headers.back();
        if (name == "transfer-encoding") return fail(411);
        if (name != "content-length") continue;
        if (has_length || value.empty() || value.size() > 9 ||
            !std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; }))
            return fail(400);
        has_length = true;
        length_ = std::stoul(value);
    }
    if (!has_length && (out.method == "POST" || out.method == "PUT")) return fail(411);
    if (length_ > body_bytes_max_) return fail(413);
    out.keep_alive = version == "HTTP/1.1" && lower(out.header("connection")) != "close";
    return State::complete;
}

std::string h1_response(int status, const std::vector<std::pair<std::string, std::string>>& headers,
                        std::string_view body, bool keep_alive) {
    std::string out = "HTTP/1.1 " + std::to_string(status) + (status == 200 ? " OK" : " Status");
    for (const auto& [name, value] : headers)
        out.append("\r\n").append(name).append(": ").append(value);
    out += "\r\ncontent-length: " + std::to_string(body.size());
    if (!keep_alive) out += "\r\nconnection: close";
    out.append("\r\n\r\n").append(body);
    return out;
}

}  // namespace pns::sim
