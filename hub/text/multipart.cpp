// Tested by tests/hub_multipart_test.cpp.
//
// The body is cut at its delimiter lines, then each part into headers and content, all as views of
// the body. The part `devices` becomes a list of handles, of bounded length. Clients differ in
// quotes, blanks and line ends, so the reader is lenient about these and strict about anything
// else.
#include "hub/text/multipart.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"

namespace hub {
namespace {

constexpr std::size_t boundary_bytes_max = 200;  // RFC 2046 says 70; no reason to insist
constexpr std::size_t parts_max = 16;

/// Value of `name` in `…; name = "value"; …`, with or without quotes and blanks. Each byte is
/// looked at once, whatever the header is.
std::optional<std::string_view> parameter(std::string_view header, std::string_view name) {
    std::size_t at = header.find(';');
    while (at < header.size()) {
        const std::size_t begin = at + 1;
        at = std::min(header.find_first_of("=;", begin), header.size());
        const std::string_view given = trimmed(header.substr(begin, at - begin));
        if (at == header.size() || header[at] == ';') continue;
        std::size_t end = std::min(header.find_first_not_of(" \t", at + 1), header.size());
        std::string_view value;
        if (end < header.size() && header[end] == '"') {
            const std::size_t closing = header.find('"', end + 1);
            if (closing == std::string_view::npos) return std::nullopt;
            value = header.substr(end + 1, closing - end - 1);
            end = std::min(header.find(';', closing), header.size());
        } else {
            end = std::min(header.find(';', at), header.size());
            value = trimmed(header.substr(at + 1, end - at - 1));
        }
        if (same_ignoring_case(given, name)) return value;
        at = end;
    }
    return std::nullopt;
}

/// Takes one line off the front, without its end.
std::string_view take_line(std::string_view& text) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

struct Part {
    std::string_view name;
    std::string_view content_type;
    std::string_view content;
};

Part read_part(std::string_view text) {
    Part part;
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        if (line.empty()) break;
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        const std::string_view name = trimmed(line.substr(0, colon));
        const std::string_view value = trimmed(line.substr(colon + 1));
        if (same_ignoring_case(name, "Content-Type")) part.content_type = value;
        if (same_ignoring_case(name, "Content-Disposition"))
            part.name = parameter(value, "name").value_or("");
    }
    part.content = text;
    return part;
}

/// Parts between delimiter lines (RFC 2046 5.1.1); the line end before a delimiter belongs to it.
Parsed<std::vector<Part>> split(std::string_view body, std::string_view boundary) {
    const std::string delimiter = "--" + std::string(boundary);
    std::vector<Part> parts;
    std::optional<std::size_t> begin;
    std::size_t at = 0;
    for (;;) {
        at = body.find(delimiter, at);
        // Some clients leave the closing delimiter out: the body's end ends the last part, too.
        const bool ended = at == std::string_view::npos;
        if (ended && !begin) return bad_request("The multipart body has no delimiter.");
        if (ended) at = body.size();
        // Looked at only where a line starts, so that no line is scanned twice.
        std::string_view rest = body.substr(std::min(at + delimiter.size(), body.size()));
        const std::string_view tail = rest;
        const bool closing = ended || rest.starts_with("--");
        const bool is_delimiter = ended || ((at == 0 || body[at - 1] == '\n') &&
                                            (closing || trimmed(take_line(rest)).empty()));
        if (!is_delimiter) {
            at += delimiter.size();
            continue;
        }
        if (begin) {
            std::string_view text = body.substr(*begin, at - *begin);
            if (text.ends_with('\n')) text.remove_suffix(1);
            if (text.ends_with('\r')) text.remove_suffix(1);
            if (parts.size() == parts_max)
                return bad_request("The multipart body has too many parts.");
            parts.push_back(read_part(text));
        }
        if (closing) return parts;
        at += delimiter.size() + (tail.size() - rest.size());
        begin = at;
    }
}

/// The documentation's example quotes handles with single quotes.
std::string double_quoted(std::string_view text) {
    std::string out(text);
    if (text.find('"') == std::string_view::npos) std::replace(out.begin(), out.end(), '\'', '"');
    return out;
}

Parsed<std::vector<std::string>> read_handles(std::string_view text) {
    constexpr std::size_t values_max = 4 * batch_handles_max;  // room to say how many there are
    const auto parsed =
        read_json(double_quoted(text), "The devices part", batch_bytes_max, values_max);
    if (const auto* refusal = std::get_if<Refusal>(&parsed)) return *refusal;
    const nlohmann::json& list = std::get<nlohmann::json>(parsed);
    if (!list.is_array() || list.empty())
        return bad_request("The devices part must be a JSON array of at least one handle.");
    if (list.size() > batch_handles_max)
        return bad_request("The devices part has " + std::to_string(list.size()) +
                           " handles, at most " + std::to_string(batch_handles_max) +
                           " are allowed.");
    std::vector<std::string> handles;
    for (const nlohmann::json& handle : list) {
        const bool fits = handle.is_string() && !handle.get_ref<const std::string&>().empty() &&
                          handle.get_ref<const std::string&>().size() <= batch_handle_bytes_max;
        if (!fits)
            return bad_request("Handle " + std::to_string(handles.size() + 1) +
                               " of the devices part is not a string of 1 to " +
                               std::to_string(batch_handle_bytes_max) + " bytes.");
        handles.push_back(handle.get<std::string>());
    }
    return handles;
}

}  // namespace

Parsed<DirectBatch> parse_direct_batch(std::string_view content_type, std::string_view body) {
    if (body.size() > batch_bytes_max)
        return Refusal{413, "The batch is " + std::to_string(body.size()) + " bytes, at most " +
                                std::to_string(batch_bytes_max) + " are allowed."};
    const std::string_view type = trimmed(content_type.substr(0, content_type.find(';')));
    if (!same_ignoring_case(type.substr(0, 10), "multipart/"))
        return bad_request("The Content-Type of a batch must be multipart/mixed with a boundary.");
    const auto boundary = parameter(content_type, "boundary");
    if (!boundary || boundary->empty() || boundary->size() > boundary_bytes_max)
        return bad_request("The Content-Type has no usable multipart boundary.");
    const auto parts = split(body, *boundary);
    if (const auto* refusal = std::get_if<Refusal>(&parts)) return *refusal;

    const Part* notification = nullptr;
    const Part* devices = nullptr;
    for (const Part& part : std::get<std::vector<Part>>(parts)) {
        const bool is_notification = same_ignoring_case(part.name, "notification");
        const bool is_devices = same_ignoring_case(part.name, "devices");
        const Part*& slot = is_notification ? notification : devices;
        if (!is_notification && !is_devices) continue;
        if (slot != nullptr)
            return bad_request("The part '" + lower(part.name) + "' occurs twice.");
        slot = &part;
    }
    if (notification == nullptr || devices == nullptr)
        return bad_request(std::string("The part '") +
                           (notification == nullptr ? "notification" : "devices") +
                           "' is missing.");
    if (notification->content.size() > batch_notification_bytes_max)
        return Refusal{413, "The notification part has more than " +
                                std::to_string(batch_notification_bytes_max) + " bytes."};
    auto handles = read_handles(devices->content);
    if (auto* refusal = std::get_if<Refusal>(&handles)) return std::move(*refusal);
    return DirectBatch{std::string(notification->content), std::string(notification->content_type),
                       std::get<std::vector<std::string>>(std::move(handles))};
}

}  // namespace hub
