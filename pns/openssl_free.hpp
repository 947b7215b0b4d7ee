#pragma once

// Owners of OpenSSL objects: std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>.

#include <memory>

namespace pns {

template <auto free>
struct Free {
    template <class T>
    void operator()(T* pointer) const {
        free(pointer);
    }
};

}  // namespace pns
