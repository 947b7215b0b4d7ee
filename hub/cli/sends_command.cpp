// `pushhub sends`: arguments, the connection, the screen.
//
// Each request has a connection of its own and blocks; `watch` reads a stream of events until the
// send has ended, and connects again when the stream breaks. Text from the hub is made harmless
// before it reaches the terminal. Computing and drawing are in sends_watch.cpp, where tests reach
// them.

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <thread>

#include "hub/access/sas.hpp"
#include "hub/api/parts.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/sends_watch.hpp"
#include "hub/process/clock.hpp"
#include "hub/text/text.hpp"
#include "pns/h1_codec.hpp"

namespace hub {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::int64_t token_life_s = 3'600;
constexpr int reconnects_max = 20;

struct Target {
    std::string url;  ///< https://HOST:PORT, from --url or the connection string
    std::string host, port, hub;
    std::string rule, key;
    std::string ca_file;
};

/// One member of a connection string, names ignoring case.
std::string member(std::string_view text, std::string_view name) {
    while (!text.empty()) {
        const auto end = std::min(text.find(';'), text.size());
        const auto part = trimmed(text.substr(0, end));
        const auto equals = part.find('=');
        if (equals != std::string_view::npos && same_ignoring_case(part.substr(0, equals), name))
            return std::string(part.substr(equals + 1));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return {};
}

Target target_of(const std::string& url, const std::string& connection,
                 const std::string& hub_name) {
    Target target;
    target.rule = member(connection, "SharedAccessKeyName");
    target.key = member(connection, "SharedAccessKey");
    if (target.rule.empty() || target.key.empty()) {
        throw std::invalid_argument(
            "the connection string has no SharedAccessKeyName or SharedAccessKey");
    }
    std::string address = url.empty() ? member(connection, "Endpoint") : url;
    const auto scheme = address.find("://");
    if (scheme == std::string::npos)
        throw std::invalid_argument("--url must be https://HOST[:PORT][/HUB]");
    address = address.substr(scheme + 3);
    const auto slash = address.find('/');
    if (slash != std::string::npos) target.hub = address.substr(slash + 1);
    while (target.hub.ends_with('/')) target.hub.pop_back();
    address = address.substr(0, slash);
    if (!hub_name.empty()) target.hub = hub_name;
    if (target.hub.empty() || target.hub.find('/') != std::string::npos)
        throw std::invalid_argument("name the hub: --hub NAME, or --url https://HOST[:PORT]/HUB");
    const auto colon = address.rfind(':');
    const bool has_port =
        colon != std::string::npos && address.find(']', colon) == std::string::npos;
    target.host = address.substr(0, has_port ? colon : std::string::npos);
    target.port = has_port ? address.substr(colon + 1) : "443";
    target.url = "https://" + address;
    return target;
}

/// One exchange on a connection of its own. Blocking.
class Exchange {
  public:
    Exchange(const Target& target, const std::string& method, const std::string& path)
        : tls_(asio::ssl::context::tls_client), stream_(io_, tls_) {
        if (target.ca_file.empty()) {
            tls_.set_default_verify_paths();
        } else {
            trust_only(tls_.native_handle(), target.ca_file);
        }
        tcp::resolver resolver(io_);
        asio::connect(stream_.next_layer(), resolver.resolve(target.host, target.port));
        SSL_set_tlsext_host_name(stream_.native_handle(), target.host.c_str());
        SSL_set_verify(stream_.native_handle(), SSL_VERIFY_PEER, nullptr);
        stream_.set_verify_callback(asio::ssl::host_name_verification(target.host));
        stream_.handshake(asio::ssl::stream_base::client);
        std::string head = method + " " + path + " HTTP/1.1\r\nHost: " + target.host + ":" +
                           target.port + "\r\nConnection: close\r\nAccept: */*\r\n";
        if (method == "POST") head += "Content-Length: 0\r\n";
        head +=
            "Authorization: " +
            make_sas(target.url + "/", target.rule, target.key, now_ms() / 1'000 + token_life_s) +
            "\r\n\r\n";
        asio::write(stream_, asio::buffer(head));
    }

    /// Empty: the peer has closed.
    std::string_view read() {
        boost::system::error_code failure;
        const std::size_t size = stream_.read_some(asio::buffer(bytes_), failure);
        if (failure && failure != asio::error::eof && failure != asio::ssl::error::stream_truncated)
            throw boost::system::system_error(failure);
        return {bytes_.data(), size};
    }

  private:
    asio::io_context io_;
    asio::ssl::context tls_;
    asio::ssl::stream<tcp::socket> stream_;
    std::array<char, 16 * 1024> bytes_{};
};

std::string path_of(const Target& target, const std::string& rest) {
    std::string path = "/";
    append_percent_encoded(path, target.hub);
    return path + "/sends" + rest;
}

std::string encoded(const std::string& id) {
    std::string out;
    append_percent_encoded(out, id);
    return out;
}

/// Prints the answer; the exit code.
int call(const Target& target, const std::string& method, const std::string& path) {
    Exchange exchange(target, method, path);
    pns::H1Parser parser;
    auto step = pns::H1Parser::Step::more;
    while (step == pns::H1Parser::Step::more) {
        const auto bytes = exchange.read();
        step = bytes.empty() ? parser.feed_end() : parser.feed(bytes);
        if (bytes.empty()) break;
    }
    if (step != pns::H1Parser::Step::complete) throw std::runtime_error("the hub gave no answer");
    const auto& answer = parser.answer();
    const bool fine = answer.status < 300;
    std::fprintf(fine ? stdout : stderr, "%.*s\n", static_cast<int>(answer.body.size()),
                 answer.body.data());
    return fine ? 0 : 1;
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

struct Head {
    int status = 0;
    bool chunked = false;
    std::string rest;  ///< bytes behind it
};

Head read_head(Exchange& exchange) {
    constexpr std::size_t head_bytes_max = 64 * 1024;
    std::string text;
    std::size_t end = std::string::npos;
    while ((end = text.find("\r\n\r\n")) == std::string::npos) {
        const auto bytes = exchange.read();
        if (bytes.empty() || text.size() > head_bytes_max)
            throw std::runtime_error("the hub gave no answer");
        text += bytes;
    }
    Head head;
    std::sscanf(text.c_str(), "HTTP/1.%*d %d", &head.status);
    head.chunked =
        lower(text.substr(0, end)).find("\r\ntransfer-encoding: chunked") != std::string::npos;
    head.rest = text.substr(end + 4);
    return head;
}

/// Follows one stream of events. True: the send has ended.
bool follow(const Target& target, const std::string& id, Screen& screen) {
    Exchange exchange(target, "GET", path_of(target, "/" + encoded(id) + "/events"));
    const Head head = read_head(exchange);
    if (head.status != 200)
        throw std::invalid_argument("the hub answered " + std::to_string(head.status) + ": " +
                                    head.rest);
    EventReader reader(head.chunked);
    bool over = false;
    const auto on_event = [&](const EventReader::Event& event) {
        over = over || event.name == "end";
        screen.show(event.data, event.name == "end");
    };
    bool sound = reader.feed(head.rest, on_event);
    while (sound && !over && !reader.ended()) {
        const auto bytes = exchange.read();
        if (bytes.empty()) break;
        sound = reader.feed(bytes, on_event);
    }
    if (!sound) throw std::runtime_error("the hub sent no events");
    return over;
}

int watch(const Target& target, const std::string& id) {
    Screen screen;
    for (int tries = 0;;) {
        std::string why = "the stream of events ended";
        try {
            if (follow(target, id, screen)) return 0;
            tries = 0;
        } catch (const boost::system::system_error& failure) {
            why = failure.what();
        }
        if (++tries > reconnects_max) throw std::runtime_error(why);
        std::this_thread::sleep_for(std::chrono::seconds(1));
    }
}

}  // namespace

int sends_main(int argc, char** argv) {
    CLI::App app("Shows and steers the sends of a hub.", "pushhub sends");
    app.require_subcommand(1);
    std::string url, connection, hub_name, ca_file, id, query;
    const auto common = [&](CLI::App* verb, bool names_send) {
        if (names_send) verb->add_option("ID", id, "of the send")->required();
        verb->add_option("--connection-string", connection, "of a rule with the right Send")
            ->envname("PUSHHUB_CONNECTION_STRING")
            ->required();
        verb->add_option("--url", url,
                         "https://HOST[:PORT][/HUB]; else the connection string's Endpoint");
        verb->add_option("--hub", hub_name, "name of the hub, if --url does not say it");
        verb->add_option("--ca-file", ca_file, "PEM trust anchors; else the system's");
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
    CLI11_PARSE(app, argc, argv);
    try {
        Target target = target_of(url, connection, hub_name);
        target.ca_file = ca_file;
        if (watch_verb->parsed()) return watch(target, id);
        if (show_verb->parsed()) return call(target, "GET", path_of(target, "/" + encoded(id)));
        if (list_verb->parsed())
            return call(target, "GET", path_of(target, query.empty() ? "" : "?" + query));
        const std::string verb = app.get_subcommands().front()->get_name();
        return call(target, "POST", path_of(target, "/" + encoded(id) + "/" + verb));
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "pushhub sends: %s\n", failure.what());
        return 1;
    }
}

}  // namespace hub
