#include <rocksdb/env.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>

#include "registry/keys.hpp"
#include "registry/store.hpp"
#include "tests/support/registry_fixture.hpp"

using namespace registry;
using namespace registry_test;

namespace {

enum class Fault { none, no_space, io };

/// Lets writes to the files of a store fail as a full or broken disk does.
class FaultyEnv final : public rocksdb::EnvWrapper {
  public:
    FaultyEnv() : EnvWrapper(rocksdb::Env::Default()) {}
    std::atomic<Fault> fault = Fault::none;
    std::atomic<bool> only_sync = false;

    rocksdb::Status NewWritableFile(const std::string& path,
                                    std::unique_ptr<rocksdb::WritableFile>* file,
                                    const rocksdb::EnvOptions& options) override {
        std::unique_ptr<rocksdb::WritableFile> real;
        auto status = EnvWrapper::NewWritableFile(path, &real, options);
        if (status.ok()) *file = std::make_unique<File>(std::move(real), *this);
        return status;
    }

  private:
    class File final : public rocksdb::WritableFileWrapper {
      public:
        File(std::unique_ptr<rocksdb::WritableFile> real, FaultyEnv& env)
            : WritableFileWrapper(real.get()), real_(std::move(real)), env_(env) {}
        rocksdb::Status Append(const rocksdb::Slice& bytes) override {
            if (env_.fault != Fault::none && !env_.only_sync) return env_.failure();
            return WritableFileWrapper::Append(bytes);
        }
        rocksdb::Status Append(const rocksdb::Slice& bytes,
                               const rocksdb::DataVerificationInfo&) override {
            return Append(bytes);
        }
        rocksdb::Status Sync() override {
            return env_.fault != Fault::none ? env_.failure() : WritableFileWrapper::Sync();
        }
        rocksdb::Status Fsync() override { return Sync(); }

      private:
        std::unique_ptr<rocksdb::WritableFile> real_;
        FaultyEnv& env_;
    };
    rocksdb::Status failure() const {
        return fault == Fault::no_space ? rocksdb::Status::NoSpace("the test says so")
                                        : rocksdb::Status::IOError("the test says so");
    }
};

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
        if (round == 2) {
            std::filesystem::copy(live.path(), directory, std::filesystem::copy_options::recursive);
        }
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
            REQUIRE(ids.size() == (registry->registration(hub, "2-2-1") ? 3 : 2));
            // What failed to be written is not there; what failed to be synced may be.
            if (!only_sync) REQUIRE(ids.size() == 2);
            REQUIRE(registry->verify(hub).empty());
        }
    }
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
    Opened registry(options_in(directory.path() / "s"));
    CHECK(registry->figures().registrations == 60);
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
        batch.put(Family::meta, version_key, "\x07");
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
