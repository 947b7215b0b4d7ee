#pragma once

// Everything that reads: one call, one view. Any thread.

#include <span>
#include <string>
#include <vector>

#include "registry/view.hpp"

namespace registry {

// reader.cpp
Result<Registration> read_registration(const View& view, std::uint32_t hub, std::string_view id);
Result<Installation> read_installation(const View& view, std::uint32_t hub, std::string_view id,
                                       Reach reach = Reach::disk);
Result<Page> list_registrations(const View& view, std::uint32_t hub, std::string_view tag,
                                std::string_view after, std::size_t count_max);
Result<std::vector<Registration>> find_handle(const View& view, std::uint32_t hub,
                                              std::string_view handle, std::size_t count_max);
Result<void> load_devices(const View& view, std::uint32_t hub, std::uint16_t partition,
                          std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                          DeviceChunk& chunk);
Result<void> load_at_once(const View& view, std::uint32_t hub, std::uint16_t partition,
                          std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                          DeviceChunk& chunk);
Result<std::pair<Send, Progress>> read_send(const View& view, std::uint32_t hub,
                                            std::string_view id);
/// By partition; adds to `keys` the partitions that lie under a key of their own.
Result<std::vector<Bitmap>> read_selection(const Snapshot& snapshot, std::uint32_t hub,
                                           const std::string& id, std::string_view open_bytes,
                                           std::uint16_t partitions, Bitmap& keys);
Result<std::vector<Bitmap>> read_done(const Snapshot& snapshot, std::uint32_t hub,
                                      const std::string& id, std::uint16_t partitions,
                                      Bitmap& keys);
Result<std::vector<OpenSend>> read_open_sends(const View& view);
Result<SendPage> read_sends(const View& view, std::uint32_t hub, const SendQuery& query);

// select.cpp
Result<Selection> select_devices(const Views& views, std::uint32_t hub, const tagexpr::Plan& plan,
                                 const Universe& universe);
Result<Selection> select_at_once(const Views& views, std::uint32_t hub, const tagexpr::Plan& plan,
                                 const Universe& universe);

// audience.cpp
Result<Audience> count_audience(const Views& views, std::uint32_t hub, const AudienceQuery& query);

// verify.cpp
std::vector<std::string> verify_hub(const Views& views, std::uint32_t hub);

}  // namespace registry
