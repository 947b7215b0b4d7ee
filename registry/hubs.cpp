#include "registry/changes.hpp"

namespace registry {
namespace {

void store_hub(Transaction& tx, HubRow hub) {
    auto hubs = std::make_shared<Hubs>(*tx.memory().hubs);
    const std::string name = fold(hub.name);
    tx.batch().put(Family::meta, hub_key(hub.number), encode_hub(hub));
    hubs->names.insert_or_assign(hub.number, name);
    hubs->by_name.insert_or_assign(name, std::move(hub));
    tx.memory().hubs = std::move(hubs);
}

}  // namespace

Result<HubRow> create_hub(Transaction& tx, HubRow hub) {
    if (tx.memory().hubs->by_name.contains(fold(hub.name))) return make_error_code(errc::exists);
    hub.number = tx.memory().state.next_hub++;
    hub.etag = 1;
    if (hub.partitions == 0) hub.partitions = HubRow().partitions;
    store_hub(tx, hub);
    return hub;
}

Result<HubRow> update_hub(Transaction& tx, HubRow hub) {
    const auto found = tx.memory().hubs->by_name.find(fold(hub.name));
    if (found == tx.memory().hubs->by_name.end()) return make_error_code(errc::not_found);
    HubRow updated = found->second;
    updated.description = std::move(hub.description);
    ++updated.etag;
    store_hub(tx, updated);
    return updated;
}

Result<void> erase_hub(Transaction& tx, const std::string& name) {
    auto hubs = std::make_shared<Hubs>(*tx.memory().hubs);
    const auto found = hubs->by_name.find(fold(name));
    if (found == hubs->by_name.end()) return make_error_code(errc::not_found);
    const std::uint32_t number = found->second.number;
    hubs->by_name.erase(found);
    hubs->names.erase(number);
    tx.memory().hubs = std::move(hubs);
    tx.batch().erase(Family::meta, hub_key(number));
    tx.erase_hub(number);
    return {};
}

}  // namespace registry
