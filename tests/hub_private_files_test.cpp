// Whatever the hub makes is for its owner only, also in a directory that was open before.

#include <sys/prctl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

#include "hub/process/private_file.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/hub_world.hpp"
#include "tests/support/world.hpp"

namespace {

namespace fs = std::filesystem;

/// What others than the owner may reach, as it lies below `root`.
std::vector<std::string> open_to_others(const fs::path& root) {
    std::vector<std::string> out;
    const auto look = [&out, &root](const fs::path& path) {
        struct stat info {};
        if (::lstat(path.c_str(), &info) == 0 && !S_ISLNK(info.st_mode) &&
            (info.st_mode & 077) != 0)
            out.push_back(fs::relative(path, root).string());
    };
    look(root);
    for (const auto& entry : fs::recursive_directory_iterator(root)) look(entry.path());
    return out;
}

void open_all(const fs::path& root) {
    fs::permissions(root, fs::perms(0755));
    for (const auto& entry : fs::recursive_directory_iterator(root))
        fs::permissions(entry.path(), fs::perms(entry.is_directory() ? 0755 : 0644));
}

/// Each file by its kind: `store/.sst`, `blobs/app/errors`, `jobs`, `root.key`.
std::set<std::string> kinds_of_files(const fs::path& root) {
    std::set<std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
        if (!entry.is_regular_file()) continue;
        const std::string path = fs::relative(entry.path(), root).string();
        const std::string top = path.substr(0, path.find('/'));
        if (top == "store" || top == "trace")
            out.insert(top + "/" + entry.path().extension().string());
        else if (top == "blobs")
            out.insert(path.substr(0, path.find('/', path.find('/', 6) + 1)));
        else
            out.insert(top == "tls" ? path : top);
    }
    return out;
}

struct Umask {
    explicit Umask(mode_t mask) : before(::umask(mask)) {}
    ~Umask() { ::umask(before); }
    mode_t before;
};

}  // namespace

TEST_CASE("the memory of the process is dumped only if it is asked for", "[hub]") {
    hub::close_to_others();
    CHECK(::prctl(PR_GET_DUMPABLE) == 0);
    hub::allow_core_dumps();
    CHECK(::prctl(PR_GET_DUMPABLE) == 1);
}

TEST_CASE("each file that the hub makes is for its owner only", "[hub]") {
    const Umask lax(022);
    hub::close_to_others();  // as the program does first
    hub::allow_core_dumps();
    hub::Config settings;
    settings.trace = "all";
    support::World world(settings, {"apns"});
    const fs::path data = world.config().data_dir;
    pns::sim::Rules rules;
    pns::sim::Behaviour gone;
    gone.act = pns::sim::Act::gone;
    rules.handles[support::handle_of("apns", 2)] = gone;
    world.sim("apns").set_rules(rules);
    world.install("phone", "apns", support::handle_of("apns", 1));
    world.install("old", "apns", support::handle_of("apns", 2));
    world.finish(world.send("apple", "all", support::apple_body));
    // A job that reads an upload and refuses its line.
    fs::create_directories(data / "blobs" / "app" / "uploads");
    std::ofstream(data / "blobs" / "app" / "uploads" / "in.txt") << "no XML\n";
    const std::string area = world.service().url() + "/$blobs/app/";
    const auto job = world.call(
        "POST", "/app/jobs",
        "<NotificationHubJob><Type>ImportCreateRegistrations</Type><OutputContainerUri>" + area +
            "jobs</OutputContainerUri><ImportFileUri>" + area +
            "uploads/in.txt</ImportFileUri></NotificationHubJob>");
    INFO(job.body);
    CHECK(job.status == 201);
    const std::set<std::string> wanted{
        "root.key",       "trace.key",        "blobs.key", "tokens.key",         "tls/ca.pem",
        "tls/ca.key",     "tls/server.pem",   "tokens",    "tls/server.key",     "store/.log",
        "store/",         "trace/.log",       "trace/",    "blobs/app/feedback", "jobs",
        "blobs/app/jobs", "blobs/app/uploads"};
    std::set<std::string> missing;
    CHECK(support::comes_true(
        [&] {
            missing = wanted;
            for (const std::string& kind : kinds_of_files(data)) missing.erase(kind);
            return missing.empty();
        },
        20));
    CHECK(missing == std::set<std::string>{});
    CHECK(open_to_others(data) == std::vector<std::string>{});

    // A hub of before, or a copy of it, that everybody may read.
    world.stop();
    open_all(data);
    world.start();
    CHECK(open_to_others(data) == std::vector<std::string>{});
}

TEST_CASE("a directory of another user is refused", "[hub]") {
    if (::geteuid() != 0) return;  // only root may make one
    const support::Folder folder;
    const auto data = folder.path / "data", other = folder.path / "other";
    fs::create_directories(data);
    fs::create_directories(other);
    fs::permissions(other, fs::perms(0700));
    REQUIRE(::chown(other.c_str(), 65'534, 65'534) == 0);
    CHECK_THROWS_WITH(hub::make_private(other), Catch::Contains("belongs to the user 65534"));
    CHECK_THAT(hub::why_not_private(other), Catch::Contains("belongs to the user 65534"));
    fs::create_directory_symlink(other, data / "store");
    CHECK_THROWS_WITH(hub::make_private(data), Catch::Contains("store leads to belongs to"));
    CHECK_THAT(hub::why_not_private(data), Catch::Contains("store leads to belongs to"));
}

TEST_CASE("what a data directory will be refused for is told before, and nothing is changed",
          "[hub]") {
    const support::Folder folder;
    const auto data = folder.path / "data";
    CHECK(hub::why_not_private(data / "deeper").empty());
    CHECK_FALSE(fs::exists(data));
    CHECK(fs::is_empty(folder.path));
    fs::create_directories(data);
    fs::permissions(data, fs::perms(0755));
    CHECK(hub::why_not_private(data).empty());  // the start takes that from others
    CHECK(fs::status(data).permissions() == fs::perms(0755));
    CHECK_THAT(hub::why_not_private("/tmp"), Catch::Contains("shared by all"));
    CHECK_THAT(hub::why_not_private("/"), Catch::Contains("root directory"));
    CHECK_THAT(hub::why_not_private("/proc/pushhub/data"), Catch::Contains("/proc"));
    std::ofstream(folder.path / "file") << "x";
    CHECK_THAT(hub::why_not_private(folder.path / "file"), Catch::Contains("is no directory"));
    CHECK_THAT(hub::why_not_private(folder.path / "file" / "x"), Catch::Contains("no directory"));
}

TEST_CASE("a directory that stays open to others is refused", "[hub]") {
    const support::Folder folder;
    const auto data = folder.path / "data", other = folder.path / "other";
    fs::create_directories(other);
    fs::create_directories(data);
    fs::permissions(other, fs::perms(0755));
    fs::create_directory_symlink(other, data / "store");
    CHECK_THROWS_WITH(hub::make_private(data), Catch::Contains("store leads to"));
    CHECK(open_to_others(other).size() == 1);  // nothing is done through the link
    fs::permissions(other, fs::perms(0700));
    // What the file system has there is none of ours.
    fs::create_directories(data / ".snapshot" / "old");
    fs::permissions(data / ".snapshot", fs::perms(0555));
    CHECK_NOTHROW(hub::make_private(data));
    CHECK(fs::status(data / ".snapshot").permissions() == fs::perms(0555));
    fs::permissions(data / ".snapshot", fs::perms(0755));
    // Others work there.
    fs::permissions(other, fs::perms(01777));
    CHECK_THROWS_WITH(hub::make_private(other), Catch::Contains("shared by all"));
    CHECK_THROWS_WITH(hub::make_private("/"), Catch::Contains("root directory"));
    // Of a file system that cannot be told to keep others out.
    CHECK_THROWS(hub::make_private("/proc/self/fdinfo"));
}
