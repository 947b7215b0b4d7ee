// Tested by tests/registry_handles_test.cpp.

#include "registry/handles.hpp"

#include <algorithm>

#include "registry/reader.hpp"

namespace registry {

Result<std::vector<Place>> places_of_handle(const View& view, std::uint32_t hub,
                                            std::string_view platform, std::string_view handle,
                                            std::size_t count_max) {
    if (view.hubs->find(hub) == nullptr) return make_error_code(errc::not_found);
    std::vector<Place> places;
    const auto cursor = view.snapshot->cursor(Family::handles, true);
    for (const bool native : {true, false}) {
        const std::string prefix = handle_prefix(hub, handle, native);
        std::size_t left = count_max;
        for (cursor->seek(prefix); cursor->valid() && left > 0; cursor->next()) {
            if (!cursor->key().starts_with(prefix)) break;
            const auto address = address_at_end(cursor->key());
            if (!address) return address.error();
            const auto row = read_row(view, hub, *address);
            if (!row) return row.error();
            if (row->handle != handle || row->platform != platform) continue;
            places.push_back({address->partition, address->number, !native});
            --left;
        }
        if (auto status = cursor->status(); !status) return status.error();
    }
    std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
        return std::pair(a.partition, a.number) < std::pair(b.partition, b.number);
    });
    if (places.size() > count_max) places.resize(count_max);
    return places;
}

}  // namespace registry
