// Tested by tests/hub_hostile_test.cpp.

#include "hub/process/memory_reserve.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace hub {

namespace {

constexpr std::size_t reserve_bytes = 4 << 20;
std::atomic<void*> reserve = nullptr;  // as the handler of operator new is: of the process

/// The allocation that brought us here fails in any case: it may be what takes all.
[[noreturn]] void give_up_reserve() {
    std::free(reserve.exchange(nullptr));
    throw std::bad_alloc();
}

}  // namespace

void refill_memory_reserve() {
    if (reserve.load(std::memory_order_relaxed) != nullptr) return;
    void* fresh = std::malloc(reserve_bytes);
    void* none = nullptr;
    if (fresh != nullptr && !reserve.compare_exchange_strong(none, fresh)) std::free(fresh);
}

void keep_memory_reserve() {
    refill_memory_reserve();
    std::set_new_handler(give_up_reserve);
}

bool memory_reserve_used() {
    return reserve == nullptr;
}

}  // namespace hub
