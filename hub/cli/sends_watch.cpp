// Tested by tests/hub_sends_watch_test.cpp.
//
// EventReader takes server-sent events out of a chunked body that arrives in any pieces, with
// bounds on line and event. The rest turns figures of a send into lines of a screen. Pure: no
// socket, no clock, no terminal.

#include "hub/cli/sends_watch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "hub/cli/terminal.hpp"
#include "hub/text/text.hpp"

namespace hub {

namespace {

using nlohmann::json;

std::string shortened(double value) {
    char text[32];
    std::snprintf(text, sizeof text, value < 10 ? "%.1f" : "%.0f", value);
    return text;
}

std::string duration(double seconds) {
    const auto whole = static_cast<long long>(std::ceil(std::min(seconds, 8'640'000.0)));
    char text[48];
    if (whole >= 3'600) {
        std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3'600, whole / 60 % 60,
                      whole % 60);
    } else {
        std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
    }
    return text;
}

/// What the hub says never steers the terminal.
std::string plain(std::string text) {
    std::erase_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    return text;
}

std::uint64_t count_of(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

double real_of(const json& object, const char* group, const char* name) {
    const auto found = object.find(group);
    if (found == object.end() || !found->is_object()) return 0;
    const auto value = found->find(name);
    return value != found->end() && value->is_number() ? value->get<double>() : 0;
}

std::string text_of(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? plain(found->get<std::string>()) : "";
}

/// The members of "outcomes".
std::vector<std::pair<std::string, std::uint64_t>> outcomes_of(const json& send) {
    std::vector<std::pair<std::string, std::uint64_t>> out;
    const auto outcomes = send.find("outcomes");
    if (outcomes == send.end() || !outcomes->is_object()) return out;
    for (const auto& [name, value] : outcomes->items())
        if (value.is_number_unsigned()) out.emplace_back(plain(name), value.get<std::uint64_t>());
    return out;
}

/// What neither reached its device, nor was not meant for it any more, nor is unknown.
bool is_failure(std::string_view outcome) {
    return outcome != "Success" && outcome != "Skipped" && outcome != "Unknown";
}

std::uint64_t failed_of(const json& send) {
    std::uint64_t sum = 0;
    for (const auto& [name, count] : outcomes_of(send))
        if (is_failure(name)) sum += count;
    return sum;
}

std::string summary(const json& send) {
    const std::uint64_t audience = count_of(send, "audience");
    const std::uint64_t done = count_of(send, "done");
    const double share =
        audience == 0 ? 100 : static_cast<double>(done) * 100 / static_cast<double>(audience);
    char percent[16];
    std::snprintf(percent, sizeof percent, "%.1f %%", std::floor(share * 10) / 10);
    std::string out =
        text_of(send, "state") + "  " + grouped(done) + " of " + grouped(audience) + "  " + percent;
    if (const auto failed = failed_of(send); failed > 0) out += "  failed " + grouped(failed);
    const double rate = real_of(send, "rate", "perSecond");
    if (rate > 0) out += "  " + shortened(rate) + "/s";
    if (const auto flying = count_of(send, "inFlight"); flying > 0)
        out += "  in flight " + grouped(flying);
    if (const auto later = count_of(send, "retrying"); later > 0)
        out += "  retrying " + grouped(later);
    const double left = real_of(send, "rate", "etaSeconds");
    if (left > 0) out += "  left " + duration(left);
    const double p99 = real_of(send, "latencyMs", "p99");
    if (p99 > 0) out += "  p99 " + shortened(p99) + " ms";
    return out;
}

}  // namespace

std::string progress_bar(std::uint64_t part, std::uint64_t whole, std::size_t width) {
    const double share =
        whole == 0 ? 1 : std::min(1.0, static_cast<double>(part) / static_cast<double>(whole));
    const auto full = static_cast<std::size_t>(share * static_cast<double>(width));
    return "[" + std::string(full, '#') + std::string(width - full, '.') + "]";
}

std::vector<std::string> sends_watch_lines(std::string_view figures, std::size_t width) {
    constexpr std::size_t name_width = 30, number_width = 12, bar_min = 10;
    const json send = json::parse(figures, nullptr, false);
    if (!send.is_object() || !send.contains("state")) return {};
    width = std::clamp<std::size_t>(width, 40, 200);
    std::vector<std::string> lines;
    const std::uint64_t audience = count_of(send, "audience");
    lines.push_back(text_of(send, "id"));
    lines.push_back(progress_bar(count_of(send, "done"), audience, width - 2));
    lines.push_back(summary(send));
    for (const auto& [name, count] : outcomes_of(send)) {
        std::string line = "  " + name.substr(0, name_width);
        line.resize(std::max(line.size(), name_width + 2), ' ');
        const std::string number = grouped(count);
        line.append(number_width - std::min(number_width, number.size()), ' ') += number;
        if (width > line.size() + bar_min + 3)
            line += " " + progress_bar(count, audience, width - line.size() - 3);
        lines.push_back(std::move(line));
    }
    for (std::string& line : lines) line = line.substr(0, width);
    return lines;
}

std::string sends_watch_line(std::string_view figures) {
    const json send = json::parse(figures, nullptr, false);
    if (!send.is_object() || !send.contains("state")) return {};
    std::string line = summary(send);
    for (const auto& [name, count] : outcomes_of(send)) line += "  " + name + " " + grouped(count);
    return line;
}

std::string sends_undelivered(std::string_view figures) {
    const json send = json::parse(figures, nullptr, false);
    if (!send.is_object()) return {};
    std::string why;
    const std::string state = text_of(send, "state");
    bool reached = false;
    std::string failures;
    for (const auto& [name, count] : outcomes_of(send)) {
        reached = reached || (name == "Success" && count > 0);
        if (is_failure(name) && count > 0) failures += " " + name + " " + grouped(count);
    }
    if (state == "Canceled" || state == "Abandoned") why = "the send was " + lower(state);
    if (why.empty() && !reached && !failures.empty()) why = "the send reached nobody";
    if (!why.empty() && !failures.empty()) why += ":" + failures;
    return why;
}

bool EventReader::take_line(std::string_view line,
                            const std::function<void(const Event&)>& on_event) {
    if (line.empty()) {
        if (!event_.data.empty()) on_event(event_);
        event_ = Event();
        return true;
    }
    const auto colon = line.find(':');
    if (colon == 0) return true;  // a comment
    const auto field = line.substr(0, colon);
    auto value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "event") event_.name = value;
    if (field == "data") {
        if (!event_.data.empty()) event_.data += '\n';
        event_.data += value;
    }
    return event_.data.size() <= event_bytes_max;
}

bool EventReader::feed(std::string_view bytes, const std::function<void(const Event&)>& on_event) {
    text_ += bytes;
    std::size_t from = 0;
    for (;;) {
        const auto end = text_.find('\n', from);
        if (end == std::string::npos) break;
        std::string_view line(text_.data() + from, end - from);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (!take_line(line, on_event)) return false;
        from = end + 1;
    }
    text_.erase(0, from);
    return text_.size() <= event_bytes_max;
}

}  // namespace hub
