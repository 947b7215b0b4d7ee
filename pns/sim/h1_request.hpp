#pragma once

// HTTP/1.1 as the simulators and their control ports read it: one request at a time, Content-Length
// only, everything bounded. Pure; RFC 9112.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pns::sim {

inline constexpr std::size_t h1_head_bytes_max = 32 * 1024;

struct H1Request {
    std::string method, target, body;
    std::vector<std::pair<std::string, std::string>> headers;  ///< names lower case
    bool keep_alive = true;
    std::string_view header(std::string_view name) const;
};

/// Feed bytes as they come; a request is there when take() gives `complete`.
class H1Reader {
  public:
    enum class State { more, complete, bad };
    explicit H1Reader(std::size_t body_bytes_max) : body_bytes_max_(body_bytes_max) {}

    void feed(std::string_view bytes) { buffer_.append(bytes); }
    /// `bad`: answer status() and close.
    State take(H1Request& out);
    int status() const { return status_; }

  private:
    State fail(int status);
    State parse_head(std::string_view head, H1Request& out);

    std::size_t body_bytes_max_;
    std::string buffer_;
    bool in_body_ = false;
    std::size_t length_ = 0;
    int status_ = 400;
};

/// Status line, headers and Content-Length.
std::string h1_response(int status, const std::vector<std::pair<std::string, std::string>>& headers,
                        std::string_view body, bool keep_alive);

}  // namespace pns::sim
