#pragma once

// The log of the process: one line an event on stderr, as text or as one JSON object. Any thread.
//
// Messages are fixed texts; what varies goes into fields. Callers do not log handles, keys, tokens
// or signatures. As a second line of defence everything also passes redacted(), but for the fields
// "hub", "rule", "by" and "changes": they have names that operators chose. A name that came with a
// request and that nobody has checked passes redacted() before it is logged under one of these.

#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <string_view>

namespace hub {

struct LogField {
    std::string_view name;
    std::string value;  ///< empty: the field is left out
};
using LogFields = std::initializer_list<LogField>;

/// The value of a field that says how many like this line were left out
/// (hub/process/log_limit.hpp).
std::string lines_left_out(std::uint64_t count);

/// `level`: debug, info, warn, error or off; `format`: text or json. `out` null: stderr. Call
/// before threads start.
void open_log(std::string_view level, std::string_view format, std::ostream* out = nullptr);

/// Another level from now on. Any thread.
void set_log_level(std::string_view level);

void log_debug(std::string_view message, LogFields fields = {});
void log_info(std::string_view message, LogFields fields = {});
void log_warn(std::string_view message, LogFields fields = {});
void log_error(std::string_view message, LogFields fields = {});

/// `text` without what looks like a secret: signatures, keys, bearer and SAS tokens, PEM blocks,
/// and any run of 40 or more letters and digits, which is what handles look like. Characters that
/// act on a terminal or turn the order of a line around become blanks, bytes that are no UTF-8
/// question marks.
std::string redacted(std::string_view text);

}  // namespace hub
