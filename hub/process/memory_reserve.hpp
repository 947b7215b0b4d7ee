#pragma once

// A little memory set aside for the moment when there is no more. What did not fit fails with
// std::bad_alloc, and the reserve lets its owner end in order: that takes small allocations of its
// own, which must not fail. Any thread.

namespace hub {

/// Sets the reserve aside from now on. Once in a process, before threads begin.
void keep_memory_reserve();

/// Sets it aside again if it was used and there is memory. Cheap if not.
void refill_memory_reserve();

/// Was it used since it was set aside?
bool memory_reserve_used();

}  // namespace hub
