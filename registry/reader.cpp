#include "registry/reader.hpp"

#include <algorithm>

#include "registry/page_fill.hpp"
#include "registry/partition.hpp"

namespace registry {

Result<std::optional<Row>> find_row(const View& view, std::uint32_t hub, Address address) {
    const auto [partition, number] = address;
    std::string bytes;
    const auto found = view.snapshot->get(Family::rows, row_key(hub, partition, number), bytes);
    if (!found) return found.error();
    if (!*found) return std::optional<Row>();
    auto row = decode_row(bytes, address);
    if (!row) return row.error();
    return std::optional(std::move(*row));
}

Result<Row> read_row(const View& view, std::uint32_t hub, Address address) {
    auto row = find_row(view, hub, address);
    if (!row) return row.error();
    if (!*row) return make_error_code(errc::corrupt);
    return std::move(**row);
}

Result<Installation> owner_of(const View& view, std::uint32_t hub, std::string_view id,
                              Reach reach) {
    auto owner = read_installation(view, hub, id, reach);
    if (!owner && owner.error() == errc::not_found) return make_error_code(errc::corrupt);
    return owner;
}

Result<Registration> read_registration(const View& view, std::uint32_t hub, const Row& row) {
    if (row.installation_id.empty()) return to_registration(row, nullptr);
    const auto owner = owner_of(view, hub, row.installation_id, Reach::disk);
    if (!owner) return owner.error();
    return to_registration(row, &*owner);
}

namespace {

/// The row whose id is in the family of ids.
Result<Row> read_plain(const View& view, std::uint32_t hub, std::string_view id) {
    std::string bytes;
    const auto found = view.snapshot->get(Family::ids, id_key(hub, id), bytes);
    if (!found) return found.error();
    if (!*found) return make_error_code(errc::not_found);
    const auto entry = decode_id(bytes);
    if (!entry) return entry.error();
    if (entry->gone) return make_error_code(errc::not_found);
    return read_row(view, hub, {entry->partition, entry->number});
}

/// The row at the place that the id of a part names, unless the part is gone.
Result<Row> read_part(const View& view, std::uint32_t hub, Address place, std::string_view id) {
    auto row = find_row(view, hub, place);
    if (!row) return row.error();
    if (!*row || (*row)->registration_id != id) return make_error_code(errc::not_found);
    return std::move(**row);
}

}  // namespace

Result<Registration> read_registration(const View& view, std::uint32_t hub, std::string_view id) {
    if (view.hubs->find(hub) == nullptr) return make_error_code(errc::not_found);
    const auto place = part_place(id);
    const auto row = place ? read_part(view, hub, *place, id) : read_plain(view, hub, id);
    if (!row) return row.error();
    return read_registration(view, hub, *row);
}

Result<Installation> read_installation(const View& view, std::uint32_t hub, std::string_view id,
                                       Reach reach) {
    if (view.hubs->find(hub) == nullptr) return make_error_code(errc::not_found);
    std::string bytes;
    const auto found =
        view.snapshot->get(Family::installations, installation_key(hub, id), bytes, reach);
    if (!found) return found.error();
    if (!*found) return make_error_code(errc::not_found);
    auto record = decode_installation(id, bytes);
    if (!record) return record.error();
    return std::move(record->value);
}

namespace {

std::size_t bytes_in(const std::vector<std::string>& texts) {
    std::size_t bytes = 0;
    for (const auto& text : texts) bytes += text.size();
    return bytes;
}

std::size_t bytes_in(const Template& source) {
    std::size_t bytes =
        source.name.size() + source.body.size() + source.expiry.size() + bytes_in(source.tags);
    for (const auto& [name, value] : source.headers) bytes += name.size() + value.size();
    return bytes;
}

std::size_t bytes_in(const std::map<std::string, std::string>& texts) {
    std::size_t bytes = 0;
    for (const auto& [name, value] : texts) bytes += name.size() + value.size();
    return bytes;
}

std::size_t bytes_in(const std::map<std::string, Template>& templates) {
    std::size_t bytes = 0;
    for (const auto& [name, value] : templates) bytes += name.size() + bytes_in(value);
    return bytes;
}

}  // namespace

std::size_t bytes_of(const Registration& registration) {
    const std::size_t bytes = registration.id.size() + registration.handle.size() +
                              registration.secondary_tile.size() +
                              registration.installation_id.size() + bytes_in(registration.tags) +
                              bytes_in(registration.push_variables);
    return registration.body ? bytes + bytes_in(*registration.body) : bytes;
}

std::size_t bytes_of(const Installation& installation) {
    std::size_t bytes = installation.id.size() + installation.user_id.size() +
                        installation.push_channel.size() + bytes_in(installation.tags) +
                        bytes_in(installation.push_variables) + bytes_in(installation.templates);
    for (const auto& [name, tile] : installation.secondary_tiles) {
        bytes +=
            name.size() + tile.push_channel.size() + bytes_in(tile.tags) + bytes_in(tile.templates);
    }
    return bytes;
}

// A place in the rows of a handle is `n` (native) or `t` (template) and what its key has behind the
// handle.
Result<Page> find_handle(const View& view, std::uint32_t hub, std::string_view handle,
                         std::string_view after, std::size_t count_max) {
    if (view.hubs->find(hub) == nullptr) return make_error_code(errc::not_found);
    if (!after.empty() && after.front() != 'n' && after.front() != 't')
        return make_error_code(errc::not_found);
    Page page;
    auto& found = page.registrations;
    std::string last;
    PageFill fill(count_max);
    const auto cursor = view.snapshot->cursor(Family::handles, true);
    for (const bool native : {true, false}) {
        if (native && after.starts_with('t')) continue;
        const std::string prefix = handle_prefix(hub, handle, native);
        std::string from = prefix;
        if (after.starts_with(native ? 'n' : 't')) from += after.substr(1);
        for (cursor->seek(from); cursor->valid(); cursor->next()) {
            if (!cursor->key().starts_with(prefix)) break;
            if (from.size() > prefix.size() && cursor->key() == from) continue;
            if (fill.full()) {
                page.next = last;
                break;
            }
            const auto place = address_at_end(cursor->key());
            if (!place) return place.error();
            const auto row = read_row(view, hub, *place);
            if (!row) return row.error();
            auto value = read_registration(view, hub, *row);
            if (!value) return value.error();
            if (value->handle != handle) continue;
            last = (native ? "n" : "t") + std::string(cursor->key().substr(prefix.size()));
            fill.add(bytes_of(*value));
            found.push_back(std::move(*value));
        }
        if (auto status = cursor->status(); !status) return status.error();
        if (!page.next.empty()) break;
    }
    std::sort(found.begin(), found.end(),
              [](const Registration& a, const Registration& b) { return a.id < b.id; });
    return page;
}

}  // namespace registry
