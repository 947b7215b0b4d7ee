// Tested by tests/pns_sim_test.cpp.
#include "pns/sim/control.hpp"

#include <array>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>

#include "pns/sim/provider.hpp"

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

std::string handles_text(const std::vector<Entry>& entries) {
    std::string out;
    for (const Entry& entry : entries) out.append(entry.handle).append("\n");
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
    } else if (const auto event = read_event(json)) {
        simulator.event(*event);
    } else {
        return problem("event must be goaway, reset, close, settings, revoke_tokens or clock");
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

std::string counters_json(const std::string& platform, const Counters& counters) {
    const Json json = {{"platform", platform},
                       {"received", counters.received},
                       {"accepted", counters.accepted},
                       {"refused", counters.refused},
                       {"refused_total", counters.refused_total},
                       {"doubles", counters.doubles},
                       {"streams_peak", counters.streams_peak},
                       {"connects", counters.connects},
                       {"connections", counters.connections},
                       {"tokens_minted", counters.tokens_minted},
                       {"tokens_refused", counters.tokens_refused},
                       {"journal_left_out", counters.journal_left_out},
                       {"first_push_us", counters.first_push_us},
                       {"last_push_us", counters.last_push_us},
                       {"cpu_seconds", counters.cpu_seconds}};
    return json.dump();
}

std::string answer_control(Simulator& simulator, const Platform& platform,
                           const H1Request& request) {
    const std::string_view target = request.target;
    const std::size_t question = std::min(target.find('?'), target.size());
    const std::string_view path = target.substr(0, question);
    auto query = read_form(target.substr(std::min(question + 1, target.size())));
    if (request.method == "GET" && path == "/counters")
        return text_answer(200, counters_json(std::string(platform.name), simulator.counters()),
                           "application/json");
    if (request.method == "GET" && path == "/received")
        return text_answer(200, handles_text(simulator.entries(query["outcome"] != "refused")));
    if (request.method == "GET" && path == "/bodies") {
        auto canonical = platform.normalise_handle(query["handle"]);
        const auto* handle = std::get_if<std::string>(&canonical);
        std::string body;
        if (!handle || !simulator.body_of(*handle, body)) return text_answer(404, "no such body\n");
        return text_answer(200, body, "application/octet-stream");
    }
    if (request.method == "POST" && (path == "/rules" || path == "/reset" || path == "/event")) {
        // Members of the wrong type: this port is for tests, one answer for all of them will do.
        try {
            return answer_post(simulator, platform, path, request.body);
        } catch (const Json::exception&) {
            return problem("a member has the wrong type");
        }
    }
    return text_answer(404, "GET /counters /received /bodies, POST /rules /reset /event\n");
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
