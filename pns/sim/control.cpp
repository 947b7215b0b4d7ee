// Tested by tests/pns_sim_test.cpp.
//
// The port is a child of the simulator's first loop and serves a bounded number of connections,
// each one request after the other, with bounds on head and body. It listens on loopback only. A
// request reads or changes the journal, the rules and the faults through the Simulator's own
// calls, which any thread may make.
#include "pns/sim/control.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>

#include "pns/sim/provider.hpp"
#include "pns/sim/webpush.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::size_t control_body_bytes_max = 256 * 1024 * 1024;  // a table of a million handles
constexpr std::size_t connections_max = 64;

std::string text_answer(int status, std::string_view body, const char* type = "text/plain") {
    return h1_response(status, {{"content-type", type}}, body, true);
}

std::string problem(const std::string& message) {
    return text_answer(400, Json{{"error", message}}.dump(), "application/json");
}

std::string handles_text(const std::vector<Entry>& entries, bool with_times) {
    std::string out;
    for (const Entry& entry : entries) {
        if (with_times) out.append(std::to_string(entry.arrival_us)).append(" ");
        out.append(entry.handle).append("\n");
    }
    return out;
}

std::optional<Event> read_event(const Json& json) {
    Event event;
    const std::string kind = json.value("event", std::string());
    if (kind == "goaway")
        event.kind = Event::Kind::goaway;
    else if (kind == "reset")
        event.kind = Event::Kind::reset;
    else if (kind == "close")
        event.kind = Event::Kind::close;
    else if (kind == "settings")
        event.kind = Event::Kind::settings;
    else if (kind == "ping")
        event.kind = Event::Kind::ping;
    else
        return std::nullopt;
    event.error_code = json.value("error_code", 0U);
    event.reason = json.value("reason", std::string());
    event.streams_max = json.value("streams_max", event.streams_max);
    return event;
}

std::string answer_event(Simulator& simulator, const Json& json) {
    const std::string kind = json.value("event", std::string());
    if (kind == "revoke_tokens") {
        simulator.revoke_tokens();
    } else if (kind == "clock") {
        simulator.set_clock_offset_ms(json.value("offset_ms", std::int64_t{0}));
    } else if (kind == "each_alone") {
        simulator.set_each_alone(json.value("on", true));
    } else if (const auto event = read_event(json)) {
        simulator.event(*event);
    } else {
        return problem(
            "event must be goaway, settings, ping, reset, close, revoke_tokens, clock or "
            "each_alone");
    }
    return text_answer(200, "{}", "application/json");
}

std::string answer_post(Simulator& simulator, const Platform& platform, std::string_view path,
                        const std::string& body) {
    const Json json = body.empty() ? Json::object() : Json::parse(body, nullptr, false);
    if (!json.is_object()) return problem("the body must be a JSON object");
    if (path == "/event") return answer_event(simulator, json);
    if (path == "/reset") {
        simulator.reset();
        if (json.value("rules", false)) simulator.set_rules({});
        if (json.value("faults", false)) simulator.set_faults({});
    } else if (path == "/faults") {
        auto faults = read_faults(json, simulator.speaks_h1());
        if (const auto* wrong = std::get_if<std::string>(&faults)) return problem(*wrong);
        simulator.set_faults(std::get<std::vector<Fault>>(std::move(faults)),
                             json.value("seed", simulator.seed()));
    } else {
        auto rules = read_rules(json, platform);
        if (const auto* fault = std::get_if<std::string>(&rules)) return problem(*fault);
        if (json.value("add", false))
            simulator.add_rules(std::get<Rules>(std::move(rules)));
        else
            simulator.set_rules(std::get<Rules>(std::move(rules)));
    }
    return text_answer(200, "{}", "application/json");
}

}  // namespace

std::string answer_control(Simulator& simulator, const Platform& platform,
                           const H1Request& request) {
    const std::string_view target = request.target;
    const std::size_t question = std::min(target.find('?'), target.size());
    const std::string_view path = target.substr(0, question);
    auto query = read_form(target.substr(std::min(question + 1, target.size())));
    if (request.method == "GET" && path == "/counters")
        return text_answer(200, counters_json(std::string(platform.name), simulator.counters()),
                           "application/json");
    if (request.method == "GET" && path == "/report")
        return text_answer(200, report_json(std::string(platform.name), simulator),
                           "application/json");
    if (request.method == "GET" && path == "/faults")
        return text_answer(200, faults_json(), "application/json");
    if (request.method == "GET" && path == "/events")
        return text_answer(200, event_lines(simulator), "application/x-ndjson");
    if (request.method == "GET" && path == "/journal") {
        auto canonical = platform.normalise_handle(query["handle"]);
        const auto* handle = std::get_if<std::string>(&canonical);
        return text_answer(200, journal_lines(simulator, handle ? *handle : query["handle"]),
                           "application/x-ndjson");
    }
    if (request.method == "GET" && path == "/subscription") {
        const std::string made = subscription(simulator.trust(), query["endpoint"]);
        auto canonical = platform.normalise_handle(made);
        const auto* handle = std::get_if<std::string>(&canonical);
        if (!handle) return text_answer(400, "only for browsers: endpoint=<encoded https URL>\n");
        return text_answer(200, *handle, "application/json");
    }
    if (request.method == "GET" && path == "/received")
        return text_answer(200, handles_text(simulator.entries(query["outcome"] != "refused"),
                                             query.contains("times")));
    if (request.method == "GET" && path == "/bodies") {
        auto canonical = platform.normalise_handle(query["handle"]);
        const auto* handle = std::get_if<std::string>(&canonical);
        std::string body;  // what is no handle may be the name of a broadcast channel
        if (!simulator.body_of(handle ? *handle : query["handle"], body))
            return text_answer(404, "no such body\n");
        return text_answer(200, body, "application/octet-stream");
    }
    if (request.method == "POST" &&
        (path == "/rules" || path == "/faults" || path == "/reset" || path == "/event")) {
        // Members of the wrong type: this port is for tests, one answer for all of them will do.
        try {
            return answer_post(simulator, platform, path, request.body);
        } catch (const Json::exception&) {
            return problem("a member has the wrong type");
        }
    }
    return text_answer(404,
                       "GET /report /counters /received /journal /events /bodies /faults, "
                       "POST /rules /faults /reset /event\n");
}

Task<void> ControlPort::run() {
    co_await asio::this_coro::throw_if_cancelled(false);
    while (acceptor_.is_open()) {
        Socket socket(nursery_.executor());
        const auto [ec] = co_await acceptor_.async_accept(socket, as_result);
        if (ec) break;
        if (sockets_.size() < connections_max) nursery_.start(serve(std::move(socket)));
    }
}

Task<void> ControlPort::serve(Socket socket) {
    co_await asio::this_coro::throw_if_cancelled(false);
    sockets_.insert(&socket);
    H1Reader reader(control_body_bytes_max);
    H1Request request;
    std::vector<char> in(64 * 1024);
    bool open = true;
    while (open) {
        const auto state = reader.take(request);
        if (state == H1Reader::State::more) {
            const auto [ec, size] = co_await socket.async_read_some(asio::buffer(in), as_result);
            open = !ec;
            if (open) reader.feed({in.data(), size});
            continue;
        }
        const bool good = state == H1Reader::State::complete;
        std::string text = good ? answer_(request) : h1_response(reader.status(), {}, {}, false);
        const auto [ec, size] = co_await asio::async_write(socket, asio::buffer(text), as_result);
        open = good && !ec && request.keep_alive;
    }
    sockets_.erase(&socket);
}

void ControlPort::close() {
    error_code ignored;
    acceptor_.close(ignored);
    for (Socket* socket : sockets_) socket->close(ignored);
}

}  // namespace pns::sim
