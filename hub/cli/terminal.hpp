#pragma once

// What the bench verbs print: numbers with separators, colours and progress bars on a terminal,
// plain lines elsewhere. One thread.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace hub {

/// Standard output is a terminal and NO_COLOR is not set.
bool on_terminal();
std::string green(std::string_view text);
std::string red(std::string_view text);
std::string bold(std::string_view text);

std::string grouped(std::uint64_t number);                     ///< 1234567 -> "1,234,567"
std::string fixed(double value, int digits);                   ///< 1.5 -> "1.50"
std::string padded(std::string_view text, std::size_t width);  ///< blanks to the right, by bytes

/// One line that grows. On a terminal it is redrawn ten times a second; elsewhere a line is printed
/// every five seconds.
class ProgressBar {
  public:
    ProgressBar(std::string label, std::uint64_t total);
    void set(std::uint64_t done);
    void finish();

  private:
    using Clock = std::chrono::steady_clock;
    void draw(Clock::time_point now) const;

    std::string label_;
    std::uint64_t total_;
    std::uint64_t done_ = 0;
    bool terminal_;
    Clock::time_point started_, drawn_;
};

}  // namespace hub
