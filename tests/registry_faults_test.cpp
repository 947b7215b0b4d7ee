#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "registry/keys.hpp"
#include "registry/store.hpp"
#include "registry/wal_tail.hpp"
#include "tests/support/faulty_env.hpp"
#include "tests/support/registry_fixture.hpp"

using namespace registry;
using namespace registry_test;

namespace {

std::vector<std::filesystem::path> files_with(const std::filesystem::path& directory,
                                              const std::string& ending) {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory / "store")) {
        if (entry.path().string().ends_with(ending)) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

std::map<std::string, std::string> data_files(const std::filesystem::path& directory) {
    std::map<std::string, std::string> bytes;
    for (const auto& entry : std::filesystem::directory_iterator(directory / "store")) {
        const std::string name = entry.path().filename();
        if (name.starts_with("LOG")) continue;
        std::ifstream in(entry.path(), std::ios::binary);
        bytes[name].assign(std::istreambuf_iterator<char>(in), {});
    }
    return bytes;
}

void flip_byte(const std::filesystem::path& path, std::uintmax_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get() ^ 0x55);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(byte);
}

std::string why_not(const Options& options) {
    std::string why;
    const auto opened = Registry::open(options, why);
    REQUIRE_FALSE(opened.has_value());
    return why;
}

std::map<std::string, std::uintmax_t> sizes_in(const std::filesystem::path& directory) {
    std::map<std::string, std::uintmax_t> sizes;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        std::error_code gone;
        const std::uintmax_t size = entry.file_size(gone);
        if (!gone) sizes[entry.path().filename()] = size;
    }
    return sizes;
}

/// The files as a crash now would leave them. RocksDB may still be moving what it has: a copy
/// during which files came or went is made anew.
void copy_live(const std::filesystem::path& from, const std::filesystem::path& to) {
    const auto live = from / "store", copy = to / "store";
    while (true) {
        std::filesystem::remove_all(copy);
        std::filesystem::create_directories(copy);
        const auto before = sizes_in(live);
        bool whole = true;
        for (const auto& [name, size] : before) {
            std::error_code gone;
            whole = std::filesystem::copy_file(live / name, copy / name, gone) && whole;
        }
        if (whole && sizes_in(live) == before) return;
    }
}

/// A store as a crash leaves it: registrations in tables and in the log.
void fill(const std::filesystem::path& directory) {
    const TempDirectory live;
    std::uint32_t hub = 0;
    for (int round = 0; round < 3; ++round) {
        Opened registry(options_in(live.path()));
        if (round == 0) hub = registry.hub("Orders", 2);
        for (int i = 0; i < 20; ++i) {
            const std::string id = std::to_string(round) + "-" + std::to_string(i) + "-1";
            REQUIRE(registry.put(hub, registration(id, "h" + id, {"red"})).has_value());
        }
        if (round == 2) copy_live(live.path(), directory);
    }
}

}  // namespace

TEST_CASE("a full disk fails the write, shows nothing of it, and passes", "[registry]") {
    for (const Fault fault : {Fault::no_space, Fault::io}) {
        for (const bool only_sync : {false, true}) {
            INFO("fault " << static_cast<int>(fault) << " only_sync " << only_sync);
            const TempDirectory directory;
            FaultyEnv env;
            Options options = options_in(directory.path());
            options.env = &env;
            options.sync = true;
            Opened registry(options);
            const std::uint32_t hub = registry.hub("Orders", 2);
            REQUIRE(registry.put(hub, registration("1-1-1", "h1", {"red"})).has_value());
            env.only_sync = only_sync;
            env.fault = fault;
            const errc code = fault == Fault::no_space ? errc::disk_full : errc::io_error;
            for (int i = 0; i < 3; ++i) {
                const auto put = registry.put(hub, registration("2-2-1", "h1", {"red"}));
                REQUIRE(put.error() == code);
            }
            REQUIRE(registry.select(hub, "red") == std::vector<std::string>{"1-1-1"});
            REQUIRE(registry->registration(hub, "2-2-1").error() == errc::not_found);
            REQUIRE(registry->verify(hub).empty());
            env.fault = Fault::none;
            REQUIRE(registry.put(hub, registration("3-3-1", "h3", {"red"})).has_value());
            const auto ids = registry.select(hub, "red");
            REQUIRE(ids.size() == 2);
            REQUIRE(registry->verify(hub).empty());
        }
    }
}

TEST_CASE("a disk that is full again while the store is opened leaves it readable", "[registry]") {
    const TempDirectory directory;
    FaultyEnv env;
    Options options = options_in(directory.path());
    options.env = &env;
    options.sync = true;
    Opened registry(options);
    const std::uint32_t hub = registry.hub("Orders", 2);
    REQUIRE(registry.put(hub, registration("1-1-1", "h1", {"red"})).has_value());
    env.probes_work = true;
    env.fault = Fault::no_space;
    for (int i = 0; i < 3; ++i) {
        const auto put = registry.put(hub, registration("2-2-1", "h2", {"red"}));
        REQUIRE_FALSE(put.has_value());
        REQUIRE(registry->registration(hub, "1-1-1").has_value());
        REQUIRE(registry->registration(hub, "2-2-1").error() == errc::not_found);
        REQUIRE(registry.select(hub, "red") == std::vector<std::string>{"1-1-1"});
        REQUIRE(registry->verify(hub).empty());
    }
    env.fault = Fault::none;
    REQUIRE(registry.put(hub, registration("3-3-1", "h3", {"red"})).has_value());
    REQUIRE(registry.select(hub, "red").size() == 2);
    REQUIRE(registry->verify(hub).empty());
}

TEST_CASE("no room is reserved for a log ahead", "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 2);
    REQUIRE(registry.put(hub, registration("1-1-1", "h1", {"red"})).has_value());
    for (const auto& log : files_with(directory.path(), ".log")) {
        struct stat info {};
        REQUIRE(::stat(log.c_str(), &info) == 0);
        CHECK(info.st_blocks * 512 < 1 << 20);
    }
}

// RocksDB 7.8 keeps the log of a failed write as it is while its tables in memory are empty.
TEST_CASE("what a failed write left in the log neither ends the process nor comes back",
          "[registry]") {
    for (const bool only_sync : {false, true}) {
        INFO("only_sync " << only_sync);
        const TempDirectory directory;
        FaultyEnv env;
        Options options = options_in(directory.path() / "live");
        options.env = &env;
        options.sync = true;
        std::uint32_t hub = 0;
        {
            Opened registry(options);
            hub = registry.hub("Orders", 2);
            REQUIRE(registry.put(hub, registration("1-1-1", "h1", {"red"})).has_value());
        }
        Opened registry(options);
        env.only_sync = only_sync;
        env.fault = Fault::no_space;
        REQUIRE_FALSE(registry.put(hub, registration("2-2-1", "h2", {"red"})).has_value());
        env.fault = Fault::none;
        REQUIRE(registry.put(hub, registration("3-3-1", "h3", {"red"})).has_value());
        const auto crashed = directory.path() / "crashed";
        copy_live(options.directory, crashed);
        Opened after(options_in(crashed));
        CHECK(after->registration(hub, "1-1-1").has_value());
        CHECK(after->registration(hub, "2-2-1").error() == errc::not_found);
        CHECK(after->registration(hub, "3-3-1").has_value());
        CHECK(after->verify(hub).empty());
    }
}

TEST_CASE("the owner is told when writes fail and when they can succeed again", "[registry]") {
    const TempDirectory directory;
    FaultyEnv env;
    Options options = options_in(directory.path());
    options.env = &env;
    options.sync = true;
    std::vector<boost::system::error_code> told;
    std::promise<void> well;
    options.on_writable = [&](boost::system::error_code failure) {
        told.push_back(failure);
        if (!failure) well.set_value();
    };
    Opened registry(options);
    const std::uint32_t hub = registry.hub("Orders", 2);
    env.fault = Fault::no_space;
    for (int i = 0; i < 2; ++i)
        REQUIRE(registry.put(hub, registration("1-1-1", "h1", {"red"})).error() == errc::disk_full);
    env.fault = Fault::none;
    well.get_future().wait();  // without another write
    REQUIRE(registry.put(hub, registration("1-1-1", "h1", {"red"})).has_value());
    CHECK(told == std::vector<boost::system::error_code>{make_error_code(errc::disk_full), {}});
}

TEST_CASE("a corrupt store refuses to start, says why, and stays as it is", "[registry]") {
    const TempDirectory directory;
    const auto origin = directory.path() / "origin";
    fill(origin);
    const auto damaged = directory.path() / "damaged";
    struct Damage {
        const char* what;
        std::function<void()> apply;
    };
    const auto tables = [&] { return files_with(damaged, ".sst"); };
    const auto manifest = [&] {
        for (const auto& entry : std::filesystem::directory_iterator(damaged / "store")) {
            if (entry.path().filename().string().starts_with("MANIFEST")) return entry.path();
        }
        return std::filesystem::path();
    };
    const Damage damages[] = {
        {"a table is missing", [&] { std::filesystem::remove(tables().front()); }},
        {"a table is cut", [&] { std::filesystem::resize_file(tables().front(), 100); }},
        {"the manifest is flipped", [&] { flip_byte(manifest(), 30); }},
        {"the manifest is missing", [&] { std::filesystem::remove(manifest()); }},
        {"CURRENT is missing", [&] { std::filesystem::remove(damaged / "store" / "CURRENT"); }},
        {"the log is flipped", [&] { flip_byte(files_with(damaged, ".log").back(), 30); }},
        // RocksDB takes a length that leads past the end for a log that was cut there.
        {"a length in the log is flipped",
         [&] { flip_byte(files_with(damaged, ".log").back(), 5); }},
    };
    for (const Damage& damage : damages) {
        INFO(damage.what);
        std::filesystem::remove_all(damaged);
        std::filesystem::copy(origin, damaged, std::filesystem::copy_options::recursive);
        REQUIRE_FALSE(tables().empty());
        damage.apply();
        const auto before = data_files(damaged);
        const std::string why = why_not(options_in(damaged));
        INFO(why);
        CHECK(why.find("cannot be opened") != std::string::npos);
        CHECK(why.find(damaged.string()) != std::string::npos);
        CHECK(data_files(damaged) == before);
    }
    Opened registry(options_in(origin));
    CHECK(registry->figures().registrations == 60);
}

TEST_CASE("a torn write at the end of the log is dropped", "[registry]") {
    const TempDirectory directory;
    fill(directory.path() / "s");
    const auto log = files_with(directory.path() / "s", ".log").back();
    SECTION("zeros") {
        std::filesystem::resize_file(log, std::filesystem::file_size(log) + 5'000);
    }
    SECTION("half a record that was never synced") {
        std::ofstream out(log, std::ios::binary | std::ios::app);
        out << std::string("\x11\x22\x33\x44\x10\x00\x01", 7) << std::string(20, '\x5a');
    }
    SECTION("the last batch without its end") {
        std::filesystem::resize_file(log, std::filesystem::file_size(log) - 1);
    }
    std::string why;
    const auto registry = Registry::open(options_in(directory.path() / "s"), why);
    REQUIRE(registry.has_value());
    CHECK(why.find("the end of the log was torn") != std::string::npos);
    CHECK((*registry)->figures().registrations >= 59);
    CHECK((*registry)->verify(1).empty());
}

TEST_CASE("a log that ends whole is opened without a word", "[registry]") {
    const TempDirectory directory;
    fill(directory.path() / "s");
    std::string why;
    REQUIRE(Registry::open(options_in(directory.path() / "s"), why).has_value());
    CHECK(why.empty());
}

TEST_CASE("the newest log is the one with the largest number", "[registry]") {
    const TempDirectory directory;
    fill(directory.path() / "s");
    const auto log = files_with(directory.path() / "s", ".log").back();
    const auto store = directory.path() / "logs";
    std::filesystem::create_directory(store);
    std::filesystem::copy_file(log, store / "999998.log");
    CHECK(newest_log_end(store) == LogEnd::whole);
    std::filesystem::copy_file(log, store / "1000000.log");
    std::filesystem::resize_file(store / "1000000.log", std::filesystem::file_size(log) - 1);
    CHECK(newest_log_end(store) == LogEnd::torn);
    CHECK(cut_log_after(store, 0));
    CHECK(std::filesystem::file_size(store / "999998.log") == std::filesystem::file_size(log));
    CHECK(std::filesystem::file_size(store / "1000000.log") == 0);
}

TEST_CASE("a store of another version or in use is refused", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    {
        Opened registry(options);
        CHECK(why_not(options).find("another process") != std::string::npos);
    }
    {
        std::string why;
        auto store = Store::open(options, why).value();
        Batch batch = store->batch();
        batch.put(Family::meta, std::string(version_key), "\x07");
        REQUIRE(store->write(batch).has_value());
    }
    CHECK(why_not(options).find("format version 7") != std::string::npos);

    Options blocked = options;
    blocked.directory = directory.path() / "file" / "below";
    std::ofstream(directory.path() / "file") << "no directory";
    CHECK(why_not(blocked).find("cannot be opened") != std::string::npos);
}

TEST_CASE("a row that cannot be read fails its own change only", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    std::uint32_t hub = 0;
    {
        Opened registry(options);
        hub = registry.hub("Orders", 1);
        REQUIRE(registry.put(hub, registration("1-1-1", "h1", {"red"})).has_value());
        REQUIRE(registry.put(hub, registration("2-2-1", "h2", {"red"})).has_value());
    }
    {
        std::string why;
        auto store = Store::open(options, why).value();
        Batch batch = store->batch();
        batch.put(Family::rows, row_key(hub, 0, 0), "garbage");
        REQUIRE(store->write(batch).has_value());
    }
    Opened registry(options);
    std::vector<std::future<Result<Registration>>> answers;
    for (const char* id : {"3-3-1", "1-1-1", "2-2-1", "4-4-1"}) {
        auto promise = std::make_shared<std::promise<Result<Registration>>>();
        answers.push_back(promise->get_future());
        registry->put_registration(
            hub, registration(id, "new", {"blue"}), {},
            [promise](auto result) { promise->set_value(std::move(result)); });
    }
    CHECK(answers[0].get().has_value());
    CHECK(answers[1].get().error() == errc::corrupt);
    CHECK(answers[2].get().has_value());
    CHECK(answers[3].get().has_value());
    CHECK(registry->select(hub, plan_of("blue"), {}).value().count() == 3);
    CHECK(registry->registration(hub, "1-1-1").error() == errc::corrupt);
    CHECK_FALSE(registry->verify(hub).empty());
}
