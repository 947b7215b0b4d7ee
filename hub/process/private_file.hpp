#pragma once

// What only the owner of the process may read: small files that hold secrets, and everything in
// the data directory. Start-up only: failures are exceptions that name the file.

#include <filesystem>
#include <string>

namespace hub {

/// The whole file without a final line end; throws if it cannot be read or is larger than 64 KiB.
std::string read_small_file(const std::filesystem::path& path);

/// Writes with mode 0600, complete or not at all, on disk when it returns. Replaces what was there.
void write_private_file(const std::filesystem::path& path, const std::string& text);

/// What the process makes from now on is for its owner only, and its memory, which holds keys and
/// handles, is neither dumped at a crash nor read by other processes of its user. Before anything
/// else.
void close_to_others();
/// Takes the second half back.
void allow_core_dumps();

/// Makes `directory` if it is not there, and takes from it and from all in it what others than the
/// owner may do, but for what a file system has there of its own. Nothing is changed through a
/// link: one that leads to what others may read is refused, and so is a directory that is meant to
/// be shared, or that belongs to another user: who could put keys of his own there.
void make_private(const std::filesystem::path& directory);
/// Why make_private() will refuse `directory`, or the process could not write there; empty: it will
/// not. Leaves everything as it is.
std::string why_not_private(const std::filesystem::path& directory);

}  // namespace hub
