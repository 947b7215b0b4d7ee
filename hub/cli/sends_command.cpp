// `pushhub sends`: arguments, the connection, the screen.
//
// Each request has a connection of its own and blocks; `watch` reads a stream of events until the
// send has ended, and connects again when the stream breaks. Text from the hub is made harmless
// before it reaches the terminal. Computing and drawing are in sends_watch.cpp, where tests reach
// them.

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "hub/access/sas.hpp"
#include "hub/cli/hub_address.hpp"
#include "hub/cli/sends_watch.hpp"
#include "hub/process/http_client.hpp"
#include "hub/text/text.hpp"
#include "pns/clock.hpp"
#include "pns/exit_code.hpp"
#include "pns/sim/arguments.hpp"

namespace hub {

namespace {

constexpr std::int64_t signature_life_s = 3'600;
constexpr int reconnects_max = 20;
constexpr std::int64_t timeout_ms = 60'000;  // a stream of events says something more often

/// The hub gave no answer.
struct Unreachable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

HttpCall call_of(const HubTarget& target, const std::string& method, const std::string& path) {
    HttpCall call;
    call.method = method;
    call.url = target.url + path;
    call.headers.push_back("Authorization: " +
                           make_sas(target.url + "/", target.rule, target.key,
                                    pns::system_clock().wall_ms() / 1'000 + signature_life_s));
    return call;
}

/// Nothing when the hub cannot be reached now but perhaps later: `why` says what stood in the way.
std::optional<HttpReply> exchange(const HubTarget& target, const HttpCall& call, std::string& why) {
    HttpClient::Settings settings;
    settings.ca_file = target.ca_file;
    settings.system_anchors = target.ca_file.empty();
    settings.timeout_ms = timeout_ms;
    auto called = HttpClient(pns::system_clock(), std::move(settings)).call(call);
    if (auto* reply = std::get_if<HttpReply>(&called)) return std::move(*reply);
    auto& failure = std::get<HttpFailure>(called);
    why = target.host + ": " + failure.why;
    if (failure.hopeless) throw Unreachable(why);
    return std::nullopt;
}

std::string path_of(const HubTarget& target, const std::string& rest) {
    std::string path = "/";
    append_percent_encoded(path, target.hub);
    return path + "/sends" + rest;
}

std::string encoded(const std::string& id) {
    std::string out;
    append_percent_encoded(out, id);
    return out;
}

/// Prints the answer. The exit code.
int call(const HubTarget& target, const std::string& method, const std::string& path) {
    std::string why;
    const auto answer = exchange(target, call_of(target, method, path), why);
    if (!answer) throw Unreachable(why);
    const bool fine = answer->status < 300;
    std::fprintf(fine ? stdout : stderr, "%s\n", answer->body.c_str());
    return fine ? pns::exit_done : pns::exit_failed;
}

/// Shows the figures as they come: redrawn on a terminal, else a line a second.
class Screen {
  public:
    void show(const std::string& figures, bool last) {
        const auto now = std::chrono::steady_clock::now();
        if (!terminal_) {
            if (!last && now - shown_at_ < std::chrono::seconds(1)) return;
            shown_at_ = now;
            std::puts(sends_watch_line(figures).c_str());
            std::fflush(stdout);
            return;
        }
        const auto lines = sends_watch_lines(figures, width());
        if (height_ > 0) std::printf("\x1b[%zuA", height_);
        for (const auto& line : lines) std::printf("\x1b[2K%s\n", line.c_str());
        if (height_ > lines.size()) std::fputs("\x1b[J", stdout);
        height_ = lines.size();
        std::fflush(stdout);
    }

  private:
    static std::size_t width() {
        winsize size{};
        const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
        return known ? size.ws_col : 80;
    }

    const bool terminal_ = isatty(STDOUT_FILENO) != 0;
    std::chrono::steady_clock::time_point shown_at_{};
    std::size_t height_ = 0;
};

/// Follows one stream of events: the last figures, if the send has ended. `why`: what broke the
/// stream, if not the hub ended it.
std::optional<std::string> follow(const HubTarget& target, const std::string& id, Screen& screen,
                                  std::string& why) {
    constexpr std::size_t refusal_bytes_max = 64 * 1024;
    EventReader reader;
    std::string refusal;
    bool sound = true;
    std::optional<std::string> last;
    const auto on_event = [&](const EventReader::Event& event) {
        if (event.name == "end") last = event.data;
        screen.show(event.data, event.name == "end");
    };
    HttpCall call = call_of(target, "GET", path_of(target, "/" + encoded(id) + "/events"));
    call.on_bytes = [&](int status, std::string_view bytes) {
        if (status == 200) sound = reader.feed(bytes, on_event);
        if (status != 200) refusal += bytes;
        return sound && !last && refusal.size() < refusal_bytes_max;
    };
    const auto answer = exchange(target, call, why);
    if (answer && answer->status != 200)
        throw std::runtime_error("the hub answered " + std::to_string(answer->status) + ": " +
                                 refusal);
    if (!sound) throw std::runtime_error("the hub sent no events");
    return last;
}

int watch(const HubTarget& target, const std::string& id) {
    Screen screen;
    for (int tries = 0;;) {
        std::string why;
        if (const auto last = follow(target, id, screen, why)) {
            const std::string undelivered = sends_undelivered(*last);
            if (undelivered.empty()) return pns::exit_done;
            std::fprintf(stderr, "pushhub sends: %s\n", undelivered.c_str());
            return pns::exit_undelivered;
        }
        if (why.empty()) {
            tries = 0;
            why = "the stream of events ended";
        }
        if (++tries > reconnects_max) throw Unreachable(why);
        std::this_thread::sleep_for(std::chrono::seconds(1));
    }
}

}  // namespace

int sends_main(int argc, char** argv) {
    CLI::App app("Shows and steers the sends of a hub.", "pushhub sends");
    app.require_subcommand(1);
    // Not CLI11's environment: it fills what verbs share from verbs that were not called, too.
    HubArguments flags;
    std::string id, query;
    const auto common = [&](CLI::App* verb, bool names_send) {
        if (names_send) verb->add_option("ID", id, "of the send")->required();
        verb->add_option("--connection-string", flags.connection,
                         "of a rule with the right Send (PUSHHUB_CONNECTION_STRING)");
        verb->add_option("--url", flags.url,
                         "https://HOST[:PORT][/HUB], or http:// for a hub without TLS "
                         "(PUSHHUB_URL); else the connection string's Endpoint");
        verb->add_option("--hub", flags.hub,
                         "name of the hub, if --url does not say it (PUSHHUB_HUB)");
        verb->add_option("--ca-file", flags.ca_file,
                         "PEM trust anchors (PUSHHUB_CA_FILE); else the system's");
        return verb;
    };
    CLI::App* watch_verb =
        common(app.add_subcommand("watch", "progress, live, until the send has ended"), true);
    CLI::App* show_verb = common(app.add_subcommand("show", "the figures of one send"), true);
    CLI::App* list_verb = common(app.add_subcommand("list", "sends, newest first"), false);
    list_verb->add_option("--query", query, "such as state=Processing&top=10");
    common(app.add_subcommand("pause", "nothing new goes out"), true);
    common(app.add_subcommand("resume", "go on, also after a canary"), true);
    common(app.add_subcommand("cancel", "drop what is not out"), true);
    if (const auto ended = pns::sim::read_arguments(app, argc, argv)) return *ended;
    std::signal(SIGPIPE, SIG_IGN);
    try {
        const HubTarget target = hub_target(flags, hub_environment());
        if (!list_verb->parsed() && trimmed(id).empty())
            throw std::invalid_argument("ID is blank: name a send");
        if (watch_verb->parsed()) return watch(target, id);
        if (show_verb->parsed()) return call(target, "GET", path_of(target, "/" + encoded(id)));
        if (list_verb->parsed())
            return call(target, "GET", path_of(target, query.empty() ? "" : "?" + query));
        const std::string verb = app.get_subcommands().front()->get_name();
        return call(target, "POST", path_of(target, "/" + encoded(id) + "/" + verb));
    } catch (const std::invalid_argument& wrong) {
        std::fprintf(stderr, "pushhub sends: %s\n", wrong.what());
        return pns::exit_usage;
    } catch (const Unreachable& failure) {
        std::fprintf(stderr, "pushhub sends: no answer from %s\n", failure.what());
        return pns::exit_unreachable;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "pushhub sends: %s\n", failure.what());
        return pns::exit_failed;
    }
}

}  // namespace hub
