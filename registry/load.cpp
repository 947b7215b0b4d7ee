// Reads the rows of a chunk of devices for the fan-out.

#include "registry/reader.hpp"

namespace registry {

namespace {

/// Up to here rows are asked for one by one, which spares two cursors and lets filters answer.
constexpr std::size_t loaded_singly_max = 4;
constexpr int steps_before_seek = 8;

using Stretch = std::pair<std::size_t, std::size_t>;  // offset and size in the arena

Result<void> load_few(const View& view, std::uint32_t hub, std::uint16_t partition,
                      std::span<const std::uint32_t> numbers, std::vector<Stretch>& places,
                      std::string& arena, Reach reach) {
    std::string bytes;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const auto found =
            view.snapshot->get(Family::rows, row_key(hub, partition, numbers[i]), bytes, reach);
        if (!found) return found.error();
        if (!*found) continue;
        places[i] = {arena.size(), bytes.size()};
        arena.append(bytes);
    }
    return {};
}

Result<void> load_many(const View& view, std::uint32_t hub, std::uint16_t partition,
                       std::span<const std::uint32_t> numbers, std::vector<Stretch>& places,
                       std::string& arena) {
    const auto rows = view.snapshot->cursor(Family::rows);
    bool placed = false;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const std::string key = row_key(hub, partition, numbers[i]);
        int steps = placed ? 0 : steps_before_seek;
        while (steps < steps_before_seek && rows->valid() && rows->key() < key) {
            rows->next();
            ++steps;
        }
        if (steps == steps_before_seek) rows->seek(key);
        placed = true;
        if (auto status = rows->status(); !status) return status.error();
        if (!rows->valid() || rows->key() != key) continue;
        const std::string_view value = rows->value();
        places[i] = {arena.size(), value.size()};
        arena.append(value);
    }
    return {};
}

Result<void> load(const View& view, std::uint32_t hub, std::uint16_t partition,
                  std::span<const std::uint32_t> numbers, std::int64_t now_ms, DeviceChunk& chunk,
                  Reach reach) {
    chunk.devices.assign(numbers.size(), {});
    chunk.bytes.resize(2);
    std::string& arena = chunk.bytes[0];
    std::string& texts = chunk.bytes[1];
    arena.clear();
    texts.clear();
    if (numbers.empty()) return {};
    // First the bytes, then the views into them: the arena moves while it grows.
    std::vector<Stretch> places(numbers.size());
    const auto found = numbers.size() <= loaded_singly_max
                           ? load_few(view, hub, partition, numbers, places, arena, reach)
                           : load_many(view, hub, partition, numbers, places, arena);
    if (!found) return found.error();
    texts.reserve(2 * arena.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        Device& device = chunk.devices[i];
        device.number = numbers[i];
        if (places[i].second == 0) continue;
        const auto bytes = std::string_view(arena).substr(places[i].first, places[i].second);
        if (auto decoded = decode_device(bytes, device, texts); !decoded) return decoded.error();
        device.present = true;
        if (device.expires_at_ms > now_ms || device.installation_id.empty()) continue;
        // A row does not follow its installation through every start of the app: where its time
        // seems to be over, the installation knows.
        const auto owner = owner_of(view, hub, device.installation_id, reach);
        if (!owner) return owner.error();
        device.registered_at_ms = owner->registered_at_ms;
        device.expires_at_ms = owner->expires_at_ms;
    }
    return {};
}

}  // namespace

Result<void> load_devices(const View& view, std::uint32_t hub, std::uint16_t partition,
                          std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                          DeviceChunk& chunk) {
    return load(view, hub, partition, numbers, now_ms, chunk, Reach::disk);
}

Result<void> try_load(const View& view, std::uint32_t hub, std::uint16_t partition,
                      std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                      DeviceChunk& chunk) {
    if (numbers.size() > loaded_singly_max) return make_error_code(errc::not_in_memory);
    return load(view, hub, partition, numbers, now_ms, chunk, Reach::memory);
}

}  // namespace registry
