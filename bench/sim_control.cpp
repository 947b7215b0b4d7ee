#include "bench/sim_control.hpp"

#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "hub/cli/client.hpp"

namespace bench {
namespace {

constexpr int resets_max = 400;

/// The body of the answer; nothing if there is nothing at `path`.
std::optional<std::string> found(const std::string& url, const std::string& method,
                                 const std::string& path, const std::string& body = {}) {
    hub::ClientReply reply = hub::plain_call(url, method, path, body);
    if (reply.status == 404) return std::nullopt;
    if (reply.status < 200 || reply.status > 299)
        throw std::runtime_error("the simulator answers " + method + " " + path + " with " +
                                 std::to_string(reply.status) + ": " + reply.body.substr(0, 200));
    return std::move(reply.body);
}

std::string checked(const std::string& url, const std::string& method, const std::string& path,
                    const std::string& body = {}) {
    auto answer = found(url, method, path, body);
    if (!answer) throw std::runtime_error("the simulator has nothing at " + method + " " + path);
    return std::move(*answer);
}

/// Percent-encoded but for RFC 3986's unreserved characters.
std::string encoded(const std::string& text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    constexpr std::string_view plain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    std::string out;
    for (const char c : text) {
        if (plain.find(c) != std::string_view::npos) {
            out += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        out += '%';
        out += digits[byte >> 4];
        out += digits[byte & 15];
    }
    return out;
}

}  // namespace

void SimControl::kill(const std::vector<std::string>& handles) const {
    nlohmann::json rules;
    rules["add"] = true;
    nlohmann::json& table = rules["handles"];
    table = nlohmann::json::object();
    for (const std::string& handle : handles) table[handle] = "gone";
    checked(url_, "POST", "/rules", rules.dump());
}

void SimControl::set_faults(const nlohmann::json& faults) const {
    checked(url_, "POST", "/faults", faults.dump());
}

void SimControl::answer_each_alone(bool on) const {
    const nlohmann::json event{{"event", "each_alone"}, {"on", on}};
    checked(url_, "POST", "/event", event.dump());
}

void SimControl::reset_connections() const {
    for (int i = 0; i < resets_max; ++i) {
        const auto counters = nlohmann::json::parse(checked(url_, "GET", "/counters"));
        if (counters.value("connections", 0) == 0) return;
        checked(url_, "POST", "/event", R"({"event":"reset"})");
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    throw std::runtime_error("the simulator does not let go of its connections");
}

void SimControl::forget() const {
    checked(url_, "POST", "/reset", "{}");
}

SimControl::Accepted SimControl::accepted() const {
    Accepted out;
    std::istringstream lines(checked(url_, "GET", "/received"));
    for (std::string line; std::getline(lines, line);)
        if (!line.empty()) out.handles.push_back(std::move(line));
    const Taken figures = taken();
    out.first_at_ms = figures.first_at_us / 1000;
    out.last_at_ms = figures.last_at_us / 1000;
    return out;
}

SimControl::Taken SimControl::taken() const {
    const auto counters = nlohmann::json::parse(checked(url_, "GET", "/counters"));
    return {counters.value("accepted", std::uint64_t{0}),
            counters.value("first_push_us", std::int64_t{0}),
            counters.value("last_push_us", std::int64_t{0})};
}

std::uint64_t SimControl::doubles() const {
    const auto counters = nlohmann::json::parse(checked(url_, "GET", "/counters"));
    return counters.value("doubles", std::uint64_t{0});
}

std::vector<SimControl::Arrival> SimControl::arrivals() const {
    std::vector<Arrival> out;
    std::istringstream lines(checked(url_, "GET", "/received?times=1"));
    for (Arrival arrival; lines >> arrival.at_us >> arrival.handle;) out.push_back(arrival);
    return out;
}

std::optional<std::string> SimControl::body_of(const std::string& handle) const {
    return found(url_, "GET", "/bodies?handle=" + encoded(handle));
}

}  // namespace bench
