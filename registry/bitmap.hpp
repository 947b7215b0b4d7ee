#pragma once

// A set of device numbers in one partition.

#include <roaring/roaring.hh>
#include <utility>

namespace registry {

/// CRoaring's set, but for copies: one of an empty set takes no memory. Most partitions of a
/// selection are empty.
class Bitmap : public ::Roaring {
  public:
    Bitmap() = default;
    Bitmap(::Roaring&& other) noexcept : ::Roaring(std::move(other)) {}  // NOLINT: the same set
    Bitmap(const Bitmap& other) : Bitmap() { *this = other; }
    Bitmap(Bitmap&& other) noexcept = default;
    ~Bitmap() = default;
    Bitmap& operator=(Bitmap&& other) noexcept = default;
    Bitmap& operator=(const Bitmap& other) {
        if (this == &other) return *this;
        if (other.isEmpty()) return *this = Bitmap();
        ::Roaring::operator=(other);
        return *this;
    }
};

}  // namespace registry
