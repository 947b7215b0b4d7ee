#pragma once

// HTTP as the handlers see it: plain values, the same for HTTP/1.1 and HTTP/2.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/text/wire_error.hpp"
#include "pns/task.hpp"

namespace hub {

using Headers = std::vector<std::pair<std::string, std::string>>;

/// Which of the process's ports a connection came in by, as to what it may ask for.
enum class Door : std::uint8_t {
    inside,   ///< loopback: everything
    outside,  ///< not the pages that are closed there
    admin,    ///< how the process is, and nothing else
};

/// A complete request; for a route that takes pieces, all but the body. `segments` and `query` are
/// percent-decoded once ('+' is a blank in the query only); names of query parameters are folded to
/// lower case.
struct Request {
    std::string method;  ///< upper case
    std::string target;  ///< raw, as received: path and query
    std::vector<std::string>
        segments;  ///< of the path; empty ones (double or trailing slashes) dropped
    std::vector<std::pair<std::string, std::string>> query;
    Headers headers;   ///< names lower case
    std::string host;  ///< Host / :authority as received
    std::string body;
    /// The body of a route that takes pieces, one piece a call; an empty one ends it. A refusal:
    /// there will be no more of it, and this is the answer.
    std::function<pns::Task<Parsed<std::string>>()> more;
    std::string tracking_id;  ///< the client's TrackingId when it is a GUID, else a fresh one
    std::string client;       ///< address of the peer, without its port
    bool tls = false;
    Door door = Door::inside;
    std::int64_t received_at_ms = 0;  ///< wall clock, milliseconds since 1970

    std::string_view header(std::string_view lower_name) const;  ///< first value, or empty
    std::optional<std::string_view> param(std::string_view lower_name) const;
    std::string_view path() const;        ///< target without its query
    std::string_view query_text() const;  ///< what follows the question mark, as received
};

struct Response {
    int status = 200;
    Headers headers;  ///< without content-length, TrackingId and x-ms-correlation-request-id: the
                      ///< server adds these
    std::string body;
    /// In place of `body`: one that many answers share without a copy, such as a page that never
    /// changes. `more` and `streams` do not go with it.
    std::shared_ptr<const std::string> shared_body;
    /// `shared_body` if there is one, else `body`.
    std::string_view first_bytes() const {
        return shared_body ? std::string_view(*shared_body) : std::string_view(body);
    }
    /// What follows `body`, for answers too large for memory: called until `more_bytes` have come,
    /// one piece a call; an empty piece ends the answer short of them.
    std::function<pns::Task<std::string>()> more;
    std::uint64_t more_bytes = 0;
    /// The end of the answer is not known yet: `more` is called until it gives an empty piece,
    /// which ends the answer. `more_bytes` is then ignored.
    bool streams = false;
    /// Of an answer that streams: called, on the loop of the connection, when nobody reads it any
    /// more, also while a `more` waits; that is to end soon. May be empty.
    std::function<void()> on_reader_gone{};
};

/// Fills segments, query, host and path of `request` from `request.target` and its headers. False:
/// not a valid origin-form target (bad percent escape, NUL, over the bound).
bool parse_target(Request& request);
constexpr std::size_t target_bytes_max = 8'192;

/// The client's TrackingId header when it is a GUID, else a fresh random one.
std::string choose_tracking_id(const Request& request);
/// The reason phrase of a status line.
std::string_view reason_phrase(int status);

Refusal body_too_large(std::size_t bytes_max);
Refusal body_ended_early();
/// The contract's error body (docs/contracts/anh.md 2.5) with the request's tracking id.
Response error(const Request& request, int status, std::string_view message);

}  // namespace hub
