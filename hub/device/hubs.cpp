#include "hub/device/hubs.hpp"

#include <algorithm>
#include <stdexcept>

#include "hub/text/text.hpp"

namespace hub {

Hubs::Hubs(registry::Registry& registry) {
    for (const registry::HubRow& row : registry.hubs()) {
        auto description = read_hub_description_json(row.description);
        if (!ok(description)) {
            throw std::runtime_error("the stored description of hub '" + row.name +
                                     "' cannot be read: " + std::get<Refusal>(description).message);
        }
        put(row, std::get<HubDescription>(std::move(description)));
    }
}

std::shared_ptr<const HubState> Hubs::find(std::string_view name) const {
    std::lock_guard lock(mutex_);
    for (const auto& hub : hubs_) {
        if (same_ignoring_case(hub->row.name, name)) return hub;
    }
    return nullptr;
}

std::shared_ptr<const HubState> Hubs::find(std::uint32_t number) const {
    std::lock_guard lock(mutex_);
    for (const auto& hub : hubs_) {
        if (hub->row.number == number) return hub;
    }
    return nullptr;
}

std::vector<std::shared_ptr<const HubState>> Hubs::all() const {
    std::lock_guard lock(mutex_);
    return hubs_;
}

void Hubs::put(const registry::HubRow& row, HubDescription description) {
    auto state = std::make_shared<const HubState>(HubState{row, std::move(description)});
    std::lock_guard lock(mutex_);
    std::erase_if(hubs_, [&](const auto& hub) { return hub->row.number == row.number; });
    const auto place =
        std::lower_bound(hubs_.begin(), hubs_.end(), state,
                         [](const auto& a, const auto& b) { return a->row.name < b->row.name; });
    hubs_.insert(place, std::move(state));
    count_ = hubs_.size();
}

void Hubs::erase(std::string_view name) {
    std::lock_guard lock(mutex_);
    std::erase_if(hubs_, [&](const auto& hub) { return same_ignoring_case(hub->row.name, name); });
    count_ = hubs_.size();
}

}  // namespace hub
