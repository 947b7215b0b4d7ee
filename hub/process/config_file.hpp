#pragma once

// A TOML file as a flat list of keys and values, each with its line. Start-up and reload only.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace hub {

struct FileValue {
    enum class Kind : std::uint8_t { text, number, boolean, texts, other };
    std::string key;
    Kind kind = Kind::other;
    std::vector<std::string> texts;  ///< one, but for Kind::texts
    unsigned line = 0;
};

struct FileValues {
    std::vector<FileValue> values;  ///< in the order of their lines
    std::string wrong;              ///< why the file cannot be read, with its line; empty: it was
};

FileValues read_config_file(const std::filesystem::path& path);

/// `text`, which is UTF-8, as a TOML string.
std::string toml_string(const std::string& text);

}  // namespace hub
