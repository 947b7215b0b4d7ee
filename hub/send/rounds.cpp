// Tested by tests/hub_rounds_test.cpp and tests/hub_control_test.cpp.

#include "hub/send/rounds.hpp"

#include <cstddef>

#include "pns/mixing.hpp"

namespace hub {

std::vector<registry::Bitmap> canary_of(const std::vector<registry::Bitmap>& devices,
                                        std::string_view send_id, std::uint32_t ppm) {
    constexpr std::uint64_t whole_ppm = 1'000'000;
    const std::uint64_t seed = pns::fnv1a(send_id);
    std::vector<registry::Bitmap> chosen(devices.size());
    std::uint64_t least = ~std::uint64_t{0};
    std::size_t least_partition = 0;
    std::uint32_t least_number = 0;
    bool any = false, some = false;
    for (std::size_t p = 0; p < devices.size(); ++p) {
        std::vector<std::uint32_t> numbers;
        for (const std::uint32_t number : devices[p]) {
            const std::uint64_t hash = pns::mixed(
                (seed ^ pns::mixed((std::uint64_t{p} << 32 | number) + pns::golden_gap)) +
                pns::golden_gap);
            if (hash % whole_ppm < ppm) numbers.push_back(number);
            if (any && hash >= least) continue;
            any = true;
            least = hash;
            least_partition = p;
            least_number = number;
        }
        some = some || !numbers.empty();
        if (!numbers.empty()) chosen[p].addMany(numbers.size(), numbers.data());
    }
    if (any && !some) chosen[least_partition].add(least_number);
    return chosen;
}

std::vector<registry::Bitmap> Rounds::canary_left(const std::vector<registry::Bitmap>& todo,
                                                  std::string_view send_id,
                                                  std::uint32_t ppm) const {
    std::vector<registry::Bitmap> chosen = canary_of(whole_, send_id, ppm);
    for (std::size_t p = 0; p < chosen.size(); ++p) chosen[p] &= todo[p];
    return chosen;
}

void Rounds::canary_first(std::vector<registry::Bitmap> devices) {
    whole_.clear();
    canary_ = std::move(devices);
}

std::vector<registry::Bitmap> Rounds::next(const std::vector<registry::Bitmap>& todo) {
    const bool first = !std::exchange(begun_, true);
    if (first && !canary_.empty()) return canary_;
    std::vector<registry::Bitmap> rest = todo;
    for (std::size_t p = 0; p < canary_.size(); ++p) rest[p] -= canary_[p];
    return rest;
}

}  // namespace hub
