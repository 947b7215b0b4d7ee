#pragma once

// The process's own blob area: files under data_dir/blobs/<hub>/<container>/<name>, handed out by
// signed URLs in the shape Azure Blob clients know (docs/contracts/anh.md 6.3, 9). Calls block on
// disk and belong on a store thread; sign() and admits() are pure. Any thread.
//
// A signature covers one container or one blob of one hub number, rights and expiry, with a key of
// its own kept in data_dir/blobs.key; it says nothing about the hub's access rules. Names are
// checked segment by segment, so that no name leads out of its container.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/bulk/blob_room.hpp"
#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t blob_name_bytes_max = 1'024;
constexpr std::size_t blob_list_max = 5'000;

/// A container, or a blob in it if `name` is not empty.
struct BlobPlace {
    std::uint32_t hub_number = 0;
    std::string hub;  ///< lower case
    std::string container;
    std::string name;  ///< segments joined by one '/'
};

/// The part of a signed URL behind '?', decoded.
struct BlobSignature {
    std::string_view resource;   ///< sr: c or b
    std::string_view rights;     ///< sp
    std::string_view expiry;     ///< se
    std::string_view signature;  ///< sig
};

struct BlobFacts {
    std::string name;
    std::uint64_t bytes = 0;
    std::int64_t modified_ms = 0;
    std::string etag;  ///< with its quotes
};

/// A blob opened for reading; what it shows does not change under a later put().
class BlobFile {
  public:
    using Read = std::function<std::optional<std::string>(std::uint64_t offset, std::size_t bytes)>;
    BlobFile(int file, BlobFacts facts) : file_(file), facts_(std::move(facts)) {}
    /// One that lies elsewhere: read() calls `read`.
    BlobFile(Read read, BlobFacts facts) : read_(std::move(read)), facts_(std::move(facts)) {}
    ~BlobFile();
    BlobFile(BlobFile&& other) noexcept;
    BlobFile& operator=(BlobFile&& other) noexcept;
    const BlobFacts& facts() const { return facts_; }
    /// Up to `bytes` from `offset`; fewer only at the end. Nothing: the disk failed.
    std::optional<std::string> read(std::uint64_t offset, std::size_t bytes) const;

  private:
    int file_ = -1;
    Read read_;
    BlobFacts facts_;
};

/// Blobs in name order.
struct BlobPage {
    std::vector<BlobFacts> blobs;
    std::string next;  ///< the marker of the next page; empty = last
};

class Blobs {
  public:
    /// `key` signs URLs. `bytes_max`: Config::blobs_mib_max; none: no bound.
    Blobs(std::filesystem::path root, std::string key, BlobRoom::BytesMax bytes_max = {});

    /// The segments of a name joined and checked: 1 to 1024 bytes, no segment that begins with '.'
    /// or holds control characters.
    static Parsed<std::string> blob_name(std::string_view text);
    /// feedback, errors, jobs or uploads.
    static bool is_container(std::string_view name);

    /// "sr=..&sp=..&se=..&sig=..", percent-encoded, for a URL. `rights` of "rwl".
    std::string sign(const BlobPlace& place, std::string_view rights, std::int64_t expiry_ms) const;
    /// Does `given` allow `right` ('r', 'w' or 'l') at `place` now? Constant time in the signature.
    bool admits(const BlobPlace& place, char right, const BlobSignature& given,
                std::int64_t now_ms) const;

    enum class Put : std::uint8_t { written, exists, conflict, full, failed };
    /// Replaces the blob, complete or not at all, on disk when it returns. `exists` only with
    /// `fresh_only`; `conflict`: a folder has this name, or a blob has the name of a folder in it.
    /// Not counted in room(), and never `full`: for what pushhub writes itself and bounds.
    Put put(const BlobPlace& place, std::string_view bytes, bool fresh_only) const;
    /// Nothing: no such blob.
    std::optional<BlobFile> open(const BlobPlace& place) const;
    bool exists(const BlobPlace& place) const;
    BlobPage list(const BlobPlace& container, std::string_view prefix, std::string_view after,
                  std::size_t count_max) const;
    /// A file for appending: folders made, mode 0600; -1: the disk refused.
    int open_for_append(const BlobPlace& place) const;

    /// Renames the hub's folder out of sight at once and then frees it.
    void erase_hub(std::string_view hub) const;
    /// Removes what an interrupted erase_hub() or upload left, and measures what is there. At
    /// start-up.
    void clean() const;
    std::filesystem::path path(const BlobPlace& place) const;
    const std::filesystem::path& root() const { return root_; }
    /// What clients and jobs of a hub may write.
    const BlobRoom& room() const { return room_; }

  private:
    std::string signature(const BlobPlace& place, std::string_view resource,
                          std::string_view rights, std::string_view expiry) const;

    const std::filesystem::path root_;
    const std::string key_;
    const BlobRoom room_;
};

/// A blob on its way: seen by nobody before commit(), gone without it. One thread at a time.
class BlobUpload {
  public:
    explicit BlobUpload(std::filesystem::path target);
    /// Takes room of the place's hub.
    BlobUpload(const Blobs& blobs, const BlobPlace& place);
    ~BlobUpload();
    BlobUpload(const BlobUpload&) = delete;
    BlobUpload& operator=(const BlobUpload&) = delete;
    /// False: nothing more is wanted, commit() says why.
    bool write(std::string_view bytes);
    /// As Blobs::put().
    Blobs::Put commit(bool fresh_only);

  private:
    void open();

    const std::filesystem::path target_;
    std::optional<BlobRoom::Hold> hold_;
    std::filesystem::path fresh_;
    int file_ = -1;
    Blobs::Put outcome_ = Blobs::Put::failed;
};

}  // namespace hub
