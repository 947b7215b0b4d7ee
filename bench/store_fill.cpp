#include "bench/store_fill.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "hub/cli/terminal.hpp"

namespace bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t waiting_max = 32'768;
constexpr std::size_t batch_changes = 8'192;  ///< without syncs, big batches cost least
constexpr std::size_t read_bytes = 1 << 20;

double seconds_since(Clock::time_point begun) {
    return std::chrono::duration<double>(Clock::now() - begun).count();
}

/// What is queued and what went wrong, between the caller and the writer's thread.
struct Flow {
    std::mutex mutex;
    std::condition_variable change;
    std::size_t waiting = 0;
    std::string failure;

    void ended(const registry::Result<registry::Installation>& written) {
        const std::lock_guard lock(mutex);
        --waiting;
        if (!written && failure.empty()) failure = written.error().message();
        if (waiting == waiting_max / 2 || waiting == 0 || !written) change.notify_one();
    }
    void wait_below(std::size_t count) {
        std::unique_lock lock(mutex);
        change.wait(lock, [&] { return waiting < count; });
        if (!failure.empty()) throw std::runtime_error("filling the store: " + failure);
    }
};

template <class Each>
void each_file(const fs::path& directory, const Each& each) {
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
        if (!entry.is_regular_file()) continue;
        const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
        if (file < 0) continue;
        each(file);
        ::close(file);
    }
}

}  // namespace

std::unique_ptr<registry::Registry> open_store(const fs::path& data_dir, bool sync) {
    registry::Options options;
    options.directory = data_dir / "store";
    options.sync = sync;
    if (!sync) options.batch_changes_max = batch_changes;
    std::string why;
    auto opened = registry::Registry::open(options, why);
    if (!opened) throw std::runtime_error(why.empty() ? opened.error().message() : why);
    return std::move(*opened);
}

registry::HubRow stored_hub(const registry::Registry& store, const std::string& name) {
    for (registry::HubRow& row : store.hubs())
        if (row.name == name) return std::move(row);
    throw std::runtime_error("the store has no hub " + name);
}

double fill_store(const fs::path& data_dir, const std::string& hub, std::uint32_t count,
                  const std::function<registry::Installation(std::uint32_t)>& make) {
    const auto store = open_store(data_dir, false);
    const std::uint32_t number = stored_hub(*store, hub).number;
    const std::int64_t now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                    std::chrono::system_clock::now().time_since_epoch())
                                    .count();
    hub::ProgressBar bar("filling " + hub, count);
    Flow flow;
    const auto begun = Clock::now();
    try {
        for (std::uint32_t i = 0; i < count; ++i) {
            registry::Installation device = make(i);
            device.registered_at_ms = device.updated_at_ms = now_ms;
            bool full = false;
            {
                const std::lock_guard lock(flow.mutex);
                full = ++flow.waiting >= waiting_max;
            }
            store->put_installation(
                number, std::move(device), std::nullopt,
                [&flow](registry::Result<registry::Installation> written) { flow.ended(written); });
            if (full) flow.wait_below(waiting_max / 2 + 1);
            bar.set(i);
        }
        flow.wait_below(1);
    } catch (const std::exception&) {
        store->close();  // no callback may come after this
        throw;
    }
    bar.set(count);
    bar.finish();
    const double rate = count / seconds_since(begun);
    store->close();
    return rate;
}

std::uint64_t bytes_on_disk(const fs::path& directory) {
    std::uint64_t sum = 0;
    std::error_code ignored;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
        const auto size = entry.is_regular_file() ? entry.file_size(ignored) : 0;
        if (!ignored) sum += size;
    }
    return sum;
}

void drop_from_page_cache(const fs::path& directory) {
    each_file(directory, [](int file) {
        ::fdatasync(file);
        ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    });
}

double read_sequentially(const fs::path& directory) {
    std::vector<char> buffer(read_bytes);
    const auto begun = Clock::now();
    each_file(directory, [&buffer](int file) {
        while (::read(file, buffer.data(), buffer.size()) > 0) {
        }
    });
    return seconds_since(begun);
}

}  // namespace bench
