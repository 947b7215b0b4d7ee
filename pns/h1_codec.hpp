#pragma once

// HTTP/1.1 without I/O, for a client that POSTs and reads one answer at a time. Beast's parser is
// hidden in the .cpp.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pns/account.hpp"
#include "pns/h2_session.hpp"

namespace pns {

/// Appends a POST with Host and Content-Length; `authority` is host or host:port, `common` may be
/// null.
void append_h1_post(std::string& out, std::string_view authority, std::string_view path,
                    const H2Fields* common, std::span<const H2Header> headers,
                    std::string_view body);

/// host, with the port when it is not 443.
std::string authority_of(const Origin& origin);

class H1Parser {
  public:
    static constexpr std::uint32_t header_bytes_max = 64 * 1024;
    static constexpr std::size_t body_bytes_max = 256 * 1024;

    H1Parser();
    ~H1Parser();

    enum class Step { more, complete, broken };
    /// Takes bytes; `complete` once the final answer is whole (or its body over the cap, or a line
    /// of a chunk longer than a head may be: body_cut). Bytes after it are an error: nothing is
    /// pipelined.
    Step feed(std::string_view bytes);
    /// The peer closed: complete if that ends a body without length, or if at least the head had
    /// come (body_cut).
    Step feed_end();
    /// Valid until the next call. Header names are lower case; now_ms is the caller's to set.
    const Answer& answer() const;
    bool keep_alive() const;
    /// For the next answer on the same connection.
    void reset();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pns
