// Tested by tests/hub_job_lines_test.cpp.

#include "hub/bulk/line_reader.hpp"

#include <algorithm>

namespace hub {

/// std::string_view::find_first_of() asks for each byte anew, which was a third of the time of a
/// job.
std::size_t find_line_end(std::string_view text, std::size_t at) {
    constexpr std::size_t step = 1'024;  // one of the two may be far away, or nowhere
    for (; at < text.size(); at += step) {
        const std::string_view part = text.substr(at, step);
        const std::size_t feed = std::min(part.find('\n'), part.size());
        const std::size_t end = std::min(part.substr(0, feed).find('\r'), feed);
        if (end < part.size()) return at + end;
    }
    return std::string_view::npos;
}

LineReader::Fetched LineReader::fetch() {
    if (ended_) return Fetched::end;
    buffer_.erase(0, begin_);
    begin_ = 0;
    auto piece = read_(fetched_);
    if (!piece) {
        error_ = piece.error();
        return Fetched::failed;
    }
    if (piece->empty()) {
        ended_ = true;
        return Fetched::end;
    }
    const bool first = fetched_ == 0;
    fetched_ += piece->size();
    buffer_ += *piece;
    if (first && buffer_.starts_with("\xEF\xBB\xBF")) begin_ = 3;
    return Fetched::more;
}

LineReader::Step LineReader::next(Line& line) {
    line = Line();
    std::size_t searched = 0;
    for (;;) {
        const auto end = find_line_end(buffer_, begin_ + searched);
        if (end != std::string::npos) {
            // A line feed behind this carriage return, which belongs to it, may not be there yet.
            if (buffer_[end] == '\r' && end + 1 == buffer_.size() && !ended_) {
                searched = end - begin_;
                if (fetch() == Fetched::failed) return Step::failed;
                continue;
            }
            if (!line.too_long) line.text = std::string_view(buffer_).substr(begin_, end - begin_);
            begin_ = end + (std::string_view(buffer_).substr(end, 2) == "\r\n" ? 2 : 1);
            break;
        }
        if (buffer_.size() - begin_ > line_bytes_max_) {
            line.too_long = true;
            begin_ = buffer_.size();
        }
        searched = buffer_.size() - begin_;
        const auto fetched = fetch();
        if (fetched == Fetched::failed) return Step::failed;
        if (fetched == Fetched::more) continue;
        if (begin_ == buffer_.size() && !line.too_long) return Step::end;
        if (!line.too_long) line.text = std::string_view(buffer_).substr(begin_);
        begin_ = buffer_.size();
        break;
    }
    if (line.text.size() > line_bytes_max_) {
        line.text = {};
        line.too_long = true;
    }
    return Step::line;
}

}  // namespace hub
