// Tested by tests/hub_devices_test.cpp.

#include "registry/users.hpp"

#include "registry/changes.hpp"

namespace registry {

Result<std::vector<ErasedInstallation>> erase_user(Transaction& tx, std::uint32_t hub,
                                                   const std::string& user_id,
                                                   const std::vector<std::string>& ids) {
    if (tx.hub(hub) == nullptr) return make_error_code(errc::not_found);
    std::vector<ErasedInstallation> erased;
    for (const std::string& id : ids) {
        const auto record = tx.installation(hub, id);
        if (tx.fault()) return tx.fault();
        if (!record || record->value.user_id != user_id) continue;
        ErasedInstallation one;
        one.id = id;
        one.parts = record->parts.size();
        one.handles.push_back(record->value.push_channel);
        for (const auto& [name, tile] : record->value.secondary_tiles)
            one.handles.push_back(tile.push_channel);
        const auto removed = erase_installation(tx, hub, id);
        if (!removed) return removed.error();
        erased.push_back(std::move(one));
    }
    return erased;
}

}  // namespace registry
