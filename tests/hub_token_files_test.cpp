#include "hub/send/token_files.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <vector>

#include "hub/process/private_file.hpp"
#include "pns/clock.hpp"
#include "tests/support/world.hpp"

namespace {

namespace fs = std::filesystem;

struct Directory {
    Directory() {
        std::string pattern = (fs::temp_directory_path() / "pushhub_tokens_XXXXXX").string();
        path = fs::path(::mkdtemp(pattern.data())) / "tokens";
    }
    ~Directory() { fs::remove_all(path.parent_path()); }
    std::vector<fs::path> files() const {
        std::vector<fs::path> out;
        for (const auto& entry : fs::directory_iterator(path)) out.push_back(entry.path());
        return out;
    }
    fs::path path;
};

/// What a process with this secret loads.
std::optional<std::string> loaded(const Directory& directory, const std::string& key,
                                  const std::string& secret = "a secret of the hub") {
    hub::StorePool pool(1);
    hub::TokenFiles files(directory.path, secret, pool, pns::system_clock().wall_ms());
    auto out = files.load(key);
    pool.join();
    return out;
}

void save(const Directory& directory, const std::string& key, const std::string& text) {
    hub::StorePool pool(1);
    hub::TokenFiles files(directory.path, "a secret of the hub", pool,
                          pns::system_clock().wall_ms());
    files.save(key, text);
    pool.join();
}

}  // namespace

TEST_CASE("provider tokens are kept in private files that name no credential", "[token_files]") {
    const Directory directory;
    const std::string key = "apns:TEAM:KEY:fingerprint";
    CHECK_FALSE(loaded(directory, key));
    save(directory, key, "1800000000 first");
    save(directory, key, "1800003000 second");
    save(directory, "apns:OTHER", "1800003000 other");
    CHECK(loaded(directory, key) == "1800003000 second");
    CHECK(loaded(directory, "apns:OTHER") == "1800003000 other");
    CHECK_FALSE(loaded(directory, "apns:"));
    CHECK_FALSE(loaded(directory, key, "another secret"));
    const auto files = directory.files();
    REQUIRE(files.size() == 2);
    for (const auto& file : files) {
        CHECK(fs::status(file).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
        CHECK(file.filename().string().size() == 64);
        CHECK(file.filename().string().find_first_not_of("0123456789abcdef") == std::string::npos);
    }
    CHECK(fs::status(directory.path).permissions() == fs::perms::owner_all);
}

TEST_CASE("old and oversized token files are not read, the old ones removed", "[token_files]") {
    const Directory directory;
    save(directory, "old", "1 a");
    save(directory, "large", "1 " + std::string(20'000, 'a'));
    const auto files = directory.files();
    REQUIRE(files.size() == 2);
    CHECK_FALSE(loaded(directory, "large"));
    CHECK(loaded(directory, "old") == "1 a");
    for (const auto& file : files) {
        fs::last_write_time(file, fs::last_write_time(file) - std::chrono::hours(25));
    }
    CHECK_FALSE(loaded(directory, "old"));
    CHECK(directory.files().empty());
}

TEST_CASE("a token that cannot be written is told and costs nothing else", "[token_files]") {
    const Directory directory;
    hub::StorePool pool(1);
    hub::TokenFiles files(directory.path, "a secret of the hub", pool,
                          pns::system_clock().wall_ms());
    fs::remove_all(directory.path);
    files.save("apns:TEAM", "1 a");
    pool.join();
    CHECK_FALSE(files.load("apns:TEAM"));
}

TEST_CASE("a hub that starts again goes on with the token that it had", "[token_files]") {
    support::World world({}, {"apns"});
    const auto send = [&] {
        world.install("a", "apns", support::handle_of("apns", 1));
        const auto ended = world.finish(world.send("apple", "all", support::apple_body));
        CHECK(ended.devices("Success") == 1);
    };
    const auto token = [&] {
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator(world.config().data_dir / "tokens"))
            found.push_back(hub::read_small_file(entry.path()));
        REQUIRE(found.size() == 1);
        return found.front();
    };
    send();
    world.stop();
    const auto first = token();
    world.start();
    send();
    world.stop();
    CHECK(token() == first);  // a signature is never made twice
}
