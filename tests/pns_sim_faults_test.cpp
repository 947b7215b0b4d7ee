// The faults, the quirks and the report of the simulators, as a client sees them.

#include <set>

#include "pns/jwt.hpp"
#include "pns/sim/frames.hpp"
#include "tests/support/raw_client.hpp"
#include "tests/support/simulators.hpp"

namespace {

using nlohmann::json;
using support::RawAnswer;
using support::RawHeaders;

const std::string alert = R"({"aps":{"alert":"hello"}})";
const std::string path = "/3/device/" + std::string(64, 'a');

/// One token for the process: a second one within 20 minutes is too many.
const std::string& apns_token() {
    static const std::string token = [] {
        const auto& made = support::made_credential("apns");
        const auto key = pns::Key::read_private(made.credential.properties.at("Token"));
        return *pns::sign_jwt(*key, made.trust.key_id, {},
                              R"({"iss":")" + made.trust.team_id + R"(","iat":)" +
                                  std::to_string(support::now_ms / 1000) + "}");
    }();
    return token;
}

RawHeaders apns_headers() {
    return {{"authorization", "bearer " + apns_token()},
            {"apns-topic", "org.example.pushhub"},
            {"apns-push-type", "alert"}};
}

pns::sim::SimOptions apns_options() {
    auto options = support::sim_options("apns");
    options.ca = support::test_ca();
    options.clock_ms = [] { return support::now_ms; };
    return options;
}

struct Client : support::RawH2 {
    explicit Client(const pns::sim::Simulator& sim, const std::string& host = "api.push.apple.com")
        : RawH2(sim.port(), support::test_ca().certificate_pem, host) {
        while (session().streams_max() > 1000) REQUIRE(turn());
    }
    RawAnswer push() { return request(path, apns_headers(), alert); }
};

void set_faults(pns::sim::Simulator& sim, const json& text) {
    auto faults = pns::sim::read_faults(text, sim.speaks_h1());
    if (const auto* wrong = std::get_if<std::string>(&faults)) FAIL(*wrong);
    sim.set_faults(std::get<std::vector<pns::sim::Fault>>(std::move(faults)),
                   text.value("seed", std::uint64_t{1}));
}

}  // namespace

TEST_CASE("the catalogue has every fault from F01 to F36 once by its bare number", "[pns]") {
    std::set<int> numbers;
    std::set<std::string> names;
    for (const auto& row : pns::sim::fault_rows()) {
        numbers.insert(row.number);
        CHECK(names.insert(pns::sim::fault_name(row)).second);
        CHECK(row.says.size() > 2);
    }
    CHECK(numbers.size() == 36);
    for (int number = 1; number <= 36; ++number) CHECK(pns::sim::fault_row(number, ""));
}

TEST_CASE("faults are read from JSON and from a line, and refused with the reason", "[pns]") {
    const auto read = [](const char* text) {
        return pns::sim::read_faults(json::parse(text), false);
    };
    const auto size = [&](const char* text) {
        const auto faults = read(text);
        const auto* list = std::get_if<std::vector<pns::sim::Fault>>(&faults);
        return list ? static_cast<int>(list->size()) : -1;
    };
    CHECK(size(R"({"faults":["F01",{"fault":"F05","variant":"garbage","share":0.1}]})") == 2);
    CHECK(size(R"({"faults":["F05:garbage","F05 empty"]})") == 2);
    CHECK(size(R"({"faults":[{"rule":{"act":"gone"},"nth":3}]})") == 1);
    CHECK(size(R"({"mix":0.1,"of":["F01","F07"]})") == 2);
    CHECK(size(R"({"mix":0.1})") > 40);
    for (const char* bad :
         {R"({"faults":["F37"]})", R"({"faults":["F05 what"]})", R"({"faults":[1]})",
          R"({"faults":{}})", R"({"faults":[{"fault":"F01","share":2}]})",
          R"({"faults":[{"fault":"F01","what":2}]})", R"({"faults":[{"fault":"F01","ms":-1}]})",
          R"({"faults":[{"fault":"F01","times":4294967296}]})", R"({"faults":[{"rule":"what"}]})",
          R"({"mix":2})", R"({"mix":0.1,"of":["x"]})"})
        CHECK(size(bad) == -1);
    const auto line = pns::sim::read_faults_line("F07=0.1,F05:garbage=0.01,F15", false);
    const auto& faults = std::get<std::vector<pns::sim::Fault>>(line);
    REQUIRE(faults.size() == 3);
    CHECK(faults[0].share == 0.1);
    CHECK(faults[1].row->variant == "garbage");
    CHECK(faults[2].row->number == 15);
    CHECK(std::holds_alternative<std::string>(pns::sim::read_faults_line("F07=x", false)));
}

TEST_CASE("the same seed strikes the same arrivals", "[pns]") {
    const auto struck = [](std::uint64_t seed) {
        pns::sim::FaultBook book(seed);
        auto faults =
            pns::sim::read_faults(json::parse(R"({"mix":0.3,"of":["F01","F07"]})"), false);
        book.replace(std::get<std::vector<pns::sim::Fault>>(std::move(faults)), 0, seed);
        std::string out;
        for (int i = 0; i < 400; ++i) {
            const auto hit = book.on_request({}, "AA", 0);
            out += hit ? static_cast<char>('0' + hit->row->number) : '.';
        }
        return out;
    };
    CHECK(struck(1) == struck(1));
    CHECK(struck(1) != struck(2));
    const auto all = struck(3);
    const auto hits = 400 - std::count(all.begin(), all.end(), '.');
    CHECK(hits > 70);
    CHECK(hits < 170);
}

TEST_CASE("a fault's conditions choose what it strikes", "[pns]") {
    const auto hits = [](const char* fault, const std::string& handle, int times,
                         std::int64_t at_ms = 0) {
        pns::sim::FaultBook book(1);
        auto faults = pns::sim::read_faults({{"faults", json::array({json::parse(fault)})}}, false);
        book.replace(std::get<std::vector<pns::sim::Fault>>(std::move(faults)), 0, 1);
        std::string out;
        const pns::H2Header header{"x-class", "gold", false};
        pns::sim::Request request;
        request.headers = std::span(&header, 1);
        for (int i = 0; i < times; ++i) out += book.on_request(request, handle, at_ms) ? 'x' : '.';
        return out;
    };
    CHECK(hits(R"({"fault":"F07","nth":3})", "AA", 5) == "..x..");
    CHECK(hits(R"({"fault":"F07","every":2})", "AA", 5) == ".x.x.");
    CHECK(hits(R"({"fault":"F07","times":2})", "AA", 5) == "xx...");
    CHECK(hits(R"({"fault":"F07","prefix":"AB"})", "AA", 2) == "..");
    CHECK(hits(R"({"fault":"F07","prefix":"AB"})", "ABC", 2) == "xx");
    CHECK(hits(R"({"fault":"F07","after_ms":50,"for_ms":10})", "AA", 1, 49) == ".");
    CHECK(hits(R"({"fault":"F07","after_ms":50,"for_ms":10})", "AA", 1, 55) == "x");
    CHECK(hits(R"({"fault":"F07","after_ms":50,"for_ms":10})", "AA", 1, 60) == ".");
    CHECK(hits(R"({"fault":"F07","header":"x-class","value":"gold"})", "AA", 1) == "x");
    CHECK(hits(R"({"fault":"F07","header":"x-class","value":"iron"})", "AA", 1) == ".");
    CHECK(hits(R"({"fault":"F29"})", "AA", 2) == "..");
}

TEST_CASE("faults on a stream reach a client as they are named", "[pns]") {
    struct Row {
        const char* fault;
        int status;  ///< 0 = lost
        bool taken;  ///< when Fault::taken says yes
    };
    const std::vector<Row> rows = {{"F01", 200, true},
                                   {"F02", 0, false},
                                   {"F03", 200, true},
                                   {"F05", 200, true},
                                   {"F05 garbage", 200, true},
                                   {"F07", 0, false},
                                   {"F08", 0, true},
                                   {"F09", 200, true},
                                   {"F10", 200, true},
                                   {"F10 zero", 200, true},
                                   {"F11", 200, true},
                                   {"F11 frame", 200, true},
                                   {"F11 table", 200, true},
                                   {"F15", 0, true},
                                   {"F16", 0, true},
                                   {"F16 headers", 0, true},
                                   {"F16 short", 200, true},
                                   {"F16 json", 500, false},
                                   {"F17", 0, true},
                                   {"F17 hpack", 0, true},
                                   {"F17 stream0", 0, true},
                                   {"F18", 200, true},
                                   {"F18 many", 200, true},
                                   {"F18 body", 200, true},
                                   {"F21", 503, false},
                                   {"F21 after", 503, false},
                                   {"F22", 429, false},
                                   {"F22 absurd", 429, false},
                                   {"F23", 500, false},
                                   {"F24", 403, false},
                                   {"F26", 403, false},
                                   {"F30", 200, true},
                                   {"F30 informational", 200, true},
                                   {"F30 trailers", 200, true},
                                   {"F32", 410, false},
                                   {"F33", 410, false},
                                   {"F36", 0, true}};
    for (const Row& row : rows) {
        INFO(row.fault);
        const auto sim = support::start_sim(apns_options());
        const json fault = {{"fault", row.fault}, {"times", 1}, {"taken", "yes"}, {"ms", 5}};
        set_faults(*sim, {{"faults", json::array({fault})}});
        Client client(*sim);
        CHECK(client.push().status == row.status);
        const auto counters = sim->counters();
        CHECK(counters.accepted == (row.taken ? 1 : 0));
        CHECK(counters.faults_total == 1);
        CHECK(counters.above_limit == 0);
    }
}

TEST_CASE("a bad handshake never becomes a connection", "[pns]") {
    const auto sim = support::start_sim(apns_options());
    for (const char* variant : {"", "name", "ca", "tls11", "alert", "client"}) {
        INFO("F27 " << variant);
        sim->reset();
        const json fault = {{"fault", "F27"}, {"variant", variant}};
        set_faults(*sim, {{"faults", json::array({fault})}});
        bool pushed = false;
        try {
            support::RawH2 client(sim->port(), support::test_ca().certificate_pem,
                                  "api.push.apple.com");
            pushed = client.request(path, apns_headers(), alert).status != 0;
        } catch (const std::exception&) {
        }
        CHECK_FALSE(pushed);
        CHECK(sim->counters().received == 0);
    }
}

TEST_CASE("streams above the limit and after GOAWAY are counted and refused", "[pns]") {
    auto options = apns_options();
    options.starts_with_one_stream = false;
    options.streams_max = 2;
    options.latency.model = pns::sim::Latency::Model::constant;
    options.latency.low_ms = 50;
    const auto sim = support::start_sim(options);
    // A client that believes in no limit: frames by hand.
    support::RawTls tls(sim->port(), support::test_ca().certificate_pem, "api.push.apple.com",
                        "h2");
    using pns::sim::FrameType;
    std::string out =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + pns::sim::make_frame(FrameType::settings, 0, 0, {});
    boost::asio::write(tls.stream(), boost::asio::buffer(out));
    std::vector<std::uint8_t> in(16 * 1024);
    tls.stream().read_some(boost::asio::buffer(in));  // its SETTINGS: they may be acknowledged now
    const std::string request("\x83\x87\x84\x01\x09localhost", 14);  // POST https /
    out = pns::sim::make_frame(FrameType::settings, pns::sim::flag_ack, 0, {});
    for (int stream = 1; stream <= 7; stream += 2)
        out +=
            pns::sim::make_frame(FrameType::headers, pns::sim::flag_end_headers, stream, request);
    boost::asio::write(tls.stream(), boost::asio::buffer(out));
    pns::sim::FrameScan scan(0);
    bool goaway = false;
    boost::system::error_code ec;
    while (!goaway && !ec) {
        const auto size = tls.stream().read_some(boost::asio::buffer(in), ec);
        scan.feed(std::span(in).first(size), [&](const pns::sim::FrameHead& head) {
            goaway = goaway || head.type == FrameType::goaway;
        });
    }
    CHECK(goaway);
    CHECK(sim->counters().above_limit >= 1);
}

TEST_CASE("APNs quirks: rate per handle, environments, errors that end a connection", "[pns]") {
    auto options = apns_options();
    options.handle_second_max = 2;
    options.sandbox_prefix = "5A";
    options.client_errors_max = 3;
    options.collapse = true;
    options.split_share = 1;
    const auto sim = support::start_sim(options);
    Client client(*sim);
    CHECK(client.push().status == 200);
    CHECK(client.push().status == 200);
    const auto throttled = client.push();
    CHECK(throttled.status == 429);
    CHECK(json::parse(throttled.body)["reason"] == "TooManyRequests");
    while (client.session().streams_max() != 1) REQUIRE(client.turn());
    CHECK(client.request("/3/device/bb01", apns_headers(), alert).status == 200);
    while (client.session().streams_max() == 1) REQUIRE(client.turn());
    const auto other = client.request("/3/device/5a01", apns_headers(), alert);
    CHECK(json::parse(other.body)["reason"] == "BadDeviceToken");
    while (client.goaway.empty() && client.turn()) {
    }
    CHECK(client.goaway.find("TooManyClientErrors") != std::string::npos);

    Client sandbox(*sim, "api.sandbox.push.apple.com");
    const auto good = sandbox.request("/3/device/5a01", apns_headers(), alert);
    CHECK(good.status == 200);
    CHECK(good.headers.count("apns-unique-id") == 1);
}

TEST_CASE("broadcast channels are made, listed, pushed to and removed", "[pns]") {
    const auto sim = support::start_sim(apns_options());
    Client client(*sim, "api-manage-broadcast.push.apple.com");
    const std::string channels = "/1/apps/org.example.pushhub/channels";
    RawHeaders headers = {{"authorization", "bearer " + apns_token()}};
    const auto made = client.request(channels, headers,
                                     R"({"message-storage-policy":1,"push-type":"LiveActivity"})");
    REQUIRE(made.status == 201);
    const std::string id = made.headers.at("apns-channel-id");
    CHECK(client.request(channels, headers, R"({"message-storage-policy":7})").status == 400);
    const auto all = client.request("/1/apps/org.example.pushhub/all-channels", headers, "", "GET");
    CHECK(json::parse(all.body)["channels"] == json::array({id}));
    headers.emplace_back("apns-channel-id", id);
    CHECK(json::parse(
              client.request(channels, headers, "", "GET").body)["message-storage-policy"] == 1);
    RawHeaders broadcast = headers;
    for (const auto& [name, value] : RawHeaders{
             {"apns-push-type", "liveactivity"}, {"apns-priority", "5"}, {"apns-expiration", "0"}})
        broadcast.emplace_back(name, value);
    const std::string send = "/4/broadcasts/apps/org.example.pushhub";
    const auto sent = client.request(send, broadcast, R"({"aps":{"event":"update"}})");
    CHECK(sent.status == 200);
    CHECK(sent.headers.count("apns-request-id") == 1);
    CHECK(client.request(send, broadcast, R"({"aps":{"event":"start"}})").status == 400);
    CHECK(client.request(channels, headers, "", "DELETE").status == 204);
    CHECK(client.request(channels, headers, "", "DELETE").status == 404);
    CHECK(client.request(send, broadcast, R"({"aps":{"event":"end"}})").status == 400);
    CHECK(sim->counters().received == 3);
}

TEST_CASE("the control port sets faults and reports on what came of them", "[pns]") {
    auto options = apns_options();
    options.order_key = "seq";
    const auto sim = support::start_sim(options);
    const auto port = sim->control_port();
    const json catalogue = json::parse(support::plain_http(port, "GET", "/faults").body);
    CHECK(catalogue["faults"].size() == pns::sim::fault_rows().size());
    CHECK(support::plain_http(port, "POST", "/faults", R"({"faults":["F99"]})").status == 400);
    CHECK(support::plain_http(port, "POST", "/faults",
                              R"({"seed":5,"faults":[{"fault":"F32","nth":2}]})")
              .status == 200);
    Client client(*sim);
    for (const int seq : {3, 4, 2})
        client.request("/3/device/aa01", apns_headers(),
                       R"({"aps":{},"seq":)" + std::to_string(seq) + "}");
    const json report = json::parse(support::plain_http(port, "GET", "/report").body);
    CHECK(report["seed"] == 5);
    CHECK(report["received"] == 3);
    CHECK(report["accepted"] == 2);
    CHECK(report["order_violations"] == 1);
    CHECK(report["to_dead"] == 1);
    CHECK(report["faults"]["F32"] == 1);
    CHECK(report["connects"] == 1);
    CHECK(report["provider_tokens_seen"] == 1);
    CHECK(report["clean"] == false);
    CHECK(report["service_us"]["max"].get<int>() > 0);
    const auto journal = support::plain_http(port, "GET", "/journal?handle=aa01").body;
    CHECK(std::count(journal.begin(), journal.end(), '\n') == 3);
    const json first = json::parse(journal.substr(0, journal.find('\n')));
    CHECK(first["accepted"] == true);
    CHECK(first["connection"] == 1);
    CHECK(first["stream"] == 1);
    CHECK(support::plain_http(port, "GET", "/journal?handle=bb").body.empty());
    CHECK(support::plain_http(port, "GET", "/events").body.find("tls h2") != std::string::npos);
    CHECK(support::plain_http(port, "POST", "/reset", R"({"faults":true})").status == 200);
    CHECK(json::parse(support::plain_http(port, "GET", "/report").body)["clean"] == true);
}
