// Tested by tests/hub_token_files_test.cpp.

#include "hub/send/token_files.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <boost/asio/post.hpp>
#include <chrono>
#include <exception>

#include "hub/process/log.hpp"
#include "hub/process/private_file.hpp"

namespace hub {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t files_max = 4'096;  // read at the start
constexpr std::uintmax_t file_bytes_max = 16 * 1024;
constexpr std::chrono::hours kept_max{24};

}  // namespace

TokenFiles::TokenFiles(fs::path directory, std::string secret, StorePool& pool, std::int64_t now_ms)
    : directory_(std::move(directory)), secret_(std::move(secret)), pool_(pool) {
    if (fs::create_directories(directory_)) {
        fs::permissions(directory_, fs::perms::owner_all);
    }
    std::error_code failed;
    const auto oldest =
        fs::file_time_type::clock::from_sys(std::chrono::sys_time<std::chrono::milliseconds>(
            std::chrono::milliseconds(now_ms) - kept_max));
    for (fs::directory_iterator at(directory_, failed), end; !failed && at != end;
         at.increment(failed)) {
        std::error_code unread;
        if (at->last_write_time(unread) < oldest && !unread) {
            fs::remove(at->path(), unread);
        } else if (!unread && found_.size() < files_max &&
                   at->file_size(unread) <= file_bytes_max && !unread) {
            try {
                found_[at->path().filename().string()] = read_small_file(at->path());
            } catch (const std::exception&) {
                // A token that cannot be read is signed anew.
            }
        }
    }
}

std::string TokenFiles::name_of(const std::string& token_key) const {
    std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
    unsigned size = 0;
    HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
         reinterpret_cast<const unsigned char*>(token_key.data()), token_key.size(), mac.data(),
         &size);
    constexpr std::string_view hex = "0123456789abcdef";
    std::string out;
    for (unsigned i = 0; i < size; ++i) {
        out += hex[mac[i] >> 4];
        out += hex[mac[i] & 15];
    }
    return out;
}

std::optional<std::string> TokenFiles::load(const std::string& token_key) {
    const auto found = found_.find(name_of(token_key));
    return found == found_.end() ? std::nullopt : std::optional(found->second);
}

void TokenFiles::save(const std::string& token_key, std::string text) {
    boost::asio::post(pool_.io(), [path = directory_ / name_of(token_key), text = std::move(text)] {
        try {
            write_private_file(path, text + "\n");
        } catch (const std::exception& error) {
            log_warn("a provider token is not kept for the next start", {{"error", error.what()}});
        }
    });
}

}  // namespace hub
