// Tested by tests/hub_blobs_test.cpp.
//
// A hub's mutex is held while its files are walked and while one is moved into its place, so a file
// is counted by the walk or by who moves it, and not by both. What is on its way has names that the
// walk leaves out.

#include "hub/bulk/blob_room.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <system_error>
#include <utility>

namespace hub {

namespace fs = std::filesystem;

namespace {

/// What a file takes; 0: there is none.
std::uint64_t bytes_of(const fs::path& path) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return 0;
    return BlobRoom::file_bytes + static_cast<std::uint64_t>(info.st_size);
}

std::uint64_t bytes_in(const fs::path& folder) {
    std::uint64_t bytes = 0;
    std::error_code failure;
    fs::recursive_directory_iterator it(folder, failure);
    const fs::recursive_directory_iterator end;
    while (!failure && it != end) {
        if (!it->path().filename().native().starts_with('.')) bytes += bytes_of(it->path());
        it.increment(failure);
    }
    return bytes;
}

}  // namespace

struct BlobRoom::Hub {
    Hub(fs::path at, BytesMax most) : folder(std::move(at)), bytes_max(std::move(most)) {}

    /// Under the mutex.
    void measure() {
        kept = bytes_in(folder / "uploads") + bytes_in(folder / "jobs");
        measured = true;
    }
    void drop(std::uint64_t bytes) { kept -= std::min<std::uint64_t>(kept, bytes); }

    const fs::path folder;
    const BytesMax bytes_max;
    std::mutex mutex;
    std::atomic<std::uint64_t> kept = 0,
                               taken = 0;  // in place, on its way; written under the mutex
    std::atomic<bool> measured = false;
};

BlobRoom::BlobRoom(fs::path root, BytesMax bytes_max)
    : root_(std::move(root)), bytes_max_(std::move(bytes_max)) {}
BlobRoom::~BlobRoom() = default;

BlobRoom::Hold::~Hold() {
    const std::lock_guard lock(hub_->mutex);
    hub_->taken -= taken_;
}

bool BlobRoom::Hold::take(std::uint64_t bytes) {
    const std::lock_guard lock(hub_->mutex);
    const auto fits = [&] {
        const std::uint64_t most = hub_->bytes_max(), used = hub_->kept + hub_->taken;
        return used <= most && bytes <= most - used;
    };
    if (!hub_->measured || !fits()) hub_->measure();
    if (!fits()) return false;
    hub_->taken += bytes;
    taken_ += bytes;
    return true;
}

void BlobRoom::Hold::take_anyway(std::uint64_t bytes) {
    const std::lock_guard lock(hub_->mutex);
    hub_->taken += bytes;
    taken_ += bytes;
}

bool BlobRoom::Hold::keep(const fs::path& target, const std::function<bool()>& move) {
    const std::lock_guard lock(hub_->mutex);
    const std::uint64_t replaced = bytes_of(target);
    if (!move()) return false;
    hub_->drop(replaced);
    hub_->kept += taken_;
    hub_->taken -= std::exchange(taken_, 0);
    return true;
}

void BlobRoom::Hold::keep() {
    const std::lock_guard lock(hub_->mutex);
    hub_->kept += taken_;
    hub_->taken -= std::exchange(taken_, 0);
}

void BlobRoom::Hold::cut(std::uint64_t bytes) {
    const std::lock_guard lock(hub_->mutex);
    hub_->drop(bytes);
}

std::shared_ptr<BlobRoom::Hub> BlobRoom::of(const std::string& hub) const {
    const std::lock_guard lock(mutex_);
    auto& known = hubs_[hub];
    if (!known) known = std::make_shared<Hub>(root_ / hub, bytes_max_);
    return known;
}

std::vector<BlobRoom::Use> BlobRoom::uses() const {
    std::vector<Use> out;
    const std::lock_guard lock(mutex_);
    for (const auto& [name, hub] : hubs_) {
        if (hub->measured) out.push_back({name, hub->kept + hub->taken});
    }
    return out;
}

void BlobRoom::forget(const std::string& hub) const {
    const std::lock_guard lock(mutex_);
    hubs_.erase(hub);
}

void BlobRoom::measure() const {
    std::error_code failure;
    fs::directory_iterator it(root_, failure);
    const fs::directory_iterator end;
    while (!failure && it != end) {
        const std::string name = it->path().filename();
        if (!name.starts_with('.')) {
            const auto hub = of(name);
            const std::lock_guard lock(hub->mutex);
            hub->measure();
        }
        it.increment(failure);
    }
}

}  // namespace hub
