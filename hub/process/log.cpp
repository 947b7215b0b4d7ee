// Tested by tests/hub_log_test.cpp.
//
// One spdlog logger serves the process. Each line is put together on the thread that logs, and
// only its writing is locked. redacted() looks for names that announce a secret and for long runs
// of characters that could be one; it is pure and has tests of its own. Fields of names are told as
// they are (is_of_names()). The log must not be opened while others write to it.

#include "hub/process/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "tagexpr/utf8.hpp"

namespace hub {

namespace {

constexpr std::string_view mask = "***";
constexpr std::size_t line_bytes_max = 4'096;

struct Log {
    std::shared_ptr<spdlog::logger> logger;
    bool json = false;
};

spdlog::level::level_enum level_of(std::string_view level) {
    return spdlog::level::from_str(std::string(level == "warn" ? "warning" : level));
}

Log make_log(std::string_view level, std::string_view format, std::ostream* out) {
    spdlog::sink_ptr sink;
    if (out == nullptr) {
        sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
        sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(*out, true);
    }
    Log log;
    log.json = format == "json";
    log.logger = std::make_shared<spdlog::logger>("pushhub", std::move(sink));
    const std::string pattern = log.json ? R"({"at":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                                         : "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
    log.logger->set_formatter(
        std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc));
    log.logger->set_level(level_of(level));
    log.logger->flush_on(spdlog::level::debug);
    return log;
}

Log& the_log() {
    static Log log = make_log("info", "text", nullptr);
    return log;
}

bool names_a_secret(std::string_view name) {
    constexpr std::array words{"key", "secret", "password", "authorization", "signature",
                               "sig", "token",  "handle",   "credential"};
    return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
        return name.size() >= word.size() && name.substr(name.size() - word.size()) == word;
    });
}

/// Fields of names that operators chose: a name of 40 letters, or one that ends like the beginning
/// of a secret, is none.
bool is_of_names(std::string_view field) {
    constexpr std::array fields{"hub", "rule", "by", "changes"};
    return std::find(fields.begin(), fields.end(), field) != fields.end();
}

/// Characters that a terminal acts on or that turn the order of a line around: controls of ASCII
/// and of ISO 6429 (C1), line separators, marks of direction.
bool acts_on_a_terminal(char32_t c) {
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/// The character of a well-formed sequence of UTF-8.
char32_t character_of(std::string_view bytes) {
    const auto front = static_cast<unsigned char>(bytes.front());
    char32_t c = bytes.size() == 1 ? front : front & (0x7fU >> bytes.size());
    for (const char next : bytes.substr(1)) c = c << 6 | (static_cast<unsigned char>(next) & 0x3fU);
    return c;
}

/// Well-formed UTF-8 without characters that act on a terminal.
std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t size = tagexpr::utf8_length(text);
        if (size == 0) {
            out += '?';
        } else if (acts_on_a_terminal(character_of(text.substr(0, size)))) {
            out += ' ';
        } else {
            out += text.substr(0, size);
        }
        text.remove_prefix(std::max<std::size_t>(size, 1));
    }
    return out;
}

std::string quoted(const std::string& value) {
    const bool plain = !value.empty() && value.find_first_of(" \"=") == std::string::npos;
    if (plain) return value;
    std::string out = "\"";
    for (const char c : value) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

std::string json_string(const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void write(spdlog::level::level_enum level, std::string_view message, LogFields fields) {
    const Log& log = the_log();
    if (!log.logger->should_log(level)) return;
    std::string line = redacted(message);
    if (log.json) line = "\"message\":" + json_string(line);
    for (const auto& field : fields) {
        if (field.value.empty()) continue;
        std::string value = names_a_secret(field.name) ? std::string(mask)
                            : is_of_names(field.name)  ? printable(field.value)
                                                       : redacted(field.value);
        // Not before: the beginning of a secret might not be known as one.
        if (value.size() > line_bytes_max) value = printable(value.substr(0, line_bytes_max));
        if (log.json) {
            line += "," + json_string(std::string(field.name)) + ":" + json_string(value);
        } else {
            line.append(" ").append(field.name).append("=").append(quoted(std::as_const(value)));
        }
    }
    log.logger->log(level, spdlog::string_view_t(line.data(), line.size()));
}

bool starts_ignoring_case(std::string_view text, std::string_view lower) {
    if (text.size() < lower.size()) return false;
    return std::equal(lower.begin(), lower.end(), text.begin(), [](char a, char b) {
        return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
    });
}

bool in_run(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '+' ||
           c == '=' || c == '%' || c == ':';
}

/// Length of a secret that starts at `text`, and how much of that is its name and stays. {0, 0}:
/// none.
std::pair<std::size_t, std::size_t> secret_at(std::string_view text) {
    struct Opening {
        std::string_view name;
        std::string_view ends_at;
    };
    constexpr std::array openings{
        // With a parameter behind it: names of rules end like this, too.
        Opening{"sharedaccesssignature sr=", "\"'\n,;"},
        Opening{"sharedaccesssignature sig=", "\"'\n,;"},
        Opening{"sharedaccesssignature se=", "\"'\n,;"},
        Opening{"sharedaccesssignature skn=", "\"'\n,;"},
        Opening{"sharedaccesskey=", "\"' \n;,"},
        Opening{"authorization:", "\n"},
        Opening{"bearer ", "\"' \n;,"},
        Opening{"sig=", "\"' \n&;,"},
        Opening{"token=", "\"' \n&;,"},
        Opening{"-----begin ", ""},
    };
    for (const auto& opening : openings) {
        if (!starts_ignoring_case(text, opening.name)) continue;
        auto end = opening.ends_at.empty()
                       ? std::string_view::npos
                       : text.find_first_of(opening.ends_at, opening.name.size());
        return {std::min(end, text.size()), opening.name.size()};
    }
    return {0, 0};
}

std::size_t long_run_at(std::string_view text) {
    constexpr std::size_t handle_bytes_min = 40;
    const auto end = std::find_if_not(text.begin(), text.end(), in_run);
    const auto run = text.substr(0, static_cast<std::size_t>(end - text.begin()));
    const bool letters = std::any_of(run.begin(), run.end(), [](char c) {
        return std::isalpha(static_cast<unsigned char>(c)) != 0;
    });
    // The id of a send (hub/text/ids.cpp) is what an operator looks for, and no secret.
    const bool send_id = run.size() == 56 && run.starts_with("NH-") && run.ends_with("-07");
    return run.size() >= handle_bytes_min && letters && !send_id ? run.size() : 0;
}

}  // namespace

std::string redacted(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    bool run_begins = true;
    while (!text.empty()) {
        if (const auto [size, kept] = secret_at(text); size > 0) {
            out.append(text.substr(0, kept)).append(mask);
            text.remove_prefix(size);
            run_begins = true;
            continue;
        }
        if (const auto run = run_begins ? long_run_at(text) : 0; run > 0) {
            out.append(mask);
            text.remove_prefix(run);
            continue;
        }
        run_begins = !in_run(text.front());
        out += text.front();
        text.remove_prefix(1);
    }
    return printable(out);
}

std::string lines_left_out(std::uint64_t count) {
    return count == 0 ? std::string() : std::to_string(count);
}

void open_log(std::string_view level, std::string_view format, std::ostream* out) {
    the_log() = make_log(level, format, out);
}

void set_log_level(std::string_view level) {
    the_log().logger->set_level(level_of(level));
}

void log_debug(std::string_view message, LogFields fields) {
    write(spdlog::level::debug, message, fields);
}
void log_info(std::string_view message, LogFields fields) {
    write(spdlog::level::info, message, fields);
}
void log_warn(std::string_view message, LogFields fields) {
    write(spdlog::level::warn, message, fields);
}
void log_error(std::string_view message, LogFields fields) {
    write(spdlog::level::err, message, fields);
}

}  // namespace hub
