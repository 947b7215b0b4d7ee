// Bulk jobs of a whole hub: import, export, refused lines, a stop in the middle, another service's
// blobs, and a large file in little memory.

#include "hub/bulk/jobs.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "hub/api/parts.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/hub_world.hpp"

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::string handle_of(std::uint64_t i) {
    char text[65];
    std::snprintf(text, sizeof text, "%064llX", static_cast<unsigned long long>(i));
    return text;
}

std::string line_of(std::uint64_t i, const std::string& id, const std::string& tags = "a") {
    std::string line =
        "<RegistrationDescription i:type=\"AppleRegistrationDescription\" "
        "xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
        "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">";
    if (!id.empty()) line += "<RegistrationId>" + id + "</RegistrationId>";
    return line + "<Tags>" + tags + "</Tags><DeviceToken>" + handle_of(i) +
           "</DeviceToken></RegistrationDescription>\n";
}

std::string id_of(std::uint64_t i) {
    return std::to_string(1'000'000 + i) + "-" + std::to_string(i) + "-" +
           std::to_string(i % 8 + 1);
}

std::string element(const std::string& xml, const std::string& name) {
    const auto start = xml.find("<" + name + ">");
    if (start == std::string::npos) return {};
    const auto from = start + name.size() + 2;
    return xml.substr(from, xml.find('<', from) - from);
}

/// A hub named orders and its jobs.
class World : public support::HubWorld {
  public:
    explicit World(hub::Config config = {}) : support::HubWorld(std::move(config)) {
        put_hub("orders");
    }

    fs::path area() { return config().data_dir / "blobs" / "orders"; }
    /// As an operator would: a file in the blob area.
    std::string upload(const std::string& name, const std::string& text) {
        fs::create_directories(area() / "uploads");
        std::ofstream(area() / "uploads" / name, std::ios::binary) << text;
        return "https://localhost/$blobs/orders/uploads/" + name;
    }
    support::Answer submit(const std::string& type, const std::string& import,
                           const std::string& output = "https://localhost/$blobs/orders/jobs") {
        std::string body = "<NotificationHubJob><Type>" + type +
                           "</Type><OutputContainerUri><![CDATA[" + output +
                           "]]></OutputContainerUri>";
        if (!import.empty()) body += "<ImportFileUri><![CDATA[" + import + "]]></ImportFileUri>";
        return client().request("POST", "/orders/jobs?api-version=2020-06", root_headers(),
                                body + "</NotificationHubJob>");
    }
    std::string started(const std::string& type, const std::string& import,
                        const std::string& output = "https://localhost/$blobs/orders/jobs") {
        const auto answer = submit(type, import, output);
        INFO(answer.body);
        REQUIRE(answer.status == 201);
        return element(answer.body, "JobId");
    }
    std::string entry(const std::string& id) {
        const auto answer = client().request("GET", "/orders/jobs/" + id, root_headers());
        REQUIRE(answer.status == 200);
        return answer.body;
    }
    std::optional<hub::JobRecord> record(const std::string& id) {
        return service().parts().jobs.find(number(), id);
    }
    /// Polls, as the SDKs do, until the job has ended.
    std::string ended(const std::string& id) {
        REQUIRE(support::comes_true([&] {
            const auto job = record(id);
            REQUIRE(job);
            return hub::is_final(job->status);
        }));
        return entry(id);
    }
    std::vector<std::string> rows(const std::string& id, const std::string& file) {
        std::ifstream in(area() / "jobs" / "pushhub" / "orders" / id / file);
        REQUIRE(in);
        std::vector<std::string> lines;
        for (std::string line; std::getline(in, line);) lines.push_back(line);
        return lines;
    }
    std::uint32_t number() { return service().parts().hubs.find("orders")->row.number; }
    std::size_t registrations() {
        std::size_t count = 0;
        std::string after;
        do {
            const auto page = service().parts().registry.list(number(), "", after, 1'000);
            REQUIRE(page.has_value());
            count += page->registrations.size();
            after = page->next;
        } while (!after.empty());
        return count;
    }
    registry::Result<registry::Registration> stored(const std::string& id) {
        return service().parts().registry.registration(number(), id);
    }
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;  // memory and time are others then
#else
constexpr bool sanitized = false;
#endif

std::size_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    std::size_t total = 0, resident = 0;
    file >> total >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("the four imports and the export do what their names say", "[hub]") {
    World world;
    std::string file;
    constexpr std::uint64_t count = 1'500;
    for (std::uint64_t i = 0; i < count; ++i) file += line_of(i, i % 2 == 0 ? "" : id_of(i));
    auto answer = world.submit("ImportCreateRegistrations", world.upload("create.txt", file));
    INFO(answer.body);
    CHECK(answer.status == 201);
    const auto id = element(answer.body, "JobId");
    CHECK(id.size() == 55);
    CHECK(answer.header("location") ==
          "https://localhost:" + std::to_string(world.service().port()) + "/orders/jobs/" + id +
              "?api-version=2020-06");
    CHECK(element(answer.body, "OutputContainerUri") == "https://localhost/$blobs/orders/jobs");
    const auto created = world.ended(id);
    CHECK(element(created, "Status") == "Completed");
    CHECK(element(created, "Progress") == "100");
    CHECK(created.find("<d3p1:Value>pushhub//orders/" + id + "/Output.txt</d3p1:Value>") !=
          std::string::npos);
    CHECK(world.registrations() == count);
    CHECK(world.rows(id, "Failed.txt").empty());
    const auto rows = world.rows(id, "Output.txt");
    REQUIRE(rows.size() == count);
    for (std::size_t i = 0; i < count; ++i) {
        if (!rows[i].starts_with(
                std::to_string(i + 1) +
                ",<RegistrationDescription i:type=\"AppleRegistrationDescription\" "))
            FAIL(rows[i]);
    }
    CHECK(world.stored(id_of(1))->tags == std::vector<std::string>{"a"});

    const auto update =
        world.started("ImportUpdateRegistrations",
                      world.upload("update.txt", line_of(1, id_of(1), "b") + line_of(99, "9-9-1") +
                                                     "\n" + line_of(3, id_of(3), "c")));
    world.ended(update);
    CHECK(world.stored(id_of(1))->tags == std::vector<std::string>{"b"});
    CHECK(world.stored(id_of(3))->tags == std::vector<std::string>{"c"});
    CHECK(world.rows(update, "Output.txt").size() == 2);
    CHECK(world.rows(update, "Failed.txt") ==
          std::vector<std::string>{"2,There is no registration with this id."});

    const auto upsert =
        world.started("ImportUpsertRegistrations",
                      world.upload("upsert.txt", line_of(1, id_of(1), "d") + line_of(9, "9-9-1")));
    world.ended(upsert);
    CHECK(world.stored(id_of(1))->tags == std::vector<std::string>{"d"});
    CHECK(world.stored("9-9-1").has_value());

    const auto erase =
        world.started("ImportDeleteRegistrations",
                      world.upload("delete.txt", line_of(1, id_of(1)) + line_of(1, "8-8-1") +
                                                     line_of(9, "9-9-1")));
    world.ended(erase);
    CHECK_FALSE(world.stored(id_of(1)).has_value());
    CHECK(world.rows(erase, "Output.txt") == std::vector<std::string>{"1," + id_of(1), "3,9-9-1"});
    CHECK(world.rows(erase, "Failed.txt").size() == 1);
    CHECK(world.registrations() == count - 1);

    const auto all = world.started("ExportRegistrations", "");
    const auto exported = world.ended(all);
    CHECK(exported.find("Output.txt") != std::string::npos);
    CHECK(exported.find("Failed.txt") == std::string::npos);
    const auto lines = world.rows(all, "Output.txt");
    CHECK(lines.size() == count - 1);
    CHECK(std::set(lines.begin(), lines.end()).size() == lines.size());

    // What was exported can be imported again.
    const auto again = world.started(
        "ImportUpsertRegistrations",
        "https://localhost/$blobs/orders/jobs/pushhub//orders/" + all + "/Output.txt");
    world.ended(again);
    CHECK(world.rows(again, "Output.txt").size() == count - 1);
    CHECK(world.rows(again, "Failed.txt").empty());
    CHECK(world.registrations() == count - 1);
    CHECK(world.service().parts().registry.verify(world.number()).empty());

    const auto feed = world.client().request("GET", "/orders/jobs", world.root_headers());
    CHECK(feed.status == 200);
    CHECK(feed.body.find(again) < feed.body.find(id));
    std::size_t entries = 0;
    for (auto at = feed.body.find("<entry"); at != std::string::npos;
         at = feed.body.find("<entry", at + 1))
        ++entries;
    CHECK(entries == 6);
}

TEST_CASE("malformed lines end in Failed.txt with their number and reason", "[hub]") {
    World world;
    std::string file = "\xEF\xBB\xBF";
    file += line_of(1, "1-1-1");                   // 1
    file += "hello\r\n";                           // 2
    file += "\n";                                  // 3: blank
    file += std::string(200'000, 'x') + "\n";      // 4
    file += line_of(2, "bad id");                  // 5
    file += line_of(3, "1-1-1", "other");          // 6: taken in this very file
    file += "<!DOCTYPE a>" + line_of(4, "4-1-1");  // 7
    file += line_of(5, "5-1-1", "$system");        // 8
    file += "<RegistrationDescription>\xFF</RegistrationDescription>\n";  // 9
    file += line_of(6, "6-1-1");
    file.pop_back();  // 10: no line end
    const auto id = world.started("ImportCreateRegistrations", world.upload("bad.txt", file));
    CHECK(element(world.ended(id), "Status") == "Completed");
    const auto good = world.rows(id, "Output.txt");
    REQUIRE(good.size() == 2);
    CHECK(good[0].starts_with("1,<"));
    CHECK(good[1].starts_with("10,<"));
    const auto bad = world.rows(id, "Failed.txt");
    const std::vector<std::string> starts{"2,The body is not XML",
                                          "4,The line is longer than",
                                          "5,A registration id has",
                                          "6,A registration with this id exists.",
                                          "7,The XML body must not contain a DOCTYPE",
                                          "8,",
                                          "9,"};
    REQUIRE(bad.size() == starts.size());
    for (std::size_t i = 0; i < bad.size(); ++i) {
        INFO(bad[i]);
        CHECK(bad[i].starts_with(starts[i]));
        CHECK(bad[i].size() > 10);
    }
    CHECK(world.registrations() == 2);
    // The same lines again: what is there as asked for is no failure.
    const auto again =
        world.started("ImportCreateRegistrations",
                      world.upload("again.txt", line_of(1, "1-1-1") + line_of(9, "6-1-1")));
    world.ended(again);
    CHECK(world.rows(again, "Output.txt").size() == 1);
    CHECK(world.rows(again, "Failed.txt") ==
          std::vector<std::string>{"2,A registration with this id exists."});
}

TEST_CASE("jobs that cannot be are refused at once", "[hub]") {
    World world;
    world.put_hub("other");
    const std::string there = world.upload("a.txt", "x\n");
    const std::string jobs = "https://localhost/$blobs/orders/jobs";
    struct Row {
        std::string type, import, output, reason;
    };
    for (const auto& row : std::vector<Row>{
             {"Import", there, jobs, "The job type"},
             {"ImportCreateRegistrations", "", jobs, "ImportFileUri"},
             {"ImportCreateRegistrations", there + "x", jobs, "does not exist"},
             {"ImportCreateRegistrations", "https://localhost/$blobs/other/uploads/a.txt", jobs,
              "another hub"},
             {"ImportCreateRegistrations", "https://localhost/$blobs/orders/uploads/%2e%2e/x", jobs,
              "blob's name"},
             {"ImportCreateRegistrations", "https://localhost/$blobs/orders/store/x", jobs,
              "containers"},
             {"ImportCreateRegistrations", "http://localhost/$blobs/orders/uploads/a.txt", jobs,
              "https"},
             {"ImportCreateRegistrations", "file:///etc/passwd", jobs, "https"},
             {"ImportCreateRegistrations", "https://169.254.169.254/a", jobs, "not allowed"},
             {"ExportRegistrations", "", "https://storage.example/c?sig=x", "not allowed"},
             {"ExportRegistrations", "", "https://user@localhost/$blobs/orders/jobs", "https"},
             {"ExportRegistrations", "", jobs + "/deeper", "container"},
             {"ExportRegistrations", "", "https://localhost/$blobs/orders/errors", "containers"},
         }) {
        const auto answer = world.submit(row.type, row.import, row.output);
        INFO(row.import << " " << row.output << "\n" << answer.body);
        CHECK(answer.status == 400);
        CHECK(answer.body.find(row.reason) != std::string::npos);
    }
    auto client = world.client();
    CHECK(client.request("GET", "/orders/jobs/none", world.root_headers()).status == 404);
    CHECK(client.request("GET", "/orders/jobs").status == 401);
    // Another hub's job is not this hub's.
    const auto id = world.started("ExportRegistrations", "");
    world.ended(id);
    CHECK(client.request("GET", "/other/jobs/" + id, world.root_headers()).status == 404);
}

TEST_CASE("an import that was stopped in the middle goes on where it was", "[hub]") {
    World world;
    constexpr std::uint64_t count = 30'000;
    std::string file;
    // Without ids: a line that is done twice must not make two registrations.
    for (std::uint64_t i = 0; i < count; ++i)
        file += i % 1'000 == 7 ? "bad\n" : line_of(i, "", "t" + std::to_string(i % 10));
    const auto id = world.started("ImportCreateRegistrations", world.upload("big.txt", file));
    int stops = 0;
    for (std::uint64_t line = 0;;) {
        std::optional<hub::JobRecord> job;
        REQUIRE(support::comes_true([&] {
            job = world.record(id);
            REQUIRE(job);
            return hub::is_final(job->status) || job->line >= line + 3'000;
        }));
        if (hub::is_final(job->status) || stops >= 4) break;
        line = job->line;
        CHECK(job->progress < 100);
        world.restart();
        ++stops;
    }
    CHECK(stops > 0);
    const auto entry = world.ended(id);
    CHECK(element(entry, "Status") == "Completed");
    CHECK(element(entry, "Failure").empty());
    CHECK(world.registrations() == count - count / 1'000);
    const auto good = world.rows(id, "Output.txt");
    const auto bad = world.rows(id, "Failed.txt");
    CHECK(good.size() == count - count / 1'000);
    CHECK(bad.size() == count / 1'000);
    std::uint64_t before = 0;
    for (const auto& row : good) {
        const auto number = std::stoull(row);
        if (number <= before) FAIL("row " << number << " after " << before);
        before = number;
    }
    CHECK(world.service().parts().registry.verify(world.number()).empty());

    // An export is cut and goes on as well.
    const auto all = world.started("ExportRegistrations", "");
    world.restart();
    world.ended(all);
    const auto lines = world.rows(all, "Output.txt");
    CHECK(lines.size() == good.size());
    CHECK(std::set(lines.begin(), lines.end()).size() == lines.size());
}

TEST_CASE("a job whose rows behind the checkpoint were lost writes them again", "[hub]") {
    World world;
    const auto import = world.upload("a.txt", line_of(1, "") + line_of(2, "") + line_of(3, ""));
    const auto id = world.started("ImportCreateRegistrations", import);
    world.ended(id);
    const auto rows = world.rows(id, "Output.txt");
    REQUIRE(rows.size() == 3);
    // As a crash leaves it: the lines are applied, the record still says the first alone.
    hub::JobRecord job = *world.record(id);
    world.stop();
    job.status = hub::JobStatus::running;
    job.read_all = false;
    job.offset = line_of(1, "").size();
    job.line = job.succeeded = 1;
    job.output_bytes = rows[0].size() + 1;
    std::ofstream(world.config().data_dir / "jobs" / (id + ".json")) << hub::job_json(job);
    world.start();
    world.ended(id);
    CHECK(world.registrations() == 3);
    const auto again = world.rows(id, "Output.txt");
    REQUIRE(again.size() == 3);
    CHECK(again[0] == rows[0]);
    CHECK(world.record(id)->succeeded == 3);
}

TEST_CASE("deleting a hub ends and forgets its jobs", "[hub]") {
    World world;
    std::string file;
    for (std::uint64_t i = 0; i < 20'000; ++i) file += line_of(i, "");
    world.started("ImportCreateRegistrations", world.upload("big.txt", file));
    const auto waiting = world.started("ExportRegistrations", "");
    CHECK(world.client().request("DELETE", "/orders", world.root_headers()).status == 200);
    CHECK(fs::is_empty(world.config().data_dir / "jobs"));
    CHECK_FALSE(fs::exists(world.area()));
    CHECK(world.service().parts().jobs.figures().running == 0);
    world.put_hub("orders");
    CHECK(world.client().request("GET", "/orders/jobs/" + waiting, world.root_headers()).status ==
          404);
}

TEST_CASE("hubs take turns, however many jobs one of them has", "[hub]") {
    hub::Config config;
    config.jobs_running_max = 1;
    World world(config);
    world.put_hub("second");
    std::string file;
    for (std::uint64_t i = 0; i < 5'000; ++i) file += line_of(i, "");
    world.started("ImportCreateRegistrations", world.upload("big.txt", file));
    std::string last;
    for (int i = 0; i < 3; ++i) last = world.started("ExportRegistrations", "");
    const auto answer = world.client().request(
        "POST", "/second/jobs", world.root_headers(),
        "<NotificationHubJob><Type>ExportRegistrations</Type><OutputContainerUri>"
        "https://localhost/$blobs/second/jobs</OutputContainerUri></NotificationHubJob>");
    REQUIRE(answer.status == 201);
    world.ended(last);
    auto& jobs = world.service().parts().jobs;
    const auto number = world.service().parts().hubs.find("second")->row.number;
    const auto other = jobs.find(number, element(answer.body, "JobId"));
    REQUIRE(other.has_value());
    CHECK(hub::is_final(other->status));  // though it came last
    CHECK(other->updated_at_ms <= world.record(last)->updated_at_ms);
}

TEST_CASE("a long job makes way for another hub's and goes on", "[hub][hostile]") {
    hub::Config config;
    config.jobs_running_max = 1;
    config.jobs_turn_ms = 20;
    World world(config);
    world.put_hub("second");
    constexpr std::uint64_t count = 20'000;
    std::string file;
    for (std::uint64_t i = 0; i < count; ++i) file += line_of(i, "");
    const auto import = world.upload("big.txt", file);
    const auto longest = world.started("ImportCreateRegistrations", import);
    REQUIRE(support::comes_true([&] { return world.record(longest)->line > 0; }));
    auto& jobs = world.service().parts().jobs;
    const auto number = world.service().parts().hubs.find("second")->row.number;
    for (int i = 0; i < 3; ++i) {
        const auto answer = world.client().request(
            "POST", "/second/jobs", world.root_headers(),
            "<NotificationHubJob><Type>ExportRegistrations</Type><OutputContainerUri>"
            "https://localhost/$blobs/second/jobs</OutputContainerUri></NotificationHubJob>");
        REQUIRE(answer.status == 201);
        const auto id = element(answer.body, "JobId");
        REQUIRE(support::comes_true([&] { return hub::is_final(jobs.find(number, id)->status); }));
        CHECK_FALSE(hub::is_final(world.record(longest)->status));
    }
    CHECK(element(world.ended(longest), "Status") == "Completed");
    CHECK(world.record(longest)->succeeded == count);
    CHECK(world.registrations() == count);
    CHECK(world.rows(longest, "Output.txt").size() == count);
}

TEST_CASE("a job reads and writes another service's blobs, if its host is allowed", "[hub]") {
    hub::Config store_config;
    store_config.host_names = {"store.example.test", "127.0.0.1", "localhost"};
    World store(store_config);
    hub::Config config;
    config.provider_ca_file = store.service().ca_file().string();
    config.connect_to = {"store.example.test:443=127.0.0.1:" +
                         std::to_string(store.service().port())};
    config.jobs_external_hosts = {"*.example.test"};
    World world(config);
    const auto url_of = [&](const std::string& container) {
        const auto url =
            store.client()
                .request("GET", "/orders/blobcontainers/" + container, store.root_headers())
                .body;
        return "https://store.example.test" + url.substr(url.find("/$blobs"));
    };
    const std::string jobs = url_of("jobs");
    const std::string uploads = url_of("uploads");
    const auto split = uploads.find('?');
    std::string file;
    for (std::uint64_t i = 0; i < 3'000; ++i)  // several pieces
        file += i == 10 ? "bad\n" : line_of(i, "");
    store.upload("in.txt", file);
    const auto id =
        world.started("ImportCreateRegistrations",
                      uploads.substr(0, split) + "/in.txt" + uploads.substr(split), jobs);
    const auto entry = world.ended(id);
    INFO(entry);
    CHECK(element(entry, "Status") == "Completed");
    CHECK(world.registrations() == 2'999);
    CHECK(store.rows(id, "Output.txt").size() == 2'999);
    CHECK(store.rows(id, "Failed.txt").size() == 1);
    CHECK_FALSE(fs::exists(world.config().data_dir / "jobs" / (id + ".Output.txt")));

    // Without the right signature, and with a blob that is not there.
    for (const auto& import : {uploads.substr(0, split) + "/in.txt",
                               uploads.substr(0, split) + "/none" + uploads.substr(split)}) {
        const auto failed = world.ended(world.started("ImportCreateRegistrations", import, jobs));
        CHECK(element(failed, "Status") == "Failed");
        CHECK(element(failed, "Failure").find("store.example.test answered 40") !=
              std::string::npos);
        CHECK(element(failed, "Failure").find("sig") == std::string::npos);
    }
}

TEST_CASE("a large import needs little memory and little time", "[hub][slow]") {
    World world;
    constexpr std::uint64_t count = sanitized ? 10'000 : 200'000;
    const auto import = world.upload("large.txt", "");
    {
        std::ofstream file(world.area() / "uploads" / "large.txt", std::ios::binary);
        for (std::uint64_t i = 0; i < count; ++i) file << line_of(i, id_of(i));
    }
    const auto before = resident_bytes();
    std::size_t peak = before;
    double progress = 0;
    const auto begun = Clock::now();
    const auto id = world.started("ImportUpsertRegistrations", import);
    REQUIRE(support::comes_true([&] {
        const auto job = world.record(id);
        REQUIRE(job);
        peak = std::max(peak, resident_bytes());
        if (hub::is_final(job->status)) return true;
        CHECK(job->progress >= progress);
        progress = job->progress;
        return false;
    }));
    const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    INFO("import of " << count << " lines: " << seconds << " s, " << (peak - before) / 1'048'576
                      << " MiB more memory");
    CHECK(element(world.entry(id), "Status") == "Completed");
    CHECK(world.record(id)->succeeded == count);
    CHECK(progress > 0);
    // Nearly all of it is the store's: write buffers of 64 MiB and its caches.
    if (!sanitized) CHECK(peak - before < 150u << 20);
}
