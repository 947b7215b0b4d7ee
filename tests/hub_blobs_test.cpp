// The blob area: names, signatures, files; then over https as blob clients see it.

#include "hub/bulk/blobs.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "hub/api/parts.hpp"
#include "hub/http/http.hpp"
#include "hub/service.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/hub_world.hpp"

namespace {

namespace fs = std::filesystem;
using hub::BlobPlace;
using hub::Blobs;
using hub::BlobSignature;

BlobPlace place(const std::string& name, const std::string& container = "uploads") {
    BlobPlace out;
    out.hub_number = 7;
    out.hub = "orders";
    out.container = container;
    out.name = name;
    return out;
}

struct Area {
    support::Folder folder;
    Blobs blobs{folder.path / "blobs", "MDEyMzQ1Njc4OWFiY2RlZg=="};
};

/// The decoded fields of a signed URL's query.
struct Signed {
    explicit Signed(const std::string& query) {
        hub::Request request;
        request.host = "h";
        request.target = "/?" + query;
        REQUIRE(hub::parse_target(request));
        for (const auto& [name, value] : request.query) fields[name] = value;
    }
    BlobSignature given() const {
        return {fields.at("sr"), fields.at("sp"), fields.at("se"), fields.at("sig")};
    }
    std::map<std::string, std::string> fields;
};

}  // namespace

TEST_CASE("names of blobs stay inside their container", "[hub]") {
    struct Row {
        std::string given, name;
    };
    const std::vector<Row> good{{"a", "a"},
                                {"a//b", "a/b"},
                                {"/a/", "a"},
                                {"ns//orders/1/Output.txt", "ns/orders/1/Output.txt"},
                                {"a b%?", "a b%?"}};
    for (const auto& row : good) {
        const auto checked = Blobs::blob_name(row.given);
        INFO(row.given);
        REQUIRE(hub::ok(checked));
        CHECK(std::get<std::string>(checked) == row.name);
    }
    std::string deep = "a";
    for (int i = 0; i < 16; ++i) deep += "/a";
    for (const std::string& bad :
         {std::string(), std::string("/"), std::string(".."), std::string("a/../b"),
          std::string("./a"), std::string(".hidden"), std::string("a/.new-1"), std::string("a\\b"),
          std::string("a\nb"), std::string("a\0b", 3), std::string(241, 'x'), deep}) {
        INFO(bad);
        CHECK_FALSE(hub::ok(Blobs::blob_name(bad)));
    }
    CHECK(Blobs::is_container("jobs"));
    CHECK_FALSE(Blobs::is_container(".."));
    CHECK_FALSE(Blobs::is_container(""));
}

TEST_CASE("a signature opens its place, for its rights, until its time", "[hub]") {
    const Area area;
    constexpr std::int64_t now = 1'795'288'320'000;
    const Signed container(area.blobs.sign(place(""), "rl", now + 60'000));
    CHECK(area.blobs.admits(place("a"), 'r', container.given(), now));
    CHECK(area.blobs.admits(place(""), 'l', container.given(), now));
    CHECK_FALSE(area.blobs.admits(place("a"), 'w', container.given(), now));
    CHECK_FALSE(area.blobs.admits(place("a"), 'r', container.given(), now + 60'000));
    CHECK_FALSE(area.blobs.admits(place("a", "jobs"), 'r', container.given(), now));

    const Signed blob(area.blobs.sign(place("a"), "r", now + 60'000));
    CHECK(area.blobs.admits(place("a"), 'r', blob.given(), now));
    CHECK_FALSE(area.blobs.admits(place("b"), 'r', blob.given(), now));
    CHECK_FALSE(area.blobs.admits(place(""), 'r', blob.given(), now));

    auto other_hub = place("a");
    other_hub.hub_number = 8;
    CHECK_FALSE(area.blobs.admits(other_hub, 'r', container.given(), now));
    const Blobs other_key(area.folder.path, "another key, another key");
    CHECK_FALSE(other_key.admits(place("a"), 'r', container.given(), now));

    for (const char* field : {"sr", "sp", "se", "sig"}) {
        for (const std::string& value : {std::string(), std::string("w"), std::string(300, 'c')}) {
            Signed forged = container;
            forged.fields[field] = value;
            INFO(field << "=" << value);
            CHECK_FALSE(area.blobs.admits(place("a"), 'r', forged.given(), now));
        }
    }
    Signed longer = container;
    longer.fields["se"] = "2999-01-01T00:00:00Z";
    CHECK_FALSE(area.blobs.admits(place("a"), 'r', longer.given(), now));
    CHECK_FALSE(area.blobs.admits(place("a"), 'r', BlobSignature(), now));
}

TEST_CASE("blobs are written whole, read in pieces and listed in order", "[hub]") {
    const Area area;
    const auto& blobs = area.blobs;
    CHECK_FALSE(blobs.open(place("a")));
    CHECK(blobs.list(place(""), "", "", 10).blobs.empty());
    CHECK(blobs.put(place("b/c"), "hello", false) == Blobs::Put::written);
    CHECK(blobs.put(place("a"), "one", true) == Blobs::Put::written);
    CHECK(blobs.put(place("a"), "two", true) == Blobs::Put::exists);
    const auto before = blobs.open(place("a"));
    REQUIRE(before);
    CHECK(blobs.put(place("a"), "three", false) == Blobs::Put::written);
    CHECK(before->read(0, 100) == std::optional<std::string>("one"));
    CHECK(blobs.open(place("a"))->read(1, 3) == std::optional<std::string>("hre"));
    CHECK(blobs.open(place("a"))->read(9, 3) == std::optional<std::string>(""));
    CHECK(blobs.put(place("b"), "x", false) == Blobs::Put::conflict);
    CHECK(blobs.put(place("a/x"), "x", false) == Blobs::Put::conflict);
    CHECK_FALSE(blobs.open(place("b")));
    CHECK_FALSE(blobs.exists(place("b")));

    for (int i = 0; i < 30; ++i)
        blobs.put(place("m/" + std::to_string(100 + i)), std::string(3, 'x'), false);
    std::vector<std::string> names;
    std::string after;
    do {
        const auto page = blobs.list(place(""), "m/", after, 7);
        CHECK(page.blobs.size() <= 7);
        for (const auto& blob : page.blobs) {
            names.push_back(blob.name);
            CHECK(blob.bytes == 3);
        }
        after = page.next;
    } while (!after.empty());
    CHECK(names.size() == 30);
    CHECK(std::is_sorted(names.begin(), names.end()));
    CHECK(blobs.list(place(""), "", "", 100).blobs.size() == 32);

    // A link that an operator's mistake left there leads nowhere.
    fs::create_symlink("/etc/passwd", blobs.path(place("link")));
    CHECK_FALSE(blobs.open(place("link")));
    CHECK_FALSE(blobs.exists(place("link")));

    blobs.erase_hub("orders");
    CHECK_FALSE(blobs.open(place("a")));
    CHECK(blobs.list(place(""), "", "", 10).blobs.empty());
    CHECK(fs::is_empty(blobs.root()));
}

TEST_CASE("blob clients list, read and write with a signed URL and not without", "[hub]") {
    support::HubWorld world;
    world.put_hub("orders");
    world.put_hub("other");
    auto client = world.client();
    const auto url_of = [&](const std::string& container) {
        const auto answer =
            client.request("GET", "/orders/blobcontainers/" + container, world.root_headers());
        REQUIRE(answer.status == 200);
        CHECK(answer.header("content-type").starts_with("text/plain"));
        const auto at = answer.body.find("/$blobs/");
        REQUIRE(at != std::string::npos);
        CHECK(answer.body.starts_with("https://"));
        return answer.body.substr(at);
    };
    const std::string uploads = url_of("uploads");
    const std::string path = uploads.substr(0, uploads.find('?'));
    const std::string query = uploads.substr(uploads.find('?'));
    CHECK(path == "/$blobs/orders/uploads");
    const support::HeaderList block{{"x-ms-blob-type", "BlockBlob"}};

    const auto put = client.request("PUT", path + "/a/b.txt" + query, block, "0123456789");
    CHECK(put.status == 201);
    CHECK_FALSE(put.header("etag").empty());
    const auto get = client.request("GET", path + "//a/b.txt" + query);
    CHECK(get.status == 200);
    CHECK(get.body == "0123456789");
    CHECK(get.header("etag") == put.header("etag"));
    CHECK(get.header("x-ms-blob-type") == "BlockBlob");

    struct Row {
        std::string range, body;
        int status;
    };
    for (const auto& row : std::vector<Row>{{"bytes=2-4", "234", 206},
                                            {"bytes=8-", "89", 206},
                                            {"bytes=8-100", "89", 206},
                                            {"bytes=-3", "789", 206},
                                            {"bytes=10-", "", 416},
                                            {"bytes=4-2", "", 416},
                                            {"bytes=x", "", 416}}) {
        INFO(row.range);
        const auto part = client.request("GET", path + "/a/b.txt" + query, {{"Range", row.range}});
        CHECK(part.status == row.status);
        if (row.status == 206) CHECK(part.body == row.body);
        CHECK(part.header("content-range").ends_with("/10"));
    }
    CHECK(client.request("GET", path + "/a/b.txt" + query, {{"If-Match", "\"other\""}}).status ==
          412);
    CHECK(client.request("GET", path + "/a/b.txt" + query, {{"If-None-Match", put.header("etag")}})
              .status == 304);
    support::HeaderList fresh = block;
    fresh.emplace_back("If-None-Match", "*");
    CHECK(client.request("PUT", path + "/a/b.txt" + query, fresh, "x").status == 409);
    CHECK(client.request("PUT", path + "/a/b.txt" + query, {}, "x").status == 400);
    for (const auto& [name, value] : support::HeaderList{{"if-match", "\"1\""},
                                                         {"if-none-match", ""},
                                                         {"if-none-match", "\"1\""},
                                                         {"if-unmodified-since", "x"}}) {
        support::HeaderList guarded = block;
        guarded.emplace_back(name, value);
        CHECK(client.request("PUT", path + "/a/b.txt" + query, guarded, "x").status == 400);
    }
    CHECK(client.request("GET", path + "/none" + query).status == 404);
    CHECK(client.request("GET", path + "/none" + query).header("x-ms-error-code") ==
          "BlobNotFound");

    const auto list = client.request("GET", path + query + "&restype=container&comp=list");
    CHECK(list.status == 200);
    CHECK(list.body.find("<Blob><Name>a/b.txt</Name><Properties>") != std::string::npos);
    CHECK(list.body.find("<Content-Length>10</Content-Length>") != std::string::npos);
    CHECK(list.body.find("<NextMarker></NextMarker></EnumerationResults>") != std::string::npos);
    CHECK(client.request("GET", path + query + "&restype=container").status == 200);
    CHECK(client.request("GET", path + query).status == 400);

    // Who may not.
    const std::string feedback = url_of("feedback");
    const std::string read_only = feedback.substr(feedback.find('?'));
    const std::string feedback_path = feedback.substr(0, feedback.find('?'));
    const auto forbidden = [&](std::string_view method, const std::string& target) {
        INFO(method << " " << target);
        const auto answer = client.request(method, target, block, "x");
        CHECK(answer.status == 403);
        CHECK(answer.header("x-ms-error-code") == "AuthenticationFailed");
    };
    forbidden("GET", path + "/a/b.txt");
    forbidden("GET", path + "/a/b.txt" + read_only);
    forbidden("PUT", feedback_path + "/x" + read_only);
    forbidden("GET", "/$blobs/other/uploads/a/b.txt" + query);
    forbidden("GET", "/$blobs/nobody/uploads/a/b.txt" + query);
    forbidden("GET", path + "/..%2F..%2F..%2Fblobs.key" + query);
    forbidden("GET", path + "/%2e%2e/jobs/x" + query);
    forbidden("GET",
              path + query.substr(0, query.find("sig=")) + "sig=AAAA&restype=container&comp=list");
    CHECK(client.request("GET", "/orders/blobcontainers/uploads").status == 401);
    CHECK(client.request("GET", "/orders/blobcontainers/none", world.root_headers()).status == 404);

    // A large answer comes in pieces, over either protocol.
    std::string large(700'001, 'a');
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>('a' + i % 23);
    REQUIRE(client.request("PUT", path + "/large" + query, block, large).status == 201);
    CHECK(client.request("GET", path + "/large" + query).body == large);
    CHECK(
        client.request("GET", path + "/large" + query, {{"x-ms-range", "bytes=100-600000"}}).body ==
        large.substr(100, 599'901));
    support::H2Client second(world.service().port(), world.client_options("h2"));
    const auto whole = second.request("GET", path + "/large" + query);
    CHECK(whole.status == 200);
    CHECK((whole.body == large));

    // So does a large body.
    std::string larger((5 << 20) + 1, 'a');
    for (std::size_t i = 0; i < larger.size(); ++i) larger[i] = static_cast<char>(i * i % 251);
    CHECK(second.request("PUT", path + "/larger" + query, block, larger).status == 201);
    CHECK((second.request("GET", path + "/larger" + query).body == larger));
    CHECK((client.request("GET", path + "/larger" + query).body == larger));
    CHECK((second.request("GET", path + "/larger" + query, {{"Range", "bytes=1000000-"}}).body ==
           larger.substr(1'000'000)));
    CHECK(second.request("HEAD", path + "/larger" + query).header("content-length") == "5242881");
    CHECK(second.request("PUT", path + "/larger" + query, fresh, larger).status == 409);
    CHECK(second.request("PUT", path + "/a" + query, block, larger).status == 409);

    // Many at once.
    std::vector<int> streams;
    for (int i = 0; i < 40; ++i) {
        streams.push_back(second.start("PUT", path + "/many/" + std::to_string(i) + query, block,
                                       larger.substr(static_cast<std::size_t>(i), 300'000)));
    }
    for (const int stream : streams) CHECK(second.wait(stream).status == 201);
    for (int i = 0; i < 40; ++i) {
        streams[static_cast<std::size_t>(i)] =
            second.start("GET", path + "/many/" + std::to_string(i) + query);
    }
    for (std::size_t i = 0; i < 40; ++i)
        CHECK((second.wait(streams[i]).body == larger.substr(i, 300'000)));

    // An upload that does not end leaves nothing.
    const auto folder = world.config().data_dir / "blobs" / "orders" / "uploads" / "half";
    const auto unfinished = [&] {
        std::error_code none_yet;
        const fs::directory_iterator files(folder, none_yet);
        return std::distance(files, fs::directory_iterator());
    };
    const int half = second.start("PUT", path + "/half/b" + query, block, larger);
    REQUIRE(support::comes_true([&] { return unfinished() > 0; }));
    second.reset(half);
    REQUIRE(support::comes_true([&] { return unfinished() == 0; }));
    CHECK(second.request("GET", path + "/half/b" + query).status == 404);

    // Deleting the hub frees its blobs and ends its URLs.
    CHECK(client.request("DELETE", "/orders", world.root_headers()).status == 200);
    world.put_hub("orders");
    forbidden("GET", path + "/a/b.txt" + query);
    CHECK_FALSE(fs::exists(world.config().data_dir / "blobs" / "orders"));
}

TEST_CASE("only who may write a blob may send much", "[hub]") {
    support::HubWorld world;
    world.config().blob_upload_bytes_max = 200'000;
    world.restart();
    world.put_hub("orders");
    auto client = world.client();
    const auto url =
        client.request("GET", "/orders/blobcontainers/uploads", world.root_headers()).body;
    const auto path = url.substr(url.find("/$blobs/"), url.find('?') - url.find("/$blobs/"));
    const auto query = url.substr(url.find('?'));
    const support::HeaderList block{{"x-ms-blob-type", "BlockBlob"}};
    support::H2Client second(world.service().port(), world.client_options("h2"));
    const auto status = [&](const std::string& target, std::size_t bytes) {
        auto fresh = world.client();
        const std::string body(bytes, 'x');
        const auto one = fresh.request("PUT", target, block, body);
        auto two = second.request("PUT", target, block, body);
        CHECK(one.status == two.status);
        auto headers = block;
        headers.emplace_back("x-no-length", "1");
        const auto unannounced = second.request("PUT", target, headers, body);
        CHECK((unannounced.status == one.status || target.find('?') == std::string::npos));
        if (one.status == 413) {
            const std::string bound = target.find('?') == std::string::npos ? "65536" : "200000";
            const std::string detail = "The request body is larger than " + bound + " bytes.";
            for (const auto& answer : {one, two})
                CHECK(answer.body.find(detail) != std::string::npos);
        }
        return one.status;
    };
    CHECK(status(path + "/a" + query, 200'000) == 201);
    CHECK(status(path + "/a" + query, 200'001) == 413);
    CHECK(status(path + "/a", 100'000) == 413);
    CHECK(status(path + "/a", 100) == 403);
}

namespace {

/// A hub with one container, asked as a blob client.
struct Container {
    explicit Container(const hub::Config& config) : world(config) {
        world.put_hub("orders");
        world.put_hub("other");
        path = uploads("orders");
    }
    std::string uploads(const std::string& hub) {
        return world.client()
            .request("GET", "/" + hub + "/blobcontainers/uploads", world.root_headers())
            .body;
    }
    support::Answer put(const std::string& url, const std::string& name, std::size_t bytes) {
        const auto at = url.find("/$blobs/"), query = url.find('?');
        return world.client().request("PUT",
                                      url.substr(at, query - at) + "/" + name + url.substr(query),
                                      {{"x-ms-blob-type", "BlockBlob"}}, std::string(bytes, 'x'));
    }
    int put(const std::string& name, std::size_t bytes) { return put(path, name, bytes).status; }
    /// As the metrics say.
    std::size_t used(const std::string& hub) {
        const auto text = world.client().request("GET", "/metrics").body;
        const std::string begin = "pushhub_blob_bytes{hub=\"" + hub + "\"} ";
        const auto at = text.find(begin);
        REQUIRE(at != std::string::npos);
        return static_cast<std::size_t>(std::stod(text.substr(at + begin.size())));
    }

    support::HubWorld world;
    std::string path;
};

}  // namespace

TEST_CASE("blobs of a hub take no more of the disk than it may have", "[hub][hostile]") {
    constexpr std::size_t file = hub::BlobRoom::file_bytes, half = 512 * 1024 - file;
    hub::Config config;
    config.blobs_mib_max = 1;
    Container blobs(config);
    CHECK(blobs.put("a", half) == 201);
    CHECK(blobs.put("b", half) == 201);
    CHECK(blobs.used("orders") == std::size_t{1} << 20);
    const auto full = blobs.put(blobs.path, "c", 0);
    CHECK(full.status == 409);
    CHECK(full.body.find("<Code>QuotaExceeded</Code>") != std::string::npos);
    CHECK(blobs.put(blobs.uploads("other"), "a", half).status == 201);

    // Two versions of a blob are there while one comes, but an empty one always makes room.
    CHECK(blobs.put("b", 1) == 409);
    CHECK(blobs.put("b", 0) == 201);
    const auto area = blobs.world.config().data_dir / "blobs" / "orders" / "uploads";
    fs::remove(area / "b");
    CHECK(blobs.put("a", 100'000) == 201);
    CHECK(blobs.used("orders") == 2 * file + 100'000);
    // One that does not fit leaves nothing, and what operators removed is seen.
    CHECK(blobs.put("b", 945'000) == 409);
    CHECK(blobs.used("orders") == file + 100'000);
    CHECK(std::distance(fs::directory_iterator(area), fs::directory_iterator()) == 1);

    // What operators put there counts, at the latest when there is no room, and after a restart.
    std::ofstream(area / "own") << std::string(3 << 20, 'x');
    blobs.world.restart();
    CHECK(blobs.used("orders") == 2 * file + 100'000 + (std::size_t{3} << 20));
    CHECK(blobs.put("b", 1) == 409);
    const auto job = blobs.world.client().request(
        "POST", "/orders/jobs", blobs.world.root_headers(),
        "<NotificationHubJob><Type>ExportRegistrations</Type><OutputContainerUri>"
        "https://localhost/$blobs/orders/jobs</OutputContainerUri></NotificationHubJob>");
    REQUIRE(job.status == 201);
    REQUIRE(support::comes_true([&] {
        const auto jobs =
            blobs.world.client().request("GET", "/orders/jobs", blobs.world.root_headers());
        return jobs.body.find("<Failure>The output does not fit") != std::string::npos;
    }));
    fs::remove(area / "own");
    CHECK(blobs.put("b", 1) == 201);
}

TEST_CASE("no blob is taken while the disk is nearly full", "[hub][hostile]") {
    constexpr std::size_t most_mib = 1u << 20;
    if (fs::space(fs::temp_directory_path()).available >> 20 >= most_mib) return;
    Container blobs{hub::Config()};
    CHECK(blobs.put("a", 10) == 201);
    blobs.world.stop();
    blobs.world.config().disk_free_mib_min = most_mib;
    blobs.world.start();
    auto& fanout = blobs.world.service().parts().fanout;
    REQUIRE(support::comes_true([&] { return fanout.disk_low(); }));
    const auto refused = blobs.put(blobs.path, "b", 10);
    CHECK(refused.status == 503);
    CHECK(refused.header("retry-after") == "60");
    CHECK(refused.body.find("<Code>ServerBusy</Code>") != std::string::npos);
    const auto area = blobs.world.config().data_dir / "blobs" / "orders" / "uploads";
    CHECK(std::distance(fs::directory_iterator(area), fs::directory_iterator()) == 1);
}
