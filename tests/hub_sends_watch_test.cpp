#include "hub/cli/sends_watch.hpp"

#include <catch2/catch.hpp>
#include <random>

using hub::EventReader;

namespace {

const std::string running =
    R"({"id":"NH-1","state":"Processing","audience":50000,"done":12345,"inFlight":120,)"
    R"("outcomes":{"Success":12000,"BadChannel":345},"rate":{"perSecond":1234.5,"etaSeconds":30.4},)"
    R"("latencyMs":{"p99":12.5}})";

std::vector<EventReader::Event> events_of(const std::string& bytes, std::size_t step, bool& sound) {
    EventReader reader;
    std::vector<EventReader::Event> events;
    sound = true;
    for (std::size_t at = 0; at < bytes.size() && sound; at += step) {
        sound = reader.feed(std::string_view(bytes).substr(at, step),
                            [&](const EventReader::Event& event) { events.push_back(event); });
    }
    return events;
}

}  // namespace

TEST_CASE("events are read however the bytes are cut", "[hub]") {
    const std::string first = "retry: 1000\n\n: hello\n\nevent: progress\ndata: {\"a\":1}\n\n";
    const std::string second = "event: end\r\ndata:x\r\ndata: y\r\n\r\nevent: nothing\n\n";
    const std::string bytes = first + second;
    for (std::size_t step = 1; step <= bytes.size(); ++step) {
        bool sound = false;
        const auto events = events_of(bytes, step, sound);
        REQUIRE(sound);
        REQUIRE(events.size() == 2);
        CHECK(events[0].name == "progress");
        CHECK(events[0].data == "{\"a\":1}");
        CHECK(events[1].name == "end");
        CHECK(events[1].data == "x\ny");
    }
    bool sound = true;
    events_of("data: " + std::string(EventReader::event_bytes_max + 1, 'x'), 4'096, sound);
    CHECK_FALSE(sound);
}

TEST_CASE("the screen shows bars, rate and what is left, and no control characters", "[hub]") {
    CHECK(hub::progress_bar(1, 2, 10) == "[#####.....]");
    CHECK(hub::progress_bar(0, 0, 4) == "[####]");
    CHECK(hub::progress_bar(9, 3, 4) == "[####]");
    CHECK(hub::progress_bar(999, 1'000, 4) == "[###.]");
    const auto lines = hub::sends_watch_lines(running, 100);
    REQUIRE(lines.size() == 5);
    CHECK(lines[0] == "NH-1");
    CHECK(lines[2] ==
          "Processing  12,345 of 50,000  24.6 %  failed 345  1234/s  in flight 120  left 0:31  "
          "p99 12 ms");
    CHECK(lines[3].find("BadChannel") == 2);
    CHECK(lines[4].find("12,000 [#") != std::string::npos);
    for (const auto& line : lines) CHECK(line.size() <= 100);
    CHECK(hub::sends_watch_line(running).find("Success 12,000") != std::string::npos);
    const auto evil = hub::sends_watch_line("{\"state\":\"\\u001b[2JX\"}");
    CHECK(evil.find('\x1b') == std::string::npos);
    CHECK(hub::sends_watch_lines("[]", 80).empty());
    CHECK(hub::sends_watch_lines("{", 80).empty());
    CHECK(hub::sends_watch_line("nothing").empty());
}

TEST_CASE("a send that reached nobody is told apart from one that did", "[hub]") {
    struct Case {
        std::string figures, why;
    };
    const std::vector<Case> cases{
        {R"({"state":"Completed","outcomes":{"Success":1,"BadChannel":9}})", ""},
        {R"({"state":"Completed","outcomes":{"Skipped":2}})", ""},
        {R"({"state":"Completed","outcomes":{"Unknown":2,"Success":0}})", ""},
        {R"({"state":"NoTargetFound","audience":0,"outcomes":{}})", ""},
        {R"({"state":"Completed","outcomes":{"BadChannel":9,"Success":0,"Throttled":1200}})",
         "the send reached nobody: BadChannel 9 Throttled 1,200"},
        {R"({"state":"Canceled","outcomes":{"Success":5}})", "the send was canceled"},
        {R"({"state":"Abandoned","outcomes":{"PnsUnreachable":5}})",
         "the send was abandoned: PnsUnreachable 5"},
    };
    for (const Case& c : cases) CHECK(hub::sends_undelivered(c.figures) == c.why);
    CHECK(hub::sends_watch_line(cases[4].figures).find("failed 1,209") != std::string::npos);
}
