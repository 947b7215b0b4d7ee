// Tested by tests/hub_trace_test.cpp.
//
// The lock of a lane's buffer is taken by the lane and by who writes, and never held over a write:
// lanes do not wait for the disk. `mutex_` guards the queues of retirements likewise. One thread
// writes at a time (`write_mutex_`): the trace's own, or one that erases a device. An erasure first
// writes what is queued, so that this goes, too.

#include "hub/send/trace.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "hub/process/log.hpp"

namespace hub {

namespace {

constexpr auto write_every = std::chrono::milliseconds(200);
constexpr std::size_t wake_bytes = 256u << 10;
constexpr std::int64_t tidy_every_ms_min = 60'000;

}  // namespace

Trace::Trace(std::unique_ptr<registry::TraceStore> store, Settings settings, std::size_t lanes)
    : settings_(std::move(settings)),
      keep_(settings_.keep),
      lane_bytes_max_(settings_.buffer_bytes_max / std::max<std::size_t>(lanes, 1)),
      store_(std::move(store)) {
    for (std::size_t i = 0; i < lanes; ++i) lanes_.push_back(std::make_unique<Lane>());
    writer_ = std::thread([this] { run(); });
}

Trace::~Trace() {
    stop();
}

void Trace::record(std::size_t lane, const registry::TraceEvent& event) {
    Lane& mine = *lanes_[lane];
    bool ripe = false;
    {
        std::lock_guard lock(mine.mutex);
        const std::size_t before = mine.bytes.size();
        if (before >= lane_bytes_max_) {
            dropped_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        registry::append_trace_event(mine.bytes, event);
        ++mine.events;
        ripe = before < wake_bytes && mine.bytes.size() >= wake_bytes;
    }
    if (ripe) wake_.notify_one();
}

void Trace::retired(std::vector<registry::RetirementRecord> records) {
    std::lock_guard lock(mutex_);
    for (registry::RetirementRecord& record : records) {
        if (stopping_ || retired_.size() >= queue_max) {
            retirements_dropped_.fetch_add(1, std::memory_order_relaxed);
        } else {
            retired_.push_back(std::move(record));
        }
    }
}

void Trace::hold(registry::HeldRetirement held) {
    std::lock_guard lock(mutex_);
    if (stopping_ || held_.size() >= queue_max) return;  // held in memory all the same
    const std::uint32_t hub = held.hub;
    const std::uint64_t ticket = held.ticket;
    held_.push_back({std::move(held), hub, ticket});
}

void Trace::unhold(std::uint32_t hub, std::uint64_t ticket) {
    std::lock_guard lock(mutex_);
    // Dropped, it is held once more after a restart, and compared once more.
    if (stopping_ || held_.size() >= queue_max) return;
    held_.push_back({std::nullopt, hub, ticket});
}

std::vector<registry::HeldRetirement> Trace::take_held_at_start() {
    auto held = store_->held();
    if (!held) {
        report(held.error(), "reading the retirements that were held failed");
        return {};
    }
    return std::move(*held);
}

void Trace::set_held_eraser(HeldEraser eraser) {
    std::lock_guard lock(eraser_mutex_);
    eraser_ = std::move(eraser);
}

registry::HandleHash Trace::hash_of(std::string_view handle) const {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    HMAC(EVP_sha256(), settings_.key.data(), static_cast<int>(settings_.key.size()),
         reinterpret_cast<const unsigned char*>(handle.data()), handle.size(), digest.data(),
         &length);
    registry::HandleHash hash;
    std::copy_n(digest.begin(), hash.size(), hash.begin());
    return hash;
}

std::string Trace::handle_id(std::string_view handle) const {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string id;
    for (const std::uint8_t byte : hash_of(handle)) {
        id += digits[byte >> 4];
        id += digits[byte & 15];
    }
    return id;
}

registry::Result<std::size_t> Trace::erase_device(std::uint32_t hub,
                                                  std::string_view installation_id,
                                                  std::string_view registration_id,
                                                  std::string_view handle) {
    using registry::DeviceKind;
    std::size_t erased = 0;
    boost::system::error_code failure;
    {
        std::lock_guard lock(eraser_mutex_);
        if (eraser_) erased += eraser_(hub, installation_id, registration_id, handle);
    }
    std::lock_guard lock(write_mutex_);
    write_all();
    const auto add = [&](const registry::Result<std::size_t>& result) {
        if (result) {
            erased += *result;
        } else {
            failure = result.error();
        }
    };
    if (!installation_id.empty()) {
        add(store_->erase_device(hub, DeviceKind::installation, installation_id));
        add(store_->erase_retirements_of_device(hub, installation_id));
    }
    if (!registration_id.empty()) {
        add(store_->erase_device(hub, DeviceKind::registration, registration_id));
        add(store_->erase_retirements_of_device(hub, registration_id));
    }
    if (!handle.empty()) {
        add(store_->erase_device(hub, DeviceKind::handle, handle_id(handle)));
        add(store_->erase_retirements_of_handle(hub, hash_of(handle)));
    }
    if (failure) return failure;
    return erased;
}

void Trace::flush() {
    std::lock_guard lock(write_mutex_);
    write_all();
}

void Trace::report(const boost::system::error_code& failure, std::string_view what) {
    if (!failing_) log_error(what, {{"error", failure.message()}});
    failing_ = true;
}

void Trace::write_all() {
    bool failed = false;
    for (auto& lane : lanes_) {
        std::uint64_t events = 0;
        {
            std::lock_guard lock(lane->mutex);
            if (lane->bytes.empty()) continue;
            spare_.swap(lane->bytes);
            events = std::exchange(lane->events, 0);
        }
        const auto wrote = store_->write_events(spare_);
        spare_.clear();
        if (wrote) {
            written_.fetch_add(*wrote, std::memory_order_relaxed);
            continue;
        }
        failed = true;
        dropped_.fetch_add(events, std::memory_order_relaxed);
        report(wrote.error(), "writing the trace failed: what could not be written is dropped");
    }
    std::vector<registry::RetirementRecord> records;
    std::vector<registry::TraceStore::HeldChange> changes;
    {
        std::lock_guard lock(mutex_);
        records.swap(retired_);
        changes.swap(held_);
    }
    if (!records.empty()) {
        const auto wrote = store_->write_retirements(records);
        (wrote ? retirements_ : retirements_dropped_)
            .fetch_add(records.size(), std::memory_order_relaxed);
        failed = failed || !wrote;
        if (!wrote) report(wrote.error(), "writing the reasons of retirements failed");
    }
    if (!changes.empty()) {
        const auto wrote = store_->write_held(changes);
        failed = failed || !wrote;
        if (!wrote) report(wrote.error(), "writing the retirements that are held failed");
    }
    failing_ = failed;
}

void Trace::run() {
    const std::int64_t tidy_every_ms = std::max(settings_.kept_ms / 32, tidy_every_ms_min);
    std::int64_t tidied_ms = settings_.now();
    for (;;) {
        bool last = false;
        {
            std::unique_lock lock(mutex_);
            wake_.wait_for(lock, write_every);
            last = stopping_;
        }
        std::lock_guard lock(write_mutex_);
        write_all();
        if (last) return;
        const std::int64_t now_ms = settings_.now();
        if (now_ms - tidied_ms < tidy_every_ms) continue;
        tidied_ms = now_ms;
        if (const auto tidied = store_->tidy(now_ms); !tidied)
            report(tidied.error(), "removing what is over its age from the trace failed");
    }
}

Trace::Figures Trace::figures() const {
    Figures out;
    out.written = written_.load(std::memory_order_relaxed);
    out.dropped = dropped_.load(std::memory_order_relaxed);
    out.retirements = retirements_.load(std::memory_order_relaxed);
    out.retirements_dropped = retirements_dropped_.load(std::memory_order_relaxed);
    for (const auto& lane : lanes_) {
        std::lock_guard lock(lane->mutex);
        out.buffered_bytes += lane->bytes.size();
    }
    const auto store = store_->figures();
    out.disk_bytes = store.pushes_bytes + store.retirements_bytes;
    return out;
}

void Trace::stop() {
    {
        std::lock_guard lock(mutex_);
        if (stopping_) return;
        stopping_ = true;
    }
    wake_.notify_one();
    if (writer_.joinable()) writer_.join();
}

}  // namespace hub
