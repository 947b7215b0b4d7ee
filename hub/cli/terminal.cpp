#include "hub/cli/terminal.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

namespace hub {
namespace {

std::string painted(const char* code, std::string_view text) {
    if (!on_terminal()) return std::string(text);
    return std::string("\x1b[") + code + "m" + std::string(text) + "\x1b[0m";
}

}  // namespace

bool on_terminal() {
    static const bool answer = isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
    return answer;
}

std::string green(std::string_view text) {
    return painted("32", text);
}
std::string red(std::string_view text) {
    return painted("31;1", text);
}
std::string bold(std::string_view text) {
    return painted("1", text);
}

std::string grouped(std::uint64_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, ",");
    }
    return digits;
}

std::string fixed(double value, int digits) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%.*f", digits, value);
    return text.data();
}

std::string padded(std::string_view text, std::size_t width) {
    std::string out(text);
    if (out.size() < width) out.append(width - out.size(), ' ');
    return out;
}

ProgressBar::ProgressBar(std::string label, std::uint64_t total)
    : label_(std::move(label)),
      total_(std::max<std::uint64_t>(total, 1)),
      terminal_(on_terminal()),
      started_(Clock::now()),
      drawn_(started_) {}

void ProgressBar::set(std::uint64_t done) {
    done_ = done;
    const Clock::time_point now = Clock::now();
    if (now - drawn_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(5)))
        return;
    drawn_ = now;
    draw(now);
}

void ProgressBar::finish() {
    draw(Clock::now());
    if (terminal_) std::puts("");
}

void ProgressBar::draw(Clock::time_point now) const {
    const double seconds = std::max(1e-3, std::chrono::duration<double>(now - started_).count());
    const std::string figures =
        grouped(done_) + "/" + grouped(total_) + "  " +
        grouped(static_cast<std::uint64_t>(static_cast<double>(done_) / seconds)) + "/s";
    if (!terminal_) {
        std::printf("  %s %s\n", label_.c_str(), figures.c_str());
    } else {
        constexpr std::uint64_t width = 30;
        const auto filled = static_cast<std::size_t>(std::min(done_, total_) * width / total_);
        const std::string bar =
            std::string(filled, '#') + std::string(static_cast<std::size_t>(width) - filled, '-');
        std::printf("\r\x1b[2K  %s [\x1b[32m%s\x1b[0m] %s", label_.c_str(), bar.c_str(),
                    figures.c_str());
    }
    std::fflush(stdout);
}

}  // namespace hub
