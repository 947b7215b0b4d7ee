#pragma once

// What the process logs while this lives, as JSON, read from any thread. Made before anything that
// logs has threads, and ended after.

#include <mutex>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <streambuf>
#include <string>
#include <string_view>
#include <vector>

#include "hub/process/log.hpp"

namespace support {

class LogSink {
  public:
    explicit LogSink(std::string_view level = "info") { hub::open_log(level, "json", &stream_); }
    ~LogSink() { hub::open_log("warn", "text"); }
    LogSink(const LogSink&) = delete;
    LogSink& operator=(const LogSink&) = delete;

    std::string text() const { return buffer_.text(); }
    /// The lines with this message.
    std::vector<nlohmann::json> lines(std::string_view message) const {
        std::vector<nlohmann::json> out;
        std::istringstream in(text());
        for (std::string line; std::getline(in, line);) {
            auto object = nlohmann::json::parse(line, nullptr, false);
            if (object.is_object() && object.value("message", "") == message)
                out.push_back(std::move(object));
        }
        return out;
    }

  private:
    class Buffer final : public std::streambuf {
      public:
        std::string text() const {
            const std::lock_guard lock(mutex_);
            return text_;
        }

      private:
        int_type overflow(int_type c) override {
            const std::lock_guard lock(mutex_);
            if (c != traits_type::eof()) text_ += traits_type::to_char_type(c);
            return c;
        }
        std::streamsize xsputn(const char* bytes, std::streamsize size) override {
            const std::lock_guard lock(mutex_);
            text_.append(bytes, static_cast<std::size_t>(size));
            return size;
        }
        mutable std::mutex mutex_;
        std::string text_;
    };
    Buffer buffer_;
    std::ostream stream_{&buffer_};
};

}  // namespace support
