// Tested by tests/hub_fanout_test.cpp, tests/hub_clock_test.cpp and tests/hub_control_test.cpp.

#include "hub/send/lane_senders.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <string>
#include <variant>

#include "hub/process/log.hpp"
#include "pns/account.hpp"

namespace hub {

LaneSenders::LaneSenders(boost::asio::io_context& loop, SenderParts parts, Opened opened)
    : loop_(loop), parts_(parts), opened_(std::move(opened)), nursery_(loop.get_executor()) {}

std::size_t LaneSenders::serving(std::size_t platform) const {
    const auto& table = pns::platforms();
    if (!parts_.config.gcm_through_fcmv1 || table[platform].name != "gcm") return platform;
    return static_cast<std::size_t>(pns::platform_by_name("fcmv1") - table.data());
}

LaneSenders::Slot& LaneSenders::slot(std::uint32_t hub, std::size_t platform) {
    platform = serving(platform);
    std::unique_ptr<Slot>& slot = slots_[{hub, platform}];
    if (!slot) {
        slot = std::make_unique<Slot>(loop_.get_executor(), parts_.config.fanout_window_pushes);
    }
    if (!slot->sender && !slot->broken && !closed_) open(*slot, hub, platform);
    return *slot;
}

void LaneSenders::open(Slot& slot, std::uint32_t hub, std::size_t platform) {
    const pns::Platform& row = pns::platforms()[platform];
    const auto state = parts_.hubs.find(hub);
    if (!state || !row.has_sender) return;
    const auto properties = state->description.credentials.find(std::string(row.name));
    if (properties == state->description.credentials.end()) return;
    const pns::Credential credential{std::string(row.name), properties->second,
                                     parts_.config.credential_hosts};
    pns::SenderSettings settings = pns::default_settings(row.name);
    // Pushes of small sends and retries come on top of the slot's own window.
    settings.queue_pushes_max = 2 * parts_.config.fanout_window_pushes;
    if (parts_.config.provider_connections_max != 0) {
        settings.connections_max = parts_.config.provider_connections_max;
    }
    if (row.name == "fcmv1") {
        // A twentieth stays free: the provider's minute is not ours.
        const std::uint64_t per_minute = parts_.config.fcm_messages_per_minute;
        settings.pushes_per_s_max =
            per_minute == 0 ? 0 : std::max<std::uint64_t>(per_minute * 95 / 100 / 60, 1);
        settings.ramp_ms = parts_.config.fcm_ramp_s * 1'000;
    }
    auto found = pns::open_account(credential);
    if (const auto* refusal = std::get_if<pns::Refusal>(&found)) {
        slot.broken = true;
        if (!parts_.broken.is_news(hub, platform)) return;
        log_error("a stored credential cannot be used: its sends end as InvalidCredentials",
                  {{"hub", state->row.name},
                   {"platform", credential.platform},
                   {"why", refusal->message}});
        return;
    }
    auto account = std::get<std::unique_ptr<pns::Account>>(std::move(found));
    slot.sender = std::make_unique<pns::Sender>(loop_, std::move(account), settings, parts_.network,
                                                parts_.bearers);
    slot.sender->on_open(
        [this, hub, platform](std::uint32_t door) { opened_(hub, platform, door); });
    slot.sender->on_health(parts_.health.listener(hub, platform));
    ++slot.epoch;
    // What waits for a door of the sender before this one.
    boost::asio::post(loop_, [this, hub, platform] { opened_(hub, platform, 0); });
}

void LaneSenders::forget(std::uint32_t hub) {
    if (closed_) return;  // stop() ends them
    for (auto& [key, slot] : slots_) {
        if (key.first != hub) continue;
        slot->broken = false;
        if (!slot->sender) continue;
        nursery_.start(retire(std::move(slot->sender)));
        opened_(hub, key.second, 0);
    }
}

pns::Task<void> LaneSenders::retire(std::unique_ptr<pns::Sender> sender) {
    co_await sender->stop(parts_.config.drain_ms_max);
}

void LaneSenders::withdraw(const void* owner, std::uint32_t hub, std::uint32_t flow) {
    for (auto& [key, slot] : slots_) {
        slot->window.withdraw(owner);
        if (key.first == hub && slot->sender) slot->sender->withdraw(flow);
    }
}

void LaneSenders::close() {
    closed_ = true;
    for (auto& [key, slot] : slots_) slot->window.close();
}

pns::Task<void> LaneSenders::stop(std::int64_t drain_ms) {
    pns::Nursery stops(loop_.get_executor());
    for (auto& [key, slot] : slots_) {
        if (slot->sender) stops.start(slot->sender->stop(drain_ms));
    }
    co_await stops.join();
}

pns::Task<void> LaneSenders::join() {
    nursery_.cancel();
    co_await nursery_.join();
    slots_.clear();
}

}  // namespace hub
