#include "hub/process/log.hpp"

#include "hub/text/ids.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

using hub::redacted;

TEST_CASE("what looks like a secret does not reach the log", "[hub]") {
    const std::string key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const std::string apns = std::string(32, 'a') + std::string(32, '7');
    const std::vector<std::string> secrets{
        "Authorization: SharedAccessSignature sr=x&sig=S3cret&se=1&skn=R",
        "sharedaccesssignature sr=x&sig=S3cret&se=1",
        "GET /h/messages?a=b&sig=S3cret HTTP/1.1",
        "Endpoint=sb://h/;SharedAccessKeyName=R;SharedAccessKey=S3cret",
        "Bearer S3cret.x.y rest",
        "https://wns.example/?token=S3cret",
        "-----BEGIN PRIVATE KEY-----\nS3cret\n-----END PRIVATE KEY-----",
        "key S3cret" + key,
        "device S3cret" + apns + " is gone",
        "fcm S3cretAbCdEf:APA91bH" + std::string(120, 'x'),
    };
    for (const auto& text : secrets) {
        const auto safe = redacted(text);
        INFO(text << " -> " << safe);
        CHECK(safe.find("S3cret") == std::string::npos);
        CHECK(safe.find("***") != std::string::npos);
    }
}

TEST_CASE("ids and plain words stay readable", "[hub]") {
    for (const std::string text :
         {"7f190000-0000-4000-8000-0123456789ab", "8372532934391117237-1873246577402391230-1",
          "PUT /{hub}/installations/{id} 200", "cannot listen on 127.0.0.1:8443: Address in use"}) {
        CHECK(redacted(text) == text);
    }
    CHECK(redacted("one\nline\x1b[0m") == "one line [0m");
}

TEST_CASE("a line is text or one JSON object, from its level on", "[hub]") {
    std::ostringstream out;
    hub::open_log("info", "text", &out);
    hub::log_debug("not this");
    hub::log_info("hub put",
                  {{"hub", "my hub"}, {"count", "3"}, {"root_key", "abc"}, {"what", "a\"b"}});
    const auto line = out.str();
    CHECK(line.find("not this") == std::string::npos);
    CHECK(line.ends_with(" info hub put hub=\"my hub\" count=3 root_key=*** what=\"a\\\"b\"\n"));

    out.str("");
    hub::open_log("warn", "json", &out);
    hub::log_info("not this");
    hub::log_warn("odd \"one\"", {{"why", "new\nline \xff"}, {"handle", "abc"}});
    const auto object = nlohmann::json::parse(out.str());
    CHECK(object["message"] == "odd \"one\"");
    CHECK(object["level"] == "warning");
    CHECK(object["handle"] == "***");
    CHECK(object["at"].get<std::string>().ends_with("Z"));
    hub::open_log("warn", "text");
}

TEST_CASE("the id of a send stays readable in the log", "[hub]") {
    const std::string id = hub::new_send_id(1'795'000'000'123);
    CHECK(hub::redacted("send " + id) == "send " + id);
}
