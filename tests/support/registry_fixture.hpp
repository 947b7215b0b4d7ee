#pragma once

// A registry in a directory of its own, with calls that wait for their answer.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "registry/registry.hpp"
#include "tagexpr/expression.hpp"

namespace registry_test {

using namespace registry;

/// Made unique, removed with everything in it at the end.
class TempDirectory {
  public:
    TempDirectory();
    ~TempDirectory();
    TempDirectory(const TempDirectory&) = delete;
    TempDirectory& operator=(const TempDirectory&) = delete;
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

/// Runs `call(done)` and waits for what `done` gets.
template <class T, class Call>
Result<T> wait(Call&& call) {
    std::promise<Result<T>> promise;
    call([&promise](Result<T> result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
}

/// The registry's calls, answered. Opening throws if the store is refused.
class Opened {
  public:
    explicit Opened(const Options& options);
    Registry* operator->() const { return registry_.get(); }
    Registry& operator*() const { return *registry_; }

    std::uint32_t hub(const std::string& name, std::uint16_t partitions);
    Result<Registration> put(std::uint32_t hub, Registration value, Precondition match = {});
    /// As put(), by the way of bulk jobs.
    Result<Registration> put_ahead(std::uint32_t hub, Registration value, Precondition match = {});
    Result<void> erase(std::uint32_t hub, const std::string& id, Precondition match = {});
    Result<Installation> install(std::uint32_t hub, Installation value,
                                 std::optional<std::uint64_t> expected = {});
    Result<bool> uninstall(std::uint32_t hub, const std::string& id);
    Result<std::size_t> retire(std::uint32_t hub, std::vector<Retirement> dead);
    Result<std::size_t> rotate(std::uint32_t hub, std::vector<Rotation> moved);
    Result<std::size_t> expire(std::int64_t now_ms, std::size_t count_max);
    Result<void> accept(std::uint32_t hub, Send send, Selection selection, Progress progress = {});
    Result<void> checkpoint(std::uint32_t hub, const std::string& id, Progress progress);

    /// Ids of the registrations that match, ascending; read by select() and load().
    std::vector<std::string> select(std::uint32_t hub, const std::string& expression,
                                    const Universe& universe = {}) const;

  private:
    std::unique_ptr<Registry> registry_;
};

/// Stops the writer inside an answer until it is let go.
class HeldWriter {
  public:
    HeldWriter(Registry& registry, std::uint32_t hub) {
        std::promise<void> reached;
        registry.erase_registration(hub, "none", {}, [this, &reached](Result<void>) {
            reached.set_value();
            go_.get_future().wait();
        });
        reached.get_future().wait();
    }
    void release() { go_.set_value(); }

  private:
    std::promise<void> go_;
};

Options options_in(const std::filesystem::path& directory);
tagexpr::Plan plan_of(const std::string& expression);
Registration registration(const std::string& id, const std::string& handle,
                          std::vector<std::string> tags);
Installation installation(const std::string& id, const std::string& handle,
                          std::vector<std::string> tags);
/// The loaded device of one registration id; fails the test if it is not selected by `everything`.
struct Located {
    std::uint16_t partition = 0;
    Device device;  // views end with the chunk below
    std::shared_ptr<DeviceChunk> chunk;
};
Located locate(const Registry& store, std::uint32_t hub, const std::string& id);

inline TempDirectory::TempDirectory() {
    static std::atomic<unsigned> count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("pushhub-registry-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(path_);
}

inline TempDirectory::~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

inline Options options_in(const std::filesystem::path& directory) {
    Options options;
    options.directory = directory;
    options.block_cache_bytes = 8u << 20;
    options.posting_cache_bytes_max = 1u << 20;
    options.sync = false;
    return options;
}

inline Opened::Opened(const Options& options) {
    std::string why;
    auto opened = Registry::open(options, why);
    if (!opened) throw std::runtime_error(why);
    registry_ = std::move(*opened);
}

inline std::uint32_t Opened::hub(const std::string& name, std::uint16_t partitions) {
    HubRow row;
    row.name = name;
    row.partitions = partitions;
    return wait<HubRow>([&](auto done) { registry_->create_hub(row, done); }).value().number;
}

inline Result<Registration> Opened::put(std::uint32_t hub, Registration value, Precondition match) {
    return wait<Registration>(
        [&](auto done) { registry_->put_registration(hub, std::move(value), match, done); });
}

inline Result<Registration> Opened::put_ahead(std::uint32_t hub, Registration value,
                                              Precondition match) {
    return wait<Registration>([&](auto done) {
        std::vector<Registry::PutOfMany> one;
        one.push_back({std::move(value), done});
        registry_->put_registrations(hub, std::move(one), match);
    });
}

inline Result<void> Opened::erase(std::uint32_t hub, const std::string& id, Precondition match) {
    return wait<void>([&](auto done) { registry_->erase_registration(hub, id, match, done); });
}

inline Result<Installation> Opened::install(std::uint32_t hub, Installation value,
                                            std::optional<std::uint64_t> expected) {
    return wait<Installation>(
        [&](auto done) { registry_->put_installation(hub, std::move(value), expected, done); });
}

inline Result<bool> Opened::uninstall(std::uint32_t hub, const std::string& id) {
    return wait<bool>([&](auto done) { registry_->erase_installation(hub, id, done); });
}

inline Result<std::size_t> Opened::retire(std::uint32_t hub, std::vector<Retirement> dead) {
    const auto retired = wait<std::vector<Retired>>(
        [&](auto done) { registry_->retire(hub, std::move(dead), done); });
    if (!retired) return retired.error();
    return retired->size();
}

inline Result<std::size_t> Opened::rotate(std::uint32_t hub, std::vector<Rotation> moved) {
    return wait<std::size_t>([&](auto done) { registry_->rotate(hub, std::move(moved), done); });
}

inline Result<std::size_t> Opened::expire(std::int64_t now_ms, std::size_t count_max) {
    const auto swept = wait<Swept>([&](auto done) { registry_->expire(now_ms, count_max, done); });
    if (!swept) return {boost::system::in_place_error, swept.error()};
    return swept->removed;
}

inline Result<void> Opened::accept(std::uint32_t hub, Send send, Selection selection,
                                   Progress progress) {
    return wait<void>([&](auto done) {
        registry_->accept(hub, frozen(std::move(send), std::move(selection)), std::move(progress),
                          done);
    });
}

inline Result<void> Opened::checkpoint(std::uint32_t hub, const std::string& id,
                                       Progress progress) {
    return wait<void>(
        [&](auto done) { registry_->checkpoint(hub, id, std::move(progress), done); });
}

inline std::vector<std::string> Opened::select(std::uint32_t hub, const std::string& expression,
                                               const Universe& universe) const {
    const Selection selection = registry_->select(hub, plan_of(expression), universe).value();
    std::vector<std::string> ids;
    DeviceChunk chunk;
    for (std::uint16_t p = 0; p < selection.partitions.size(); ++p) {
        const std::vector<std::uint32_t> numbers(selection.partitions[p].begin(),
                                                 selection.partitions[p].end());
        registry_->load(hub, p, numbers, 0, chunk).value();
        for (const Device& device : chunk.devices) {
            if (!device.present) throw std::runtime_error("a selected device has no row");
            ids.push_back(id_of(device, p));
        }
    }
    std::sort(ids.begin(), ids.end());
    return ids;
}

inline tagexpr::Plan plan_of(const std::string& expression) {
    const auto parsed = tagexpr::parse(expression);
    return tagexpr::simplify(std::get<tagexpr::Expression>(parsed));
}

inline Registration registration(const std::string& id, const std::string& handle,
                                 std::vector<std::string> tags) {
    Registration value;
    value.id = id;
    value.platform = "apns";
    value.handle = handle;
    value.tags = std::move(tags);
    value.registered_at_ms = 1'000;
    return value;
}

inline Installation installation(const std::string& id, const std::string& handle,
                                 std::vector<std::string> tags) {
    Installation value;
    value.id = id;
    value.platform = "apns";
    value.push_channel = handle;
    value.tags = std::move(tags);
    value.registered_at_ms = value.updated_at_ms = 1'000;
    return value;
}

inline Located locate(const Registry& store, std::uint32_t hub, const std::string& id) {
    const Selection all = store.select(hub, plan_of(""), {}).value();
    for (std::uint16_t p = 0; p < all.partitions.size(); ++p) {
        for (const std::uint32_t number : all.partitions[p]) {
            auto chunk = std::make_shared<DeviceChunk>();
            store.load(hub, p, {&number, 1}, 0, *chunk).value();
            if (id_of(chunk->devices.front(), p) == id) {
                return {p, chunk->devices.front(), chunk};
            }
        }
    }
    throw std::runtime_error("not selected: " + id);
}

}  // namespace registry_test
