#pragma once

// Everything that reads: one call, one view. Any thread.

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "registry/audience.hpp"
#include "registry/device.hpp"
#include "registry/keys.hpp"
#include "registry/universe.hpp"
#include "registry/view.hpp"
#include "tagexpr/expression.hpp"

namespace registry {

// reader.cpp
Result<std::optional<Row>> find_row(const View& view, std::uint32_t hub, Address address);
/// errc::corrupt: there is none.
Result<Row> read_row(const View& view, std::uint32_t hub, Address address);
Result<Registration> read_registration(const View& view, std::uint32_t hub, const Row& row);
Result<Registration> read_registration(const View& view, std::uint32_t hub, std::string_view id);
Result<Installation> read_installation(const View& view, std::uint32_t hub, std::string_view id,
                                       Reach reach = Reach::disk);
/// The installation that a row says it is a part of; errc::corrupt: there is none.
Result<Installation> owner_of(const View& view, std::uint32_t hub, std::string_view id,
                              Reach reach);
/// `after`: Page::next of the page before, or empty. errc::not_found: no such hub, or no such
/// place.
Result<Page> find_handle(const View& view, std::uint32_t hub, std::string_view handle,
                         std::string_view after, std::size_t count_max);

/// Of the texts that it holds.
std::size_t bytes_of(const Registration& registration);
std::size_t bytes_of(const Installation& installation);

// lists.cpp
Result<Page> list_registrations(const View& view, std::uint32_t hub, std::string_view tag,
                                std::string_view after, std::size_t count_max);

// load.cpp
Result<void> load_devices(const View& view, std::uint32_t hub, std::uint16_t partition,
                          std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                          DeviceChunk& chunk);
Result<void> try_load(const View& view, std::uint32_t hub, std::uint16_t partition,
                      std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                      DeviceChunk& chunk);

// sends.cpp
Result<std::pair<Send, Progress>> read_send(const View& view, std::uint32_t hub,
                                            std::string_view id);
/// A send that is not final, with all that the store has of it. `progress.finished` is filled.
struct OpenRecord {
    std::uint64_t mark = 0;
    std::uint32_t hub = 0;
    Send send;
    Progress progress;
    bool progress_stored = false;
    std::uint64_t bytes = 0;                   ///< of the send as it was accepted, with its key
    std::vector<Bitmap> selection;             ///< by partition
    Bitmap selection_stored, finished_stored;  ///< partitions that lie under keys of their own
    std::uint16_t failures_stored = 0;         ///< pieces
};
/// Each of them, by mark.
Result<void> each_open(const Snapshot& snapshot, const Hubs& hubs,
                       const std::function<void(OpenRecord&&)>& found);
Result<std::vector<OpenSend>> read_open_sends(const View& view);  ///< by hub and id
Result<SendPage> read_sends(const View& view, std::uint32_t hub, const SendQuery& query);

// select.cpp
/// Whom a tag leads to, by partition.
Result<std::map<std::uint16_t, Bitmap>> read_tag(const View& view, std::uint32_t hub,
                                                 std::string_view tag, Reach reach);
Result<Selection> select_devices(const Views& views, std::uint32_t hub, const tagexpr::Plan& plan,
                                 const Universe& universe);
Result<Selection> try_select(const Views& views, std::uint32_t hub, const tagexpr::Plan& plan,
                             const Universe& universe);

// audience.cpp
Result<Audience> count_audience(const Views& views, std::uint32_t hub, const AudienceQuery& query);

// verify.cpp
std::vector<std::string> verify_hub(const Views& views, std::uint32_t hub);

}  // namespace registry
