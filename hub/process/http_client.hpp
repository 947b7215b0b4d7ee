#pragma once

// A blocking HTTP/1.1 client on libcurl, for threads that may wait: jobs that read and write blobs,
// the command line, control ports of simulators. Redirects and proxies of the environment are not
// followed: a call goes to the host it names and to no other. One thread.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pns/clock.hpp"
#include "pns/connect_to.hpp"

namespace hub {

struct HttpReply {
    int status = 0;
    std::vector<std::pair<std::string, std::string>> headers;  ///< names lower case
    std::string body;
    std::string_view header(std::string_view lower_name) const;  ///< first value, or empty
};

/// No answer.
struct HttpFailure {
    std::string why;        ///< without the URL, which may hold a signature
    bool hopeless = false;  ///< another attempt would end the same way
};

struct HttpCall {
    std::string method = "GET";
    std::string url;                   ///< https or http, percent-coded
    std::vector<std::string> headers;  ///< "Name: value"
    std::string body;
    /// Instead of `body`, as often as the transport asks: fills `room` with what stands at
    /// `offset`. False: it cannot be had.
    std::function<bool(std::uint64_t offset, std::span<char> room)> read_body;
    std::uint64_t read_body_bytes = 0;
    std::optional<pns::Target> connect_to;  ///< instead of the host of the URL
    /// Instead of HttpReply::body: the answer as it comes. False ends the call with what there is.
    std::function<bool(int status, std::string_view bytes)> on_bytes;
    /// A larger answer with a status below 300 is a failure; others are cut.
    std::size_t body_bytes_max = 16u << 20;
};

class HttpClient {
  public:
    struct Settings {
        std::string ca_file;                      ///< PEM trust anchors
        bool system_anchors = true;               ///< believe in the system's as well
        std::int64_t timeout_ms = 30'000;         ///< to connect, and without a byte either way
        const std::atomic<bool>* stop = nullptr;  ///< a call ends soon after it became true
    };
    /// Time-outs run on `clock`, which outlives the client.
    HttpClient(const pns::Clock& clock, Settings settings);
    ~HttpClient();
    HttpClient(const HttpClient&) = delete;
    HttpClient& operator=(const HttpClient&) = delete;

    /// Keeps the connection for the next call to the same host.
    std::variant<HttpReply, HttpFailure> call(const HttpCall& call);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hub
