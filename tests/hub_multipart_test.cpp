#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "hub/text/multipart.hpp"

namespace {

const std::string apns_body = R"({"aps":{"alert":"Train delayed"}})";

std::string part(const std::string& name, const std::string& content,
                 const std::string& line_end = "\r\n") {
    return "Content-type: application/json; charset=utf-8" + line_end +
           "Content-Disposition: inline; name=" + name + line_end + line_end + content + line_end;
}

std::string batch(const std::string& boundary, const std::vector<std::string>& parts,
                  const std::string& line_end = "\r\n") {
    std::string body;
    for (const std::string& one : parts) body += "--" + boundary + line_end + one;
    return body + "--" + boundary + "--";
}

hub::DirectBatch parsed(const std::string& type, const std::string& body) {
    auto result = hub::parse_direct_batch(type, body);
    if (!hub::ok(result)) FAIL(std::get<hub::Refusal>(result).message);
    return std::get<hub::DirectBatch>(std::move(result));
}

std::string refused(const std::string& type, const std::string& body, int status = 400) {
    const auto result = hub::parse_direct_batch(type, body);
    INFO(body.substr(0, 200));
    REQUIRE_FALSE(hub::ok(result));
    CHECK(std::get<hub::Refusal>(result).status == status);
    return std::get<hub::Refusal>(result).message;
}

}  // namespace

TEST_CASE("batches of every SDK are read", "[hub]") {
    const std::string b = "nh-batch-multipart-boundary";
    struct Row {
        std::string type;
        std::string body;
    };
    const std::string quoted_name =
        "CONTENT-DISPOSITION: inline; name=\"devices\"\r\n\r\n[\"h1\", \"h2\"]\r\n";
    const std::vector<Row> table{
        {"multipart/mixed; boundary=\"" + b + "\"",
         batch(b, {part("notification", apns_body), part("devices", "[\"h1\",\"h2\"]")})},
        {"multipart/mixed; boundary = \"" + b + "\"",
         batch(b, {part("notification", apns_body), quoted_name})},
        {"Multipart/Mixed;BOUNDARY=" + b + "; charset=utf-8",
         batch(b, {part("devices", "[\"h1\",\"h2\"]"), part("notification", apns_body)}) + "\r\n"},
        {"multipart/mixed; boundary=" + b,
         "preamble\n" +
             batch(b, {part("notification", apns_body, "\n"), part("devices", "['h1','h2']", "\n")},
                   "\n") +
             "\nepilogue"},
        {"multipart/mixed; boundary=" + b,
         batch(b, {part("other", "ignored"), part("notification", apns_body),
                   part("devices", "[\"h1\",\"h2\"]")})},
    };
    for (const Row& row : table) {
        INFO(row.body);
        const auto result = parsed(row.type, row.body);
        CHECK(result.notification == apns_body);
        CHECK(result.handles == std::vector<std::string>{"h1", "h2"});
    }
    CHECK(parsed(table[0].type, table[0].body).content_type == "application/json; charset=utf-8");
}

TEST_CASE("a boundary inside a line is content", "[hub]") {
    const std::string text = "{\"a\":\"--b--\",\"c\":\"--b\"}\r\n\r\nx --b";
    const auto result =
        parsed("multipart/mixed; boundary=b",
               batch("b", {part("notification", text), part("devices", "[\"h\"]")}));
    CHECK(result.notification == text);
}

TEST_CASE("broken batches are refused with the reason", "[hub]") {
    const std::string type = "multipart/mixed; boundary=b";
    const std::string note = part("notification", apns_body);
    const auto with_devices = [&](const std::string& devices) {
        return batch("b", {note, part("devices", devices)});
    };
    CHECK(refused("application/json", with_devices("[\"h\"]")).find("multipart/mixed") !=
          std::string::npos);
    CHECK(refused("multipart/mixed", "x").find("boundary") != std::string::npos);
    CHECK(refused("multipart/mixed; boundary=", "x").find("boundary") != std::string::npos);
    CHECK(refused("multipart/mixed; boundary=\"b", "x").find("boundary") != std::string::npos);
    CHECK(refused(type, "").find("no delimiter") != std::string::npos);
    CHECK(refused(type, "--b\r\n" + note).find("'devices' is missing") != std::string::npos);
    CHECK(refused(type, batch("b", {note})).find("'devices' is missing") != std::string::npos);
    CHECK(refused(type, batch("b", {part("devices", "[\"h\"]")})).find("'notification'") !=
          std::string::npos);
    CHECK(refused(type, batch("b", {note, note, part("devices", "[\"h\"]")})).find("twice") !=
          std::string::npos);
    CHECK(
        refused(type, batch("b", std::vector<std::string>(20, part("x", "y")))).find("too many") !=
        std::string::npos);
    CHECK(refused(type, with_devices("[\"secret-handle\", 7]")).find("secret") ==
          std::string::npos);
    for (const std::string devices : {"", "{}", "[]", "[7]", "[\"\"]", "\"h\"", "[\"h\"", "null"}) {
        refused(type, with_devices(devices));
    }
    const auto handles = [](std::size_t count) {
        std::string list = "[\"h\"";
        for (std::size_t i = 1; i < count; ++i) list += ",\"h\"";
        return list + "]";
    };
    CHECK(parsed(type, with_devices(handles(1000))).handles.size() == 1000);
    CHECK(refused(type, with_devices(handles(1001))).find("1001 handles") != std::string::npos);
    refused(type, with_devices("[\"" + std::string(4097, 'h') + "\"]"));
    refused(type,
            batch("b", {part("notification", std::string(65'537, 'x')), part("devices", "[]")}),
            413);
    refused(type, std::string(hub::batch_bytes_max + 1, 'x'), 413);
}

TEST_CASE("a batch may end without its closing delimiter", "[hub]") {
    const std::string whole =
        batch("b", {part("notification", apns_body), part("devices", "[\"h\"]")});
    const auto closing = whole.rfind("--b--");
    for (const std::string& body :
         {whole.substr(0, closing), whole.substr(0, closing - 2), whole.substr(0, closing + 3)}) {
        const auto read = parsed("multipart/mixed; boundary=b", body);
        CHECK(read.notification == apns_body);
        CHECK(read.handles == std::vector<std::string>{"h"});
    }
}

TEST_CASE("delimiters without end are read in linear time", "[hub]") {
    std::string body;
    while (body.size() < hub::batch_bytes_max - 8) body += "--b";
    refused("multipart/mixed; boundary=b", body);
    body = "--b\r\n";
    while (body.size() < hub::batch_bytes_max - 8) body += "--bx\n";
    refused("multipart/mixed; boundary=b", body);
}
