#include "registry/errc.hpp"

#include <string>

namespace registry {
namespace {

class Category final : public boost::system::error_category {
  public:
    const char* name() const noexcept override { return "registry"; }
    std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
            case errc::not_found:
                return "not found";
            case errc::exists:
                return "exists already";
            case errc::etag_mismatch:
                return "the stored version is another one";
            case errc::gone:
                return "the registration id was deleted or has expired";
            case errc::overloaded:
                return "the write queue is full";
            case errc::corrupt:
                return "stored bytes are corrupt";
            case errc::disk_full:
                return "no space left on the device of the store";
            case errc::io_error:
                return "the store reports an input/output error";
            case errc::closed:
                return "the store is closed";
            case errc::full:
                return "a partition has no device number left";
            case errc::not_in_memory:
                return "not in memory";
        }
        return "unknown registry error";
    }
};

}  // namespace

const boost::system::error_category& category() noexcept {
    static const Category instance;
    return instance;
}

}  // namespace registry
