#pragma once

// What a RocksDB status means here. A template, so that whoever owns a RocksDB includes its
// headers.

#include "registry/errc.hpp"

namespace registry {

template <class Status>
Result<void> as_result(const Status& status) {
    if (status.ok()) return {};
    if (status.IsNoSpace()) return make_error_code(errc::disk_full);
    if (status.IsCorruption()) return make_error_code(errc::corrupt);
    if (status.IsIncomplete()) return make_error_code(errc::not_in_memory);
    return make_error_code(errc::io_error);
}

}  // namespace registry
