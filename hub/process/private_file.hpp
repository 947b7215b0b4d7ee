#pragma once

// Small files that hold secrets. Start-up only: failures are exceptions that name the file.

#include <filesystem>
#include <string>

namespace hub {

/// The whole file without a final line end; throws if it cannot be read or is larger than 64 KiB.
std::string read_small_file(const std::filesystem::path& path);

/// Writes with mode 0600, complete or not at all, on disk when it returns. Replaces what was there.
void write_private_file(const std::filesystem::path& path, const std::string& text);

}  // namespace hub
