// Feedback documents, their files and their retention.

#include "hub/bulk/feedback.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <pugixml.hpp>

#include "hub/api/parts.hpp"
#include "pns/clock.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/hub_world.hpp"

namespace {

namespace fs = std::filesystem;
using hub::DeviceResult;
using pns::Outcome;

DeviceResult result_of(Outcome outcome, const std::string& handle = "AABB") {
    DeviceResult result;
    result.platform = "apns";
    result.handle = handle;
    result.registration_id = "1-2-3";
    result.outcome = outcome;
    result.reason = "Unregistered";
    result.at_ms = 1'795'288'320'123;
    return result;
}

hub::BlobPlace details_of(const std::string& send) {
    hub::BlobPlace place;
    place.hub_number = 7;
    place.hub = "orders";
    place.container = "errors";
    if (!send.empty()) place.name = hub::error_details_name(send);
    return place;
}

struct Area {
    support::Folder folder;
    hub::Blobs blobs{folder.path / "blobs", "MDEyMzQ1Njc4OWFiY2RlZg=="};
    std::unique_ptr<registry::TraceStore> errors = open_errors();

    std::unique_ptr<registry::TraceStore> open_errors() const {
        registry::TraceOptions options;
        options.directory = folder.path;
        std::string why;
        return registry::TraceStore::open(options, why).value();
    }

    std::vector<std::string> files(const std::string& container) const {
        std::vector<std::string> names;
        std::error_code none;
        for (const auto& file :
             fs::directory_iterator(folder.path / "blobs" / "orders" / container, none)) {
            names.push_back(file.path().filename().string());
        }
        std::sort(names.begin(), names.end());
        return names;
    }
    std::vector<std::string> lines(const std::string& container) const {
        std::vector<std::string> all;
        for (const auto& name : files(container)) {
            std::ifstream file(folder.path / "blobs" / "orders" / container / name);
            for (std::string line; std::getline(file, line);) all.push_back(line);
        }
        return all;
    }
};

}  // namespace

TEST_CASE("a feedback document has the contract's elements in order, on one line", "[hub]") {
    DeviceResult result = result_of(Outcome::expired_channel, "https://x/?a=1&b=\n2");
    result.platform = "wns";
    result.installation_id = "phone";
    result.new_handle = "https://y/";
    std::string out;
    hub::append_feedback(out, result, "NH-1");
    CHECK(out.find('\n') == out.size() - 1);
    pugi::xml_document document;
    REQUIRE(document.load_string(out.c_str()));
    std::string names;
    for (const auto& child : document.document_element().children())
        names += std::string(child.name()) + "=" + child.child_value() + ";";
    CHECK(names ==
          "FeedbackTime=2026-11-21T19:12:00.123Z;NotificationSystemError=ExpiredChannel;"
          "Platform=windows;PnsHandle=https://x/?a=1&b=\n2;RegistrationId=1-2-3;"
          "InstallationId=phone;NotificationId=NH-1;NewPnsHandle=https://y/;");
    result = result_of(Outcome::success);
    result.registration_id.clear();
    result.new_handle = "NEW";
    out.clear();
    hub::append_feedback(out, result, "NH-1");
    CHECK(out.find("<NotificationSystemError>RefreshToken<") != std::string::npos);
    CHECK(out.find("RegistrationId") == std::string::npos);
    CHECK(hub::feedback_day(1'795'288'320'123) == "11212026");
}

TEST_CASE("channels go to the feedback container, all failures to the send's blob", "[hub]") {
    const Area area;
    hub::Feedback feedback(area.blobs, *area.errors, pns::system_clock(), {});
    auto renamed = result_of(Outcome::success, "OLD");
    renamed.new_handle = "NEW";
    feedback.ended(7, "Orders", "NH-1",
                   {result_of(Outcome::expired_channel), result_of(Outcome::pns_server_error),
                    renamed, result_of(Outcome::success), result_of(Outcome::skipped)});
    feedback.ended(7, "orders", "NH-2", {result_of(Outcome::success)});
    feedback.flush();
    feedback.flush("NH-1");
    CHECK(area.lines("feedback").size() == 2);
    CHECK(area.files("feedback").at(0).ends_with("-0001.xml"));
    CHECK(area.files("feedback").at(0).size() == std::string("MMddyyyy-0001.xml").size());
    CHECK(area.files("errors").empty());
    CHECK(feedback.has_details(details_of("NH-1")));
    CHECK_FALSE(feedback.has_details(details_of("NH-2")));
    const auto details = feedback.open_details(details_of("NH-1"));
    const auto text = details->read(0, details->facts().bytes + 10).value();
    CHECK(text.size() == details->facts().bytes);
    CHECK(std::count(text.begin(), text.end(), '\n') == 2);
    CHECK(text.find("<Reason>Unregistered</Reason></PnsFeedback>") != std::string::npos);
    CHECK(area.lines("feedback").at(0).find("<Reason>") == std::string::npos);
    // What an older version left as files is still there.
    REQUIRE(area.blobs.put(details_of("NH-0"), "old", false) == hub::Blobs::Put::written);
    CHECK(feedback.has_details(details_of("NH-0")));
    CHECK(feedback.open_details(details_of("NH-0"))->read(0, 9) ==
          std::optional<std::string>("old"));
    const auto page = feedback.list_details(details_of(""), "NH-", "", 1);
    CHECK(page.blobs.at(0).name == "NH-0.xml");
    const auto rest = feedback.list_details(details_of(""), "NH-", page.next, 5);
    REQUIRE(rest.blobs.size() == 1);
    CHECK(rest.blobs.at(0).name == "NH-1.xml");
    CHECK(rest.next.empty());
    CHECK(feedback.figures().queued == 0);
    feedback.stop();
    feedback.ended(7, "orders", "NH-3", {result_of(Outcome::bad_channel)});
    CHECK(feedback.figures().dropped == 1);
}

TEST_CASE("feedback files are bounded and go on after a restart", "[hub]") {
    const Area area;
    hub::Feedback::Settings settings;
    settings.file_bytes_max = 2'000;
    settings.details_bytes_max = 1'500;
    constexpr int count = 40;
    std::vector<DeviceResult> results;
    for (int i = 0; i < count; ++i)
        results.push_back(result_of(Outcome::bad_channel, std::to_string(1'000 + i)));
    for (int round = 0; round < 2; ++round) {
        hub::Feedback feedback(area.blobs, *area.errors, pns::system_clock(), settings);
        feedback.ended(7, "orders", "NH-" + std::to_string(round), results);
        feedback.flush();
        CHECK(feedback.figures().dropped > 0);  // of the send's own blob
    }
    const auto lines = area.lines("feedback");
    CHECK(lines.size() == 2 * count);
    for (const auto& line : lines) {
        pugi::xml_document document;
        CHECK(document.load_string(line.c_str()));
    }
    const auto folder = area.folder.path / "blobs" / "orders";
    CHECK(area.files("feedback").size() > 5);
    for (const auto& name : area.files("feedback"))
        CHECK(fs::file_size(folder / "feedback" / name) <= settings.file_bytes_max);
    CHECK(area.errors->details(7, "NH-0.xml", 0)->bytes < 2'000);
}

TEST_CASE("many failing sends take few files and few syncs", "[hub]") {
    const Area area;
    hub::Feedback feedback(area.blobs, *area.errors, pns::system_clock(), {});
    constexpr int count = 5'000;
    for (int i = 0; i < count; ++i)
        feedback.ended(7, "orders", "NH-" + std::to_string(i),
                       {result_of(Outcome::pns_server_error)});
    feedback.flush();
    std::uint64_t takes = 0, files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(area.folder.path)) {
        struct stat info {};
        if (::lstat(entry.path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
        takes += static_cast<std::uint64_t>(info.st_blocks) * 512;
        ++files;
    }
    CHECK(files < 50);
    CHECK(takes < count * 1'024);
    CHECK(feedback.has_details(details_of("NH-4999")));
    CHECK(feedback.list_details(details_of(""), "", "", 100).blobs.size() == 100);
}

TEST_CASE("too much that waits is dropped and counted", "[hub]") {
    const Area area;
    hub::Feedback::Settings settings;
    settings.queue_results_max = 3;
    hub::Feedback feedback(area.blobs, *area.errors, pns::system_clock(), settings);
    feedback.ended(7, "orders", "NH-1",
                   std::vector<DeviceResult>(4, result_of(Outcome::bad_channel)));
    feedback.ended(7, "orders", "NH-2",
                   std::vector<DeviceResult>(3, result_of(Outcome::bad_channel)));
    feedback.flush();
    CHECK(feedback.figures().dropped == 4);
    CHECK(feedback.figures().written == 3);
}

TEST_CASE("results of one hub that wait leave room for those of another", "[hub]") {
    const Area area;
    hub::Feedback::Settings settings;
    settings.queue_results_max = 10;
    settings.share_rule = [] { return hub::ShareRule{80, 2}; };
    hub::Feedback feedback(area.blobs, *area.errors, pns::system_clock(), settings);
    feedback.ended(7, "orders", "NH-1",
                   std::vector<DeviceResult>(8, result_of(Outcome::bad_channel)));
    CHECK(feedback.figures().dropped == 8);
    feedback.ended(7, "orders", "NH-2",
                   std::vector<DeviceResult>(7, result_of(Outcome::bad_channel)));
    feedback.ended(8, "others", "NH-3", {result_of(Outcome::bad_channel)});
    feedback.flush();
    CHECK(feedback.figures().dropped == 8);
    CHECK(feedback.figures().written == 8);
}

TEST_CASE("what is old or too much goes, the oldest first", "[hub]") {
    const Area area;
    hub::Feedback::Settings settings;
    settings.kept_ms = 10 * 86'400'000LL;
    const auto folder = area.folder.path / "blobs" / "orders" / "feedback";
    fs::create_directories(folder);
    // Far ahead: the sweep that the object does by itself, at the time of the machine, finds
    // nothing old.
    constexpr std::int64_t now_s = 4'102'444'800;
    const auto write = [&](const std::string& name, std::int64_t days_ago, std::size_t bytes) {
        std::ofstream(folder / name) << std::string(bytes, 'x');
        const timespec at{now_s - days_ago * 86'400, 0};
        const timespec both[2] = {at, at};
        REQUIRE(::utimensat(AT_FDCWD, (folder / name).c_str(), both, 0) == 0);
    };
    write("a", 30, 10);
    write("b", 5, 100);
    write("c", 4, 100);
    write("d", 3, 100);
    write("e", 2, 100);
    const auto takes = [&](const std::string& name) {
        struct stat info {};
        REQUIRE(::lstat((folder / name).c_str(), &info) == 0);
        return static_cast<std::uint64_t>(info.st_blocks) * 512;
    };
    REQUIRE(takes("c") >= 512);
    settings.kept_bytes_max = takes("d") + takes("e");
    hub::Feedback bounded(area.blobs, *area.errors, pns::system_clock(), settings);
    bounded.flush();
    bounded.sweep(now_s * 1'000);
    CHECK(area.files("feedback") == std::vector<std::string>{"d", "e"});
}

TEST_CASE("the feedback container's URL lists and reads what was written", "[hub]") {
    support::HubWorld world;
    world.put_hub("orders");
    auto client = world.client();
    const auto& row = world.service().parts().hubs.find("orders")->row;
    world.service().parts().feedback.ended(row.number, row.name, "NH-1",
                                           {result_of(Outcome::expired_channel)});
    world.service().parts().feedback.flush();
    const auto url = client.request("GET", "/orders/feedbackcontainer", world.root_headers());
    REQUIRE(url.status == 200);
    const auto target = url.body.substr(url.body.find("/$blobs/"));
    const auto path = target.substr(0, target.find('?'));
    const auto query = target.substr(target.find('?'));
    const auto list = client.request("GET", target + "&restype=container&comp=list").body;
    const auto start = list.find("<Name>") + 6;
    const auto name = list.substr(start, list.find('<', start) - start);
    const auto blob = client.request("GET", path + "/" + name + query);
    CHECK(blob.status == 200);
    CHECK(blob.body.find("<PnsHandle>AABB</PnsHandle>") != std::string::npos);
}

TEST_CASE("telemetry of a send with failures leads to what became of each device", "[hub]") {
    support::HubWorld world;
    world.put_hub("orders");  // without credentials: every push fails
    auto client = world.client();
    const std::string token(64, 'A');
    const auto put = client.request(
        "PUT", "/orders/installations/phone", world.root_headers(),
        R"({"installationId":"phone","platform":"apns","pushChannel":")" + token + "\"}");
    REQUIRE(put.status == 200);
    auto headers = world.root_headers();
    headers.emplace_back("ServiceBusNotification-Format", "apple");
    const auto sent =
        client.request("POST", "/orders/messages", headers, R"({"aps":{"alert":"x"}})");
    REQUIRE(sent.status == 201);
    std::string id = sent.header("location");
    id = id.substr(0, id.find('?'));
    id = id.substr(id.rfind('/') + 1);
    std::string url;
    REQUIRE(support::comes_true([&] {
        const auto told = client.request("GET", "/orders/messages/" + id, world.root_headers());
        pugi::xml_document document;
        REQUIRE(document.load_string(told.body.c_str()));
        url = document.document_element().child_value("PnsErrorDetailsUri");
        return !url.empty();
    }));
    const auto target = url.substr(url.find("/$blobs/"));
    const auto blob = client.request("GET", target);
    REQUIRE(blob.status == 200);
    CHECK(blob.body.find("<NotificationSystemError>InvalidCredentials<") != std::string::npos);
    CHECK(blob.body.find("<PnsHandle>" + token + "<") != std::string::npos);
    CHECK(blob.body.find("<InstallationId>phone<") != std::string::npos);
    CHECK(blob.body.find("<NotificationId>" + id + "<") != std::string::npos);
    CHECK(client.request("GET", target.substr(0, target.find('?'))).status == 403);
}
