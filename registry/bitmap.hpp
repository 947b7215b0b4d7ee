#pragma once

// A set of device numbers in one partition.

#include <roaring/roaring.hh>

namespace registry {

using Bitmap = ::Roaring;

}  // namespace registry
