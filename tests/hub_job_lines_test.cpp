// The pure parts of bulk jobs: lines, rows, the reader of lines, records and their XML.

#include "hub/bulk/job_lines.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <random>

#include "hub/bulk/job_record.hpp"
#include "hub/bulk/job_xml.hpp"
#include "hub/bulk/line_reader.hpp"
#include "hub/device/atom.hpp"
#include "hub/device/handle_check.hpp"
#include "hub/text/xml.hpp"
#include "registry/keys.hpp"

namespace {

using hub::JobType;

constexpr const char* token = "00FC13ADFF785122B4AD28809A3420982341241421348097878E577C991DE8F0";

std::string form_b(const std::string& kind, const std::string& inside) {
    return "<RegistrationDescription i:type=\"" + kind +
           "RegistrationDescription\" "
           "xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
           "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">" +
           inside + "</RegistrationDescription>";
}

std::string form_a(const std::string& kind, const std::string& inside) {
    return "<" + kind + "RegistrationDescription>" + inside + "</" + kind +
           "RegistrationDescription>";
}

std::string apple(const std::string& id) {
    return "<RegistrationId>" + id + "</RegistrationId><Tags>a,b</Tags><DeviceToken>" + token +
           "</DeviceToken>";
}

hub::JobLine read(JobType type, const std::string& line) {
    auto parsed = hub::parse_job_line(type, line);
    if (!hub::ok(parsed)) FAIL(std::get<hub::Refusal>(parsed).message);
    return std::get<hub::JobLine>(std::move(parsed));
}

/// All lines of `text`, given in pieces of `piece` bytes; "!" is one that is too long.
std::vector<std::string> lines_of(const std::string& text, std::size_t piece, std::size_t max,
                                  std::uint64_t offset = 0) {
    hub::LineReader reader(
        [&](std::uint64_t at) -> boost::system::result<std::string> {
            return at < text.size() ? text.substr(at, piece) : std::string();
        },
        offset, max);
    std::vector<std::string> lines;
    hub::LineReader::Line line;
    while (reader.next(line) == hub::LineReader::Step::line)
        lines.push_back(line.too_long ? "!" : std::string(line.text));
    return lines;
}

}  // namespace

TEST_CASE("a line of either body form becomes what it asks for", "[hub]") {
    for (const auto& line : {form_b("Apple", apple("1-2-3")), form_a("Apple", apple("1-2-3"))}) {
        INFO(line);
        for (const auto type :
             {JobType::import_create, JobType::import_update, JobType::import_upsert}) {
            const auto parsed = read(type, line).registration;
            CHECK(parsed.id == "1-2-3");
            CHECK(parsed.platform == "apns");
            CHECK(parsed.handle == token);
            CHECK(parsed.tags == std::vector<std::string>{"a", "b"});
            CHECK_FALSE(parsed.body);
        }
        CHECK(read(JobType::import_delete, line).registration.id == "1-2-3");
    }
    // Deleting looks at nothing but the id.
    CHECK(read(JobType::import_delete, form_a("Gcm", "<RegistrationId>7</RegistrationId>"))
              .registration.id == "7");
    CHECK(read(JobType::import_create,
               form_b("Apple", std::string("<DeviceToken>") + token + "</DeviceToken>"))
              .registration.id.empty());
}

TEST_CASE("a line that cannot be done says why", "[hub]") {
    struct Row {
        JobType type;
        std::string line, reason;
    };
    const std::string no_id = std::string("<DeviceToken>") + token + "</DeviceToken>";
    const std::vector<Row> rows{
        {JobType::import_create, "hello", "not XML"},
        {JobType::import_create, "<a/>", "resource description is invalid"},
        {JobType::import_delete, "<a/>", "resource description is invalid"},
        {JobType::import_create, form_b("Pear", apple("1")), "resource description is invalid"},
        {JobType::import_create, form_b("Apple", apple("1")) + form_b("Apple", apple("2")),
         "2 root elements"},
        {JobType::import_delete, form_a("Apple", apple("1")) + form_a("Apple", apple("2")),
         "2 root elements"},
        {JobType::import_create, form_b("Apple", "<RegistrationId>1</RegistrationId>"),
         "DeviceToken"},
        {JobType::import_update, form_b("Apple", no_id), "RegistrationId"},
        {JobType::import_delete, form_b("Apple", no_id), "RegistrationId"},
        {JobType::import_upsert, form_b("Apple", apple("a b")), "A registration id has"},
        {JobType::import_upsert, form_b("Apple", apple(std::string(121, '1'))),
         "A registration id has"},
        {JobType::import_create, form_b("Apple", "<Tags>$x</Tags>" + no_id), "$"},
        {JobType::import_create, "<!DOCTYPE a [<!ENTITY b \"c\">]>" + form_a("Apple", no_id),
         "DOCTYPE"},
        {JobType::import_create, form_b("Apple", no_id) + std::string(70'000, ' '), "bytes"},
        {JobType::import_create,
         form_b("AppleTemplate", no_id + "<BodyTemplate>{\"a\":\"$(\"}</BodyTemplate>"), ""},
    };
    for (const auto& row : rows) {
        INFO(row.line.substr(0, 300));
        const auto parsed = hub::parse_job_line(row.type, row.line);
        REQUIRE_FALSE(hub::ok(parsed));
        const auto& message = std::get<hub::Refusal>(parsed).message;
        INFO(message);
        CHECK_FALSE(message.empty());
        CHECK(message.find(row.reason) != std::string::npos);
        CHECK(message.find(token) == std::string::npos);
    }
}

TEST_CASE("a description on one line reads back the same", "[hub]") {
    registry::Registration registration;
    registration.id = "1-2-3";
    registration.platform = "apns";
    registration.handle = token;
    registration.etag = 4;
    registration.tags = {"a"};
    registration.push_variables = {{"name", "two\nlines"}};
    registration.body = registry::Template();
    registration.body->body = "{\"aps\":\n{\"alert\":\"]]>$(x)\"}\r\n}\n";
    registration.body->name = "news";
    const auto line = hub::one_line(hub::typed_description(registration));
    CHECK(line.starts_with(
        "<RegistrationDescription i:type=\"AppleTemplateRegistrationDescription\" "));
    CHECK(line.ends_with("</RegistrationDescription>"));
    CHECK(line.find('\n') == std::string::npos);
    CHECK(line.find('\r') == std::string::npos);
    const auto again = read(JobType::import_upsert, line).registration;
    CHECK(again.body == registration.body);
    CHECK(again.push_variables == registration.push_variables);
    CHECK(again.id == registration.id);
    CHECK(hub::one_line("<a>b</a>") == "<a>b</a>");
}

TEST_CASE("rows are one line each and begin with the number", "[hub]") {
    std::string out;
    hub::append_row(out, 7, "<x/>");
    hub::append_row(out, 8, "a\r\nb,c");
    CHECK(out == "7,<x/>\n8,a  b,c\n");
}

TEST_CASE("a line without an id gets the same one every time it is read", "[hub]") {
    const auto id_of = [](std::string_view job, std::uint64_t line) {
        return hub::LineIds(job, 8).of(line);
    };
    CHECK(id_of("job", 1) == id_of("job", 1));
    CHECK(id_of("job", 1) != id_of("job", 2));
    CHECK(id_of("job", 1) != id_of("jab", 1));
}

TEST_CASE("ids of later lines sort behind, and neighbours share a partition", "[hub]") {
    const auto partition_of = [](const std::string& id) {
        return std::stoi(id.substr(id.rfind('-') + 1));
    };
    for (const std::string job : {"a", "b", "c", "d"}) {
        const hub::LineIds ids(job, 4);
        std::string before;
        std::array<int, 4> stretches{};
        for (std::uint64_t line = 0; line < 8 * hub::LineIds::lines_per_partition; ++line) {
            const std::string id = ids.of(line);
            CHECK(before < id);
            CHECK(registry::is_issued_form(id));
            const int partition = partition_of(id);
            REQUIRE((partition >= 1 && partition <= 4));
            if (line % hub::LineIds::lines_per_partition == 0)
                ++stretches[static_cast<std::size_t>(partition - 1)];
            else
                CHECK(partition == partition_of(before));
            before = id;
        }
        CHECK(stretches == std::array{2, 2, 2, 2});
    }
}

TEST_CASE("lines come out whole, whatever the pieces", "[hub]") {
    const std::string text = "one\r\ntwo\n\nfour is longer than the bound\nfive\n";
    const std::vector<std::string> expected{"one", "two", "", "!", "five"};
    for (std::size_t piece = 1; piece < 60; ++piece) {
        INFO(piece);
        CHECK(lines_of(text, piece, 20) == expected);
        CHECK(lines_of("\xEF\xBB\xBF" + text, std::max<std::size_t>(piece, 3), 20) == expected);
        CHECK(lines_of(text + "last", piece, 20).back() == "last");
    }
    CHECK(lines_of("", 5, 5).empty());
    for (std::size_t piece = 1; piece < 9; ++piece) {
        CHECK(lines_of("a\rb\r\nc\n\rd\r", piece, 20) ==
              std::vector<std::string>{"a", "b", "c", "", "d"});
        CHECK(lines_of("a\r\rlonger\rb", piece, 3) == std::vector<std::string>{"a", "", "!", "b"});
    }
    CHECK(lines_of(std::string(1'000, 'x'), 7, 100) == std::vector<std::string>{"!"});
    CHECK(lines_of(text, 5, 20, 5) == std::vector<std::string>{"two", "", "!", "five"});
}

TEST_CASE("reading goes on at the offset of any line", "[hub]") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    std::string text;
    for (int i = 0; i < 200; ++i)
        text += std::string(random() % 40, 'a') + std::to_string(i) + "\n";
    const auto whole = lines_of(text, 64, 1'000);
    hub::LineReader reader(
        [&](std::uint64_t at) -> boost::system::result<std::string> {
            return at < text.size() ? text.substr(at, 33) : std::string();
        },
        0, 1'000);
    hub::LineReader::Line line;
    for (std::size_t i = 0; i < whole.size(); ++i) {
        const auto rest = lines_of(text, 17, 1'000, reader.offset());
        CHECK(rest == std::vector<std::string>(whole.begin() + static_cast<long>(i), whole.end()));
        REQUIRE(reader.next(line) == hub::LineReader::Step::line);
    }
    CHECK(reader.offset() == text.size());
}

TEST_CASE("a failed read ends the lines with its error", "[hub]") {
    hub::LineReader reader(
        [&](std::uint64_t at) -> boost::system::result<std::string> {
            if (at == 0) return std::string("a\nb");
            return boost::system::errc::make_error_code(boost::system::errc::io_error);
        },
        0, 100);
    hub::LineReader::Line line;
    CHECK(reader.next(line) == hub::LineReader::Step::line);
    CHECK(reader.next(line) == hub::LineReader::Step::failed);
    CHECK(reader.error());
}

TEST_CASE("a job's record survives its file", "[hub]") {
    hub::JobRecord job;
    job.id = hub::new_job_id(1'795'288'320'000);
    CHECK(job.id.size() == 19 + 36);
    CHECK(job.id.starts_with("251"));
    CHECK(job.id > hub::new_job_id(1'795'288'321'000));
    job.hub_number = 3;
    job.hub = "orders";
    job.type = JobType::import_upsert;
    job.output_container_uri = "https://h/$blobs/orders/jobs?sig=x";
    job.import_file_uri = "https://h/$blobs/orders/uploads/a?sig=\"x\"";
    job.input_properties = {{"a", "b"}};
    job.output_container = "jobs";
    job.import_container = "uploads";
    job.import_name = "a";
    job.output_folder = "ns//orders/x";
    job.status = hub::JobStatus::running;
    job.failure = "none";
    job.progress = 12.5;
    job.created_at_ms = 1;
    job.updated_at_ms = 2;
    job.offset = 1ull << 40;
    job.input_bytes = 1ull << 41;
    job.input_etag = "\"0x1\"";
    job.list_after = std::string("\0\xFF\x80z", 4);
    job.read_all = true;
    job.line = 9;
    job.succeeded = 5;
    job.rejected = 4;
    job.output_bytes = 100;
    job.failed_bytes = 7;
    const auto again = hub::read_job_json(hub::job_json(job));
    REQUIRE(hub::ok(again));
    CHECK(std::get<hub::JobRecord>(again) == job);
    for (const char* broken : {"", "{}", "[]", "{\"version\":2}", "{\"version\":1}"})
        CHECK_FALSE(hub::ok(hub::read_job_json(broken)));
    // A number that does not fit is damage, not another number.
    const auto with = [&job](const std::string& member) {
        std::string text = hub::job_json(job);
        text.pop_back();
        return hub::ok(hub::read_job_json(text + ',' + member + '}'));
    };
    CHECK(with(R"("offset":18446744073709551615)"));
    CHECK(with(R"("createdAt":-1)"));
    for (const char* broken :
         {R"("offset":-1)", R"("offset":1.5)", R"("offset":1e300)", R"("hubNumber":4294967296)",
          R"("createdAt":9223372036854775808)", R"("status":4294967297)", R"("status":-1)",
          R"("line":true)", R"("listAfter":[256])", R"("listAfter":[-1])"})
        CHECK_FALSE(with(broken));
}

TEST_CASE("a job is asked for in an entry or without one", "[hub]") {
    const std::string inner =
        "<NotificationHubJob xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/"
        "connect\"><Type>ImportUpsertRegistrations</Type><OutputContainerUri><![CDATA[https://a/b?"
        "c=d&e=f]]></OutputContainerUri><ImportFileUri>https://a/b/c?d=e&amp;f=g</ImportFileUri>"
        "<InputProperties><p:KeyValueOfstringstring xmlns:p=\"x\"><p:Key>k</p:Key><p:Value>v"
        "</p:Value></p:KeyValueOfstringstring></InputProperties></NotificationHubJob>";
    for (const std::string& body :
         {inner, "<entry xmlns=\"http://www.w3.org/2005/Atom\"><content type=\"application/xml\">" +
                     inner + "</content></entry>"}) {
        const auto parsed = hub::parse_job_request(body);
        REQUIRE(hub::ok(parsed));
        const auto& job = std::get<hub::JobRequest>(parsed);
        CHECK(job.type == JobType::import_upsert);
        CHECK(job.output_container_uri == "https://a/b?c=d&e=f");
        CHECK(job.import_file_uri == "https://a/b/c?d=e&f=g");
        CHECK(job.input_properties.at("k") == "v");
    }
    const auto of = [](const std::string& inside) {
        return hub::parse_job_request("<NotificationHubJob>" + inside + "</NotificationHubJob>");
    };
    const std::string output = "<OutputContainerUri>https://a/b</OutputContainerUri>";
    CHECK(hub::ok(of("<Type>ExportRegistrations</Type>" + output)));
    CHECK_FALSE(hub::ok(of("<Type>Export</Type>" + output)));
    CHECK_FALSE(hub::ok(of(output)));
    CHECK_FALSE(hub::ok(of("<Type>ExportRegistrations</Type>")));
    CHECK_FALSE(hub::ok(of("<Type>ImportCreateRegistrations</Type>" + output)));
    CHECK_FALSE(hub::ok(of("<Type>ExportRegistrations</Type><OutputContainerUri>" +
                           std::string(5'000, 'x') + "</OutputContainerUri>")));
    CHECK_FALSE(hub::ok(hub::parse_job_request("<!DOCTYPE a><NotificationHubJob/>")));
}

TEST_CASE("a job's entry has the contract's elements in order", "[hub]") {
    hub::JobRecord job;
    job.id = "2518abc";
    job.type = JobType::import_create;
    job.output_container_uri = "https://a/b?c=d&e=f";
    job.import_file_uri = "https://a/i";
    job.input_properties = {{"k", "v"}};
    job.output_folder = "ns//orders/2518abc";
    job.status = hub::JobStatus::completed;
    job.progress = 100;
    job.created_at_ms = job.updated_at_ms = 1'795'288'320'000;
    job.failure = "a & b";
    const auto entry = hub::job_entry(job, "https://h/orders/jobs/2518abc");
    std::size_t at = 0;
    for (const char* element :
         {"<entry xmlns=\"http://www.w3.org/2005/Atom\">", "<content type=\"application/xml\">",
          "<NotificationHubJob xmlns=", "<JobId>2518abc<", "<Progress>100<",
          "<Type>ImportCreateRegistrations<", "<Status>Completed<",
          "<OutputContainerUri>https://a/b?c=d&amp;e=f<", "<ImportFileUri>https://a/i<",
          "<InputProperties ", "<Failure>a &amp; b<",
          "<OutputProperties "
          "xmlns:d3p1=\"http://schemas.microsoft.com/2003/10/Serialization/Arrays\">",
          "<d3p1:KeyValueOfstringstring><d3p1:Key>FailedFilePath</d3p1:Key>"
          "<d3p1:Value>ns//orders/2518abc/Failed.txt</d3p1:Value>",
          "<d3p1:Key>OutputFilePath</d3p1:Key>", "<CreatedAt>", "<UpdatedAt>"}) {
        INFO(element << "\n" << entry);
        const auto found = entry.find(element, at);
        REQUIRE(found != std::string::npos);
        at = found;
    }
    job.status = hub::JobStatus::running;
    job.progress = 12.3456;
    job.failure.clear();
    const auto running = hub::job_entry(job, "u");
    CHECK(running.find("<Progress>12.35</Progress>") != std::string::npos);
    CHECK(running.find("OutputProperties") == std::string::npos);
    CHECK(running.find("Failure") == std::string::npos);
    const auto feed = hub::job_feed(std::vector{job, job}, "https://h/orders/jobs", "a=b", 0);
    pugi::xml_document document;
    CHECK_FALSE(hub::read_xml(feed, document));
    CHECK(feed.find("https://h/orders/jobs/2518abc?a=b") != std::string::npos);
}
