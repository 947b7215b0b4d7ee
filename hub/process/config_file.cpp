// Tested by tests/hub_config_test.cpp.

#include "hub/process/config_file.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

namespace hub {

namespace {

FileValue value_of(const std::string& key, const toml::node& node) {
    FileValue out;
    out.key = key;
    out.line = node.source().begin.line;
    if (const auto* text = node.as_string()) {
        out.kind = FileValue::Kind::text;
        out.texts.push_back(text->get());
    } else if (const auto* number = node.as_integer()) {
        out.kind = FileValue::Kind::number;
        out.texts.push_back(std::to_string(number->get()));
    } else if (const auto* boolean = node.as_boolean()) {
        out.kind = FileValue::Kind::boolean;
        out.texts.push_back(boolean->get() ? "true" : "false");
    } else if (const auto* list = node.as_array()) {
        out.kind = FileValue::Kind::texts;
        for (const auto& entry : *list) {
            if (const auto* element = entry.as_string()) {
                out.texts.push_back(element->get());
            } else {
                out.kind = FileValue::Kind::other;
            }
        }
    }
    return out;
}

}  // namespace

FileValues read_config_file(const std::filesystem::path& path) {
    FileValues out;
    std::ifstream file(path, std::ios::binary);
    const bool directory = std::filesystem::is_directory(path);
    if (!file || directory) {
        out.wrong =
            path.string() + ": cannot be read: " + std::strerror(directory ? EISDIR : errno);
        return out;
    }
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    try {
        const toml::table table = toml::parse(std::string_view(text));
        for (const auto& [key, node] : table)
            out.values.push_back(value_of(std::string(key.str()), node));
    } catch (const toml::parse_error& failure) {
        out.wrong = path.string() + ":" + std::to_string(failure.source().begin.line) +
                    ": no TOML: " + std::string(failure.description());
    }
    std::stable_sort(out.values.begin(), out.values.end(),
                     [](const FileValue& a, const FileValue& b) { return a.line < b.line; });
    return out;
}

std::string toml_string(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04X", byte);
            out += escape;
            continue;
        }
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

}  // namespace hub
