#pragma once

// Reads and writes blobs of an Azure-Blob-compatible service over https (docs/contracts/anh.md 9):
// GET with Range, PUT of a block blob, in blocks when it is large. Blocking, with deadlines; one
// thread. Redirects are not followed. URLs hold signatures: no refusal repeats one.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hub/bulk/blob_url.hpp"
#include "hub/text/wire_error.hpp"
#include "pns/clock.hpp"

namespace hub {

class BlobClient {
  public:
    static constexpr std::size_t piece_bytes = 256 * 1024;
    static constexpr std::uint64_t block_bytes = 4u << 20;

    struct Settings {
        std::string ca_file;
        std::vector<std::string> connect_to;
        /// HOST or HOST:PORT: these, and what connect_to leads to, may have any address; others
        /// public ones only (pns/endpoint_guard.hpp). *.DOMAIN names no host: its names are not
        /// all the operator's.
        std::vector<std::string> hosts;
        std::int64_t timeout_ms = 30'000;  ///< for each step: name, connect, handshake, answer
        std::string name_servers;          ///< as pns::NameLookup takes them
    };
    /// Gives up soon after `stop` became true. `clock` outlives the client.
    BlobClient(const pns::Clock& clock, const Settings& settings, const std::atomic<bool>& stop);
    ~BlobClient();

    struct Piece {
        std::string bytes;  ///< empty: the blob ends at the offset
        std::uint64_t total = 0;
        std::string etag;
    };
    /// Up to piece_bytes from `offset`. `etag` not empty: only of that version.
    Parsed<Piece> get(const BlobUrl& url, std::uint64_t offset, const std::string& etag);
    Parsed<bool> put(const BlobUrl& url, const std::filesystem::path& file);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hub
