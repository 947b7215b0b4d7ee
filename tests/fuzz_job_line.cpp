// Any bytes: lines are read or refused with a reason; what is read writes one line that reads back
// the same. Reading in pieces gives the lines that splitting gives.
// Inputs: up to 65538 bytes, a line, and two bytes that steer.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "hub/bulk/job_lines.hpp"
#include "hub/bulk/job_xml.hpp"
#include "hub/bulk/line_reader.hpp"
#include "hub/device/atom.hpp"

namespace {

void check_line(hub::JobType type, std::string_view text) {
    auto parsed = hub::parse_job_line(type, text);
    if (!hub::ok(parsed)) {
        std::string row;
        hub::append_row(row, 1, std::get<hub::Refusal>(parsed).message);
        if (row.size() < 4 || std::count(row.begin(), row.end(), '\n') != 1) std::abort();
        return;
    }
    const auto& registration = std::get<hub::JobLine>(parsed).registration;
    if (type == hub::JobType::import_delete) return;
    const auto line = hub::one_line(hub::typed_description(registration));
    if (line.find_first_of("\r\n") != std::string::npos) std::abort();
    if (line.size() > 60'000) return;
    const auto again = hub::parse_job_line(type, line);
    if (!hub::ok(again)) return;  // control characters came in as references and cannot go out
    if (std::get<hub::JobLine>(again).registration.handle != registration.handle) std::abort();
}

void check_reader(std::string_view text, std::size_t piece, std::size_t bound) {
    hub::LineReader reader(
        [&](std::uint64_t at) -> boost::system::result<std::string> {
            return at < text.size() ? std::string(text.substr(at, piece)) : std::string();
        },
        0, bound);
    hub::LineReader::Line line;
    std::size_t lines = 0;
    while (reader.next(line) == hub::LineReader::Step::line) {
        if (line.text.size() > bound || reader.offset() > text.size()) std::abort();
        ++lines;
    }
    std::size_t ends = 0;  // LF, CR or CR LF
    for (std::size_t i = 0; i < text.size(); ++i)
        ends += text[i] == '\n' || (text[i] == '\r' && !text.substr(i + 1).starts_with('\n'));
    if (lines > ends + 1 || lines < ends) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < 2) return 0;
    const std::string_view text(reinterpret_cast<const char*>(bytes) + 2, size - 2);
    check_line(static_cast<hub::JobType>(1 + bytes[0] % 4), text);
    check_reader(text, 3 + bytes[0] % 32, 1 + bytes[1]);
    (void)hub::parse_job_request(text);
    return 0;
}
