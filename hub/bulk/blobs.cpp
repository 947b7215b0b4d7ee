// Tested by tests/hub_blobs_test.cpp.
//
// A blob is written beside its name and moved there when it is complete and synced, so a reader
// sees the old or the new one and never half of one. Links are never followed. Deleting a hub
// renames its folder and removes it afterwards; clean() removes what a crash left of either.
// Objects are immutable after the start: any number of threads may call at once.

#include "hub/bulk/blobs.hpp"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "hub/access/sas.hpp"
#include "hub/process/log.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "registry/durable.hpp"

namespace hub {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t name_segments_max = 16;
constexpr std::size_t segment_bytes_max = 240;  // file systems stop at 255
constexpr std::string_view erased_prefix = ".erased-";

bool is_segment(std::string_view segment) {
    if (segment.size() > segment_bytes_max || segment.front() == '.') return false;
    return std::none_of(segment.begin(), segment.end(), [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\';
    });
}

BlobFacts facts_of(std::string name, const struct stat& info) {
    BlobFacts facts;
    facts.name = std::move(name);
    facts.bytes = static_cast<std::uint64_t>(info.st_size);
    facts.modified_ms = info.st_mtim.tv_sec * 1'000 + info.st_mtim.tv_nsec / 1'000'000;
    std::array<char, 64> etag{};
    std::snprintf(etag.data(), etag.size(), "\"0x%llX%09lX%llX\"",
                  static_cast<unsigned long long>(info.st_mtim.tv_sec),
                  static_cast<unsigned long>(info.st_mtim.tv_nsec),
                  static_cast<unsigned long long>(info.st_size));
    facts.etag = etag.data();
    return facts;
}

/// Makes the folders of a blob. False: something else has the name of one of them.
bool make_folders(const fs::path& folder) {
    std::error_code failure;
    if (fs::create_directories(folder, failure)) registry::sync_folder(folder.parent_path());
    return !failure && fs::is_directory(folder, failure);
}

}  // namespace

BlobFile::~BlobFile() {
    if (file_ >= 0) ::close(file_);
}

BlobFile::BlobFile(BlobFile&& other) noexcept
    : file_(std::exchange(other.file_, -1)),
      read_(std::move(other.read_)),
      facts_(std::move(other.facts_)) {}

BlobFile& BlobFile::operator=(BlobFile&& other) noexcept {
    std::swap(file_, other.file_);
    std::swap(read_, other.read_);
    std::swap(facts_, other.facts_);
    return *this;
}

std::optional<std::string> BlobFile::read(std::uint64_t offset, std::size_t bytes) const {
    if (read_) return read_(offset, bytes);
    std::string out(bytes, '\0');
    std::size_t taken = 0;
    while (taken < bytes) {
        const auto size =
            ::pread(file_, out.data() + taken, bytes - taken, static_cast<off_t>(offset + taken));
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return std::nullopt;
        if (size == 0) break;
        taken += static_cast<std::size_t>(size);
    }
    out.resize(taken);
    return out;
}

Blobs::Blobs(fs::path root, std::string key, BlobRoom::BytesMax bytes_max)
    : root_(std::move(root)),
      key_(std::move(key)),
      room_(root_,
            bytes_max ? std::move(bytes_max) : BlobRoom::BytesMax([] { return UINT64_MAX; })) {}

bool Blobs::is_container(std::string_view name) {
    constexpr std::array known{"feedback", "errors", "jobs", "uploads"};
    return std::find(known.begin(), known.end(), name) != known.end();
}

Parsed<std::string> Blobs::blob_name(std::string_view text) {
    std::string name;
    std::size_t segments = 0;
    while (!text.empty()) {
        const auto end = std::min(text.find('/'), text.size());
        const auto segment = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (segment.empty()) continue;
        if (!is_segment(segment) || ++segments > name_segments_max) {
            return bad_request(
                "A blob's name has at most 16 parts of 240 bytes between slashes; none begins with "
                "a dot or holds a backslash or control characters.");
        }
        if (!name.empty()) name += '/';
        name += segment;
    }
    if (name.empty() || name.size() > blob_name_bytes_max) {
        return bad_request("A blob's name has 1 to " + std::to_string(blob_name_bytes_max) +
                           " bytes.");
    }
    return name;
}

fs::path Blobs::path(const BlobPlace& place) const {
    auto path = root_ / place.hub / place.container;
    if (!place.name.empty()) path /= place.name;
    return path;
}

std::string Blobs::signature(const BlobPlace& place, std::string_view resource,
                             std::string_view rights, std::string_view expiry) const {
    std::string text = "blob\n" + std::to_string(place.hub_number) + '\n' + place.hub + '\n' +
                       place.container + '\n';
    if (resource == "b") text += place.name;
    text.append("\n").append(resource).append("\n").append(rights);
    return sas_signature(key_, text, expiry);
}

std::string Blobs::sign(const BlobPlace& place, std::string_view rights,
                        std::int64_t expiry_ms) const {
    const std::string_view resource = place.name.empty() ? "c" : "b";
    const std::string expiry = iso_seconds(expiry_ms);
    std::string out = "sr=";
    out.append(resource).append("&sp=").append(rights).append("&se=");
    append_percent_encoded(out, expiry);
    out += "&sig=";
    append_percent_encoded(out, signature(place, resource, rights, expiry));
    return out;
}

bool Blobs::admits(const BlobPlace& place, char right, const BlobSignature& given,
                   std::int64_t now_ms) const {
    constexpr std::size_t field_bytes_max = 64;
    if (given.resource != "c" && given.resource != "b") return false;
    if (given.rights.size() > 8 || given.expiry.size() > field_bytes_max) return false;
    const auto expected = signature(place, given.resource, given.rights, given.expiry);
    if (given.signature.size() != expected.size() ||
        CRYPTO_memcmp(given.signature.data(), expected.data(), expected.size()) != 0) {
        return false;
    }
    const auto expiry_ms = parse_time_ms(given.expiry);
    return expiry_ms && *expiry_ms > now_ms && given.rights.find(right) != std::string_view::npos;
}

BlobUpload::BlobUpload(fs::path target) : target_(std::move(target)) {
    open();
}

BlobUpload::BlobUpload(const Blobs& blobs, const BlobPlace& place) : target_(blobs.path(place)) {
    hold_.emplace(blobs.room().of(place.hub));
    const bool replaces = blobs.exists(place);
    if (replaces) hold_->take_anyway(BlobRoom::file_bytes);
    if (replaces || hold_->take(BlobRoom::file_bytes)) {
        open();
    } else {
        outcome_ = Blobs::Put::full;
    }
}

void BlobUpload::open() {
    static std::atomic<std::uint64_t> count = 0;
    std::error_code failure;
    if (!make_folders(target_.parent_path()) || fs::is_directory(target_, failure)) {
        outcome_ = Blobs::Put::conflict;
        return;
    }
    fresh_ = target_.parent_path() / (".new-" + std::to_string(count.fetch_add(1)));
    file_ = ::open(fresh_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file_ >= 0) outcome_ = Blobs::Put::written;
}

BlobUpload::~BlobUpload() {
    if (file_ < 0) return;
    ::close(file_);
    ::unlink(fresh_.c_str());
}

bool BlobUpload::write(std::string_view bytes) {
    if (outcome_ == Blobs::Put::written && hold_ && !hold_->take(bytes.size()))
        outcome_ = Blobs::Put::full;
    if (outcome_ == Blobs::Put::written && !registry::write_fully(file_, bytes))
        outcome_ = Blobs::Put::failed;
    return outcome_ == Blobs::Put::written;
}

Blobs::Put BlobUpload::commit(bool fresh_only) {
    if (outcome_ != Blobs::Put::written) return outcome_;
    outcome_ = Blobs::Put::failed;
    const bool written = ::fsync(file_) == 0;
    const bool closed = ::close(std::exchange(file_, -1)) == 0;
    if (written && closed) {
        // link() refuses a name that is taken, rename() replaces it.
        int why = 0;
        const auto move = [&] {
            const int moved = fresh_only ? ::link(fresh_.c_str(), target_.c_str())
                                         : ::rename(fresh_.c_str(), target_.c_str());
            why = moved == 0 ? 0 : errno;
            return moved == 0;
        };
        const bool moved = hold_ ? hold_->keep(target_, move) : move();
        if (moved) outcome_ = Blobs::Put::written;
        if (fresh_only && why == EEXIST) outcome_ = Blobs::Put::exists;
    }
    if (fresh_only || outcome_ != Blobs::Put::written) ::unlink(fresh_.c_str());
    if (outcome_ == Blobs::Put::written) registry::sync_folder(target_.parent_path());
    return outcome_;
}

Blobs::Put Blobs::put(const BlobPlace& place, std::string_view bytes, bool fresh_only) const {
    BlobUpload upload(path(place));
    upload.write(bytes);
    return upload.commit(fresh_only);
}

std::optional<BlobFile> Blobs::open(const BlobPlace& place) const {
    const int file = ::open(path(place).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return std::nullopt;
    struct stat info {};
    if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
        ::close(file);
        return std::nullopt;
    }
    return BlobFile(file, facts_of(place.name, info));
}

bool Blobs::exists(const BlobPlace& place) const {
    struct stat info {};
    return ::lstat(path(place).c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

BlobPage Blobs::list(const BlobPlace& container, std::string_view prefix, std::string_view after,
                     std::size_t count_max) const {
    const auto folder = path(container);
    const auto by_name = [](const BlobFacts& a, const BlobFacts& b) { return a.name < b.name; };
    BlobPage page;  // a heap, the greatest name first, until the walk is over
    auto& kept = page.blobs;
    std::error_code failure;
    fs::recursive_directory_iterator it(folder, fs::directory_options::none, failure);
    const fs::recursive_directory_iterator end;
    while (!failure && it != end) {
        const bool hidden = it->path().filename().native().starts_with('.');
        std::error_code vanished;
        if (hidden && it->is_directory(vanished)) it.disable_recursion_pending();
        std::string name = it->path().native().substr(folder.native().size() + 1);
        struct stat info {};
        if (!hidden && name > after && name.starts_with(prefix) &&
            ::lstat(it->path().c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
            (kept.size() <= count_max || name < kept.front().name)) {
            kept.push_back(facts_of(std::move(name), info));
            std::push_heap(kept.begin(), kept.end(), by_name);
            if (kept.size() > count_max + 1) {
                std::pop_heap(kept.begin(), kept.end(), by_name);
                kept.pop_back();
            }
        }
        it.increment(failure);
    }
    std::sort_heap(kept.begin(), kept.end(), by_name);
    if (kept.size() > count_max) {
        kept.pop_back();
        page.next = kept.empty() ? std::string() : kept.back().name;
    }
    return page;
}

int Blobs::open_for_append(const BlobPlace& place) const {
    const auto target = path(place);
    if (!make_folders(target.parent_path())) return -1;
    const bool known = exists(place);
    const int file = ::open(
        target.c_str(), O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (file >= 0 && !known) registry::sync_folder(target.parent_path());
    return file;
}

void Blobs::erase_hub(std::string_view hub) const {
    static std::atomic<std::uint64_t> count = 0;
    const auto folder = root_ / std::string(hub);
    room_.forget(std::string(hub));
    const auto grave = root_ / (std::string(erased_prefix) + std::to_string(::getpid()) + '-' +
                                std::to_string(count.fetch_add(1)));
    std::error_code failure;
    fs::rename(folder, grave, failure);
    if (failure) return;  // it had no blobs
    fs::remove_all(grave, failure);
    if (failure) log_warn("cannot free the blobs of a hub", {{"what", failure.message()}});
}

void Blobs::clean() const {
    std::error_code failure;
    std::vector<fs::path> left;
    fs::recursive_directory_iterator it(root_, failure);
    const fs::recursive_directory_iterator end;
    while (!failure && it != end) {
        const auto name = it->path().filename().native();
        if (name.starts_with(erased_prefix) || name.starts_with(".new-")) {
            left.push_back(it->path());
            it.disable_recursion_pending();
        }
        it.increment(failure);
    }
    for (const auto& path : left) fs::remove_all(path, failure);
    room_.measure();
}

}  // namespace hub
