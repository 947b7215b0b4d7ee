#pragma once

// SipHash-1-3 under a secret of the process, for tables whose keys come from outside: nobody can
// choose keys that meet in one bucket. Another in every process: never stored, never sent. Any
// thread.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tagexpr {

std::uint64_t keyed_hash(std::string_view bytes);

/// For unordered containers of strings; finds by std::string_view with std::equal_to<>.
struct KeyedHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view bytes) const { return keyed_hash(bytes); }
};

/// The function itself (Aumasson, Bernstein 2012, with one and three rounds), for a key given.
std::uint64_t siphash_1_3(std::uint64_t key0, std::uint64_t key1, std::string_view bytes);

}  // namespace tagexpr
