#pragma once

// How much of the disk the files take that a hub's clients and jobs write into the blob area
// (containers uploads and jobs), and whether there is room for more (Config::blobs_mib_max). A hub
// is measured by a walk through its files when it is first asked about, and again before it is
// refused, as operators copy and remove files themselves. Between, what is written is counted. Any
// thread; blocks on disk.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace hub {

class BlobRoom {
    struct Hub;

  public:
    using BytesMax = std::function<std::uint64_t()>;  ///< of each hub; any thread
    /// What a file takes besides its bytes: an empty one is not free.
    static constexpr std::uint64_t file_bytes = 4'096;

    BlobRoom(std::filesystem::path root, BytesMax bytes_max);
    ~BlobRoom();

    /// What one file on its way takes. Given back with it, unless it was kept. One thread at a
    /// time.
    class Hold {
      public:
        explicit Hold(std::shared_ptr<Hub> hub) : hub_(std::move(hub)) {}
        ~Hold();
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;
        /// False: there is no room for so much more.
        bool take(std::uint64_t bytes);
        /// The same without a bound: for an empty file in the place of another, which makes room.
        void take_anyway(std::uint64_t bytes);
        /// `move` puts the file in the place of `target`, which may be there. If it succeeds, what
        /// was taken stays, and what `target` took is free.
        bool keep(const std::filesystem::path& target, const std::function<bool()>& move);
        /// What was taken stays.
        void keep();
        /// A file of the hub was cut by so much.
        void cut(std::uint64_t bytes);

      private:
        const std::shared_ptr<Hub> hub_;
        std::uint64_t taken_ = 0;
    };
    /// `hub`: its folder's name, in lower case.
    std::shared_ptr<Hub> of(const std::string& hub) const;

    std::uint64_t bytes_max() const { return bytes_max_(); }
    struct Use {
        std::string hub;
        std::uint64_t bytes = 0;
    };
    /// Of the hubs that were measured. Does not block.
    std::vector<Use> uses() const;
    void forget(const std::string& hub) const;
    /// Measures every hub that has a folder. At start-up.
    void measure() const;

  private:
    const std::filesystem::path root_;
    const BytesMax bytes_max_;
    mutable std::mutex mutex_;
    mutable std::map<std::string, std::shared_ptr<Hub>> hubs_;
};

}  // namespace hub
