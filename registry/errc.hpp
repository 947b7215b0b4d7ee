#pragma once

// Why a registry call failed. One code per cause a caller treats differently.

#include <boost/system/result.hpp>
#include <functional>

namespace registry {

enum class errc {
    not_found = 1,  ///< no such hub, registration, installation or send
    exists,         ///< must-not-exist precondition failed
    etag_mismatch,  ///< If-Match or expected version differs
    gone,           ///< the registration id was issued and is used up: expired or retired
    overloaded,     ///< the write queue is full: answer 429/503 now
    corrupt,        ///< stored bytes do not follow their grammar
    disk_full,      ///< no space; nothing of the batch was applied
    io_error,       ///< RocksDB reports an I/O fault; nothing of the batch was applied
    closed,         ///< the registry is shutting down
    full,           ///< a partition has no device number left
    not_in_memory,  ///< a `try_` read would have to wait for the disk
};

const boost::system::error_category& category() noexcept;
inline boost::system::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), category()};
}

template <class T>
using Result = boost::system::result<T>;
/// Called once with how it ended.
template <class T>
using Done = std::function<void(Result<T>)>;

}  // namespace registry

template <>
struct boost::system::is_error_code_enum<registry::errc> : std::true_type {};
