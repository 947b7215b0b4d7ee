#pragma once

// What a figure was measured on and with. Any thread.

#include <filesystem>
#include <string>

namespace bench {

std::string machine_description();  ///< processor, cores, memory
std::string commit_description();   ///< of the tree the process runs in, or "unknown"
/// Versions of program, compiler, kernel and libraries, as "name version" joined by ", ".
std::string versions_description();

std::string read_all(const std::filesystem::path& path);  ///< empty if it cannot be read
/// Value of a `Name: value` line of a /proc file; empty = none.
std::string proc_value(const std::filesystem::path& path, const std::string& name);

}  // namespace bench
