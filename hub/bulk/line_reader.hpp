#pragma once

// Lines of a file that is read piece by piece: memory is bounded by one piece and one line. CR, LF
// and CR LF end a line. Knows at which byte each line begins, so that reading can go on there
// later. One thread.

#include <boost/system/result.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace hub {

/// The first carriage return or line feed from `at` on; npos: none.
std::size_t find_line_end(std::string_view text, std::size_t at);

class LineReader {
  public:
    /// Bytes from `offset`, at least one unless the file ends there.
    using Read = std::function<boost::system::result<std::string>(std::uint64_t offset)>;
    struct Line {
        std::string_view text;  ///< without its line end; valid until the next call
        bool too_long = false;  ///< over the bound: `text` is empty
    };
    enum class Step : std::uint8_t { line, end, failed };

    LineReader(Read read, std::uint64_t offset, std::size_t line_bytes_max)
        : read_(std::move(read)), fetched_(offset), line_bytes_max_(line_bytes_max) {}

    /// A UTF-8 byte order mark at offset 0 is skipped.
    Step next(Line& line);
    /// Where the next line begins.
    std::uint64_t offset() const { return fetched_ - (buffer_.size() - begin_); }
    boost::system::error_code error() const { return error_; }

  private:
    enum class Fetched : std::uint8_t { more, end, failed };
    Fetched fetch();

    Read read_;
    std::uint64_t fetched_;  // bytes of the file that are in the buffer or behind it
    const std::size_t line_bytes_max_;
    std::string buffer_;
    std::size_t begin_ = 0;
    bool ended_ = false;
    boost::system::error_code error_;
};

}  // namespace hub
