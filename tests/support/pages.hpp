#pragma once

// The pages of docs/ as tests read them: text, and the commands in indented blocks.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace support {

inline std::string page_text(const std::string& path) {
    std::ifstream in(std::filesystem::path(PUSHHUB_SOURCE_DIR) / path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

struct CommandBlock {
    std::size_t line = 0;  ///< of its first line, from 1
    std::string text;      ///< without the indent
    std::string not_run;   ///< why not, from <!-- not run: ... --> above it
};

/// Blocks that begin with a command; other indented blocks are listings.
inline std::vector<CommandBlock> command_blocks(const std::string& page) {
    static const std::regex command(
        R"(^(call|curl|openssl|pushhub|npx|npm|cmake|node|scripts/\S+|build/\S+)( .*|$)|^[A-Za-z_]+=[$'"].*|^[a-z]+\(\) \{.*)");
    static const std::regex marker(R"(^<!-- not run: (.+) -->$)");
    std::vector<CommandBlock> out;
    std::istringstream in(page);
    std::string last;  // the last line that was not blank
    bool blank = true, inside = false;
    std::size_t number = 0;
    for (std::string line; std::getline(in, line);) {
        ++number;
        const bool indented = line.starts_with("    ");
        // What follows a blank line belongs to the block if it is a command again.
        const bool goes_on = indented && (!blank || std::regex_match(line.substr(4), command));
        if (inside && (goes_on || line.empty())) {
            out.back().text += (indented ? line.substr(4) : line) + "\n";
            blank = line.empty();
            continue;
        }
        inside = indented && blank && std::regex_match(line.substr(4), command);
        if (inside) {
            CommandBlock block;
            block.line = number;
            block.text = line.substr(4) + "\n";
            std::smatch match;
            if (std::regex_match(last, match, marker)) block.not_run = match[1];
            out.push_back(std::move(block));
        }
        blank = line.empty();
        if (!blank) last = line;
    }
    return out;
}

}  // namespace support
