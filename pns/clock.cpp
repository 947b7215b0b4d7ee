// A file of its own: the fuzzers link it without the loops.

#include "pns/clock.hpp"

#include <chrono>

namespace pns {

namespace {

class SystemClock final : public Clock {
  public:
    std::int64_t wall_us() const override {
        using namespace std::chrono;
        return duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count();
    }
    std::int64_t steady_us() const override {
        using namespace std::chrono;
        return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
    }
};

constinit const SystemClock machine;

}  // namespace

const Clock& system_clock() {
    return machine;
}

}  // namespace pns
