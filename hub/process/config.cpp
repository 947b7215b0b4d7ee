// Tested by tests/hub_config_test.cpp.
//
// One table has a row for each setting: its key, the member of Config, bounds and help. Flags,
// environment, the TOML file, --print-config, reloads and the checks all walk this table, so a new
// setting is one row. read_settings() runs on the main thread, first before any other thread
// exists. What others read of a Config in use changes only where it is Live, by reload_config(). A
// value that cannot work is refused here and not where it is used.

#include "hub/process/config.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <sstream>
#include <type_traits>
#include <utility>

#include "hub/process/config_file.hpp"
#include "hub/text/hub_name.hpp"
#include "hub/text/text.hpp"
#include "pns/endpoint_guard.hpp"
#include "tagexpr/utf8.hpp"

namespace hub {

namespace {

using Member =
    std::variant<std::string Config::*, std::filesystem::path Config::*,
                 std::vector<std::string> Config::*, unsigned Config::*, std::size_t Config::*,
                 std::int64_t Config::*, LiveSize Config::*, LiveTime Config::*, bool Config::*>;
using Lists = std::vector<std::string> Config::*;

/// What a setting is good for while the process runs.
enum class Reread : std::uint8_t { only_if_live, at_reload };

/// One key: where it lives, its bounds (numbers only) and what it means.
struct Setting {
    const char* key;
    Member member;
    std::int64_t min;
    std::int64_t max;
    const char* help;
    bool secret = false;
    Reread reread = Reread::only_if_live;

    bool may_change() const {
        return reread == Reread::at_reload || std::holds_alternative<LiveSize Config::*>(member) ||
               std::holds_alternative<LiveTime Config::*>(member);
    }
};

const std::vector<Setting>& settings() {
    using C = Config;
    static const std::vector<Setting> all{
        {"data_dir", &C::data_dir, 0, 0, "where the store, keys and certificates live"},
        {"listen", &C::listen, 0, 0, "ADDRESS:PORT with TLS (HTTP/1.1 and HTTP/2); port 0 = any"},
        {"listen_plain", &C::listen_plain, 0, 0, "LOOPBACK:PORT without TLS; empty = off"},
        {"listen_plain_public", &C::listen_plain_public, 0, 0,
         "ADDRESS:PORT without TLS, for what ends TLS before it; empty = off"},
        {"admin_listen", &C::admin_listen, 0, 0,
         "ADDRESS:PORT without TLS for healthz, readyz, metrics and version only; empty = off"},
        {"closed_pages", &C::closed_pages, 0, 0,
         "of metrics, version, openapi.json: those that listen and listen_plain_public do not "
         "show"},
        {"tls_cert_file", &C::tls_cert_file, 0, 0, "PEM chain; empty = self-made in data_dir/tls",
         false, Reread::at_reload},
        {"tls_key_file", &C::tls_key_file, 0, 0, "PEM key of tls_cert_file", false,
         Reread::at_reload},
        {"host_names", &C::host_names, 0, 0,
         "names clients may sign for; empty = the Host they use"},
        {"namespace_name", &C::namespace_name, 0, 0, "name of the namespace"},
        {"root_key_name", &C::root_key_name, 0, 0, "rule with all rights on the namespace"},
        {"root_key", &C::root_key, 0, 0, "its key; empty = made once in data_dir/root.key", true,
         Reread::at_reload},
        {"root_key_secondary", &C::root_key_secondary, 0, 0,
         "valid beside it; empty = what is in data_dir/root-secondary.key", true,
         Reread::at_reload},
        {"lanes", &C::lanes, 0, 256, "loops (threads) for network work; 0 = one per core"},
        {"store_threads", &C::store_threads, 1, 256, "threads for blocking reads of the store"},
        {"connections_max", &C::connections_max, 1, 1'000'000, "inbound connections"},
        {"connections_per_address_max", &C::connections_per_address_max, 1, 1'000'000,
         "of them from one address; IPv6 by /64"},
        {"balancer_addresses", &C::balancer_addresses, 0, 0,
         "ADDRESS or ADDRESS/BITS from which many clients come: not bounded by "
         "connections_per_address_max"},
        {"handshakes_max", &C::handshakes_max, 1, 1'000'000, "TLS handshakes at a time"},
        {"request_bodies_mib_max", &C::request_bodies_mib_max, 1, 1'048'576,
         "request bodies being received; beyond it 503"},
        {"answers_mib_max", &C::answers_mib_max, 1, 1'048'576,
         "answers that clients have not read yet; beyond it 503"},
        {"streams_max", &C::streams_max, 1, 10'000, "inbound HTTP/2 streams per connection"},
        {"requests_in_flight_max", &C::requests_in_flight_max, 1, 1'000'000,
         "requests at work; beyond it 503"},
        {"header_timeout_ms", &C::header_timeout_ms, 10, 600'000,
         "for a handshake or request head"},
        {"body_timeout_ms", &C::body_timeout_ms, 10, 3'600'000, "for a request body or an answer"},
        {"idle_timeout_ms", &C::idle_timeout_ms, 10, 86'400'000, "keep-alive without a request"},
        {"drain_ms_max", &C::drain_ms_max, 0, 3'600'000,
         "work in flight at SIGTERM gets this long"},
        {"shutdown_delay_ms", &C::shutdown_delay_ms, 0, 600'000,
         "at SIGTERM readyz answers 503 and requests are served for this long"},
        {"sas_clock_skew_s", &C::sas_clock_skew_s, 0, 86'400, "tolerance for expired tokens"},
        {"requests_per_second_per_key", &C::requests_per_second_per_key, 0, 1'000'000,
         "per access rule; beyond it 429; 0 = no limit"},
        {"requests_per_second_per_connection", &C::requests_per_second_per_connection, 0, 1'000'000,
         "per inbound connection; beyond it 429; 0 = no limit"},
        {"posting_cache_mib", &C::posting_cache_mib, 1, 1'048'576, "memory for tag postings"},
        {"block_cache_mib", &C::block_cache_mib, 1, 1'048'576, "memory for RocksDB blocks"},
        {"write_queue_changes_max", &C::write_queue_changes_max, 16, 16'777'216,
         "changes waiting for the disk; beyond it 503"},
        {"partitions", &C::partitions, 1, 1'024, "of hubs created from now on"},
        {"expression_bytes_max", &C::expression_bytes_max, 64, 1'048'576,
         "length of a tag expression"},
        {"expression_depth_max", &C::expression_depth_max, 4, 10'000,
         "nesting of a tag expression"},
        {"hub_share_percent", &C::hub_share_percent, 1, 100,
         "of places that hubs share, one hub gets at most so much of what the others leave, and "
         "the rest is kept for all alike; 100 = first come, first served"},
        {"sends_open_max", &C::sends_open_max, 1, 1'000'000, "sends at work; beyond it 429"},
        {"sends_waiting_max", &C::sends_waiting_max, 1, 1'000'000,
         "held or paused sends; beyond it canaries answer 429 and paused sends count as at work"},
        {"backlog_devices_max", &C::backlog_devices_max, 1, 4'000'000'000,
         "devices of open sends that are not final; beyond it sends answer 429"},
        {"disk_free_mib_min", &C::disk_free_mib_min, 0, 1'048'576,
         "with less free under data_dir sends answer 429; 0 = do not look"},
        {"sends_paused_hours_max", &C::sends_paused_hours_max, 1, 8'760,
         "a paused or held send gives up what is left after this long"},
        {"event_streams_max", &C::event_streams_max, 0, 100'000,
         "readers of sends' progress; beyond it 429"},
        {"sends_scheduled_max", &C::sends_scheduled_max, 0, 10'000'000,
         "sends waiting for their time; beyond it 429"},
        {"sends_kept_days", &C::sends_kept_days, 1, 3'650,
         "ended sends and their results are kept"},
        {"send_bodies_kept_days", &C::send_bodies_kept_days, 0, 3'650,
         "their bodies and direct handles; 0 = dropped within a minute of the end"},
        {"sends_kept_mib_max", &C::sends_kept_mib_max, 1, 1'073'741'824,
         "records of ended sends, all hubs; beyond it those that ended first go"},
        {"idempotency_kept_s", &C::idempotency_kept_s, 60, 2'592'000,
         "how long answers to requests with an Idempotency-Key are kept"},
        {"idempotency_keys_max", &C::idempotency_keys_max, 0, 100'000'000,
         "such answers kept at a time; beyond it 429"},
        {"audience_ceiling", &C::audience_ceiling, 0, 1'000'000'000,
         "largest audience of a send without PushHub-Allow: broadcast; 0 = off"},
        {"audience_ceilings", &C::audience_ceilings, 0, 0,
         "HUB=COUNT, the same for single hubs; 0 = off"},
        {"strict_templates", &C::strict_templates, 0, 1,
         "an installation with a template that cannot be sent is refused"},
        {"fanout_chunk_devices", &C::fanout_chunk_devices, 1, 65'536, "devices read at once"},
        {"fanout_window_pushes", &C::fanout_window_pushes, 1, 1'048'576,
         "pushes in flight per lane"},
        {"retries_waiting_max", &C::retries_waiting_max, 0, 100'000'000,
         "pushes per send waiting for a later attempt"},
        {"device_results_max", &C::device_results_max, 0, 10'000'000,
         "results of single devices in memory, all open sends together"},
        {"gcm_through_fcmv1", &C::gcm_through_fcmv1, 0, 1,
         "gcm registrations and sends go through the hub's FCM v1 credential"},
        {"trace", &C::trace, 0, 0, "off, failures or all: pushes kept one by one"},
        {"trace_days", &C::trace_days, 1, 365, "they are kept"},
        {"trace_mib_max", &C::trace_mib_max, 8, 1'048'576,
         "of them on disk; beyond it the oldest go"},
        {"trace_buffer_mib", &C::trace_buffer_mib, 1, 16'384,
         "of them waiting for the disk; beyond it they are dropped and counted"},
        {"retirement_days", &C::retirement_days, 1, 3'650, "why handles were retired is kept"},
        {"web_push_grace_s", &C::web_push_grace_s, 0, 3'600,
         "a Web Push subscription younger than this is asked twice before it is dead; 0 = off"},
        {"checkpoint_ms", &C::checkpoint_ms, 1, 60'000, "between checkpoints of a running send"},
        {"blob_upload_bytes_max", &C::blob_upload_bytes_max, 1'024, 1'073'741'824,
         "bytes of a blob written over HTTP; beyond it 413"},
        {"blobs_mib_max", &C::blobs_mib_max, 1, 1'048'576,
         "on disk, uploads and files of jobs of each hub; beyond it uploads answer 409"},
        {"blob_url_valid_s", &C::blob_url_valid_s, 60, 31'536'000,
         "how long signed URLs of the blob area are valid"},
        {"feedback_days", &C::feedback_days, 1, 3'650, "feedback and error details are kept"},
        {"feedback_mib_max", &C::feedback_mib_max, 1, 1'048'576,
         "on disk, feedback of a hub, and error details of all; beyond it the oldest go"},
        {"jobs_running_max", &C::jobs_running_max, 1, 64, "bulk jobs at work, one per hub"},
        {"jobs_turn_ms", &C::jobs_turn_ms, 10, 3'600'000,
         "a job makes way after this time while another hub's waits, and goes on later"},
        {"jobs_external_hosts", &C::jobs_external_hosts, 0, 0,
         "HOST, HOST:PORT or *.DOMAIN that jobs may read and write over https; empty = none"},
        {"provider_ca_file", &C::provider_ca_file, 0, 0,
         "PEM trust anchors for providers; empty = the system's"},
        {"connect_to", &C::connect_to, 0, 0, "HOST:PORT=ADDRESS:PORT, reroutes providers"},
        {"push_services", &C::push_services, 0, 0,
         "NAME, *.NAME or *, with :PORT if not 443: Web Push services that subscriptions may name; "
         "empty = those of Chrome, Edge, Firefox and Safari"},
        {"wns_hosts", &C::wns_hosts, 0, 0,
         "the same for WNS channels that pushes go to; empty = *.notify.windows.com"},
        {"credential_hosts", &C::credential_hosts, 0, 0,
         "the same besides the vendors', for Endpoint and BroadcastEndpoint of APNs credentials "
         "and WindowsLiveEndpoint; empty = none"},
        {"provider_connections_max", &C::provider_connections_max, 0, 10'000,
         "per credential and lane; 0 = the provider's default"},
        {"fcm_messages_per_minute", &C::fcm_messages_per_minute, 0, 100'000'000,
         "quota of a Firebase project; 0 = no guard"},
        {"fcm_ramp_s", &C::fcm_ramp_s, 0, 3'600,
         "time in which the rate to FCM rises after a pause; 0 = at once"},
        {"log_level", &C::log_level, 0, 0, "debug, info, warn, error or off", false,
         Reread::at_reload},
        {"log_format", &C::log_format, 0, 0, "text or json"},
        {"core_dumps", &C::core_dumps, 0, 1,
         "a crash may leave an image of the memory, with keys and handles, and a debugger of the "
         "same user may attach"},
    };
    return all;
}

std::string flag_of(std::string_view key) {
    std::string flag = "--" + std::string(key);
    std::replace(flag.begin(), flag.end(), '_', '-');
    return flag;
}

std::string environment_of(std::string_view key) {
    std::string name = "PUSHHUB_" + std::string(key);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    return name;
}

std::string complaint(const Setting& setting, const std::string& value, const std::string& right) {
    const std::string shown = setting.secret ? "***" : value;
    return std::string(setting.key) + " = \"" + shown + "\": " + right;
}

std::string range_of(const Setting& setting) {
    return "must be a whole number from " + std::to_string(setting.min) + " to " +
           std::to_string(setting.max);
}

bool parse_number(const std::string& text, std::int64_t& out) {
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
    return failure == std::errc() && end == text.data() + text.size();
}

template <class T>
T number_of(const Live<T>& place) {
    return place;
}
template <class T>
T number_of(const T& place) {
    return place;
}
template <class T>
constexpr bool is_number =
    std::is_integral_v<T> || std::is_same_v<T, LiveSize> || std::is_same_v<T, LiveTime>;

/// Puts the text of one setting into its place. Returns a complaint, or nothing.
std::string assign(Config& config, const Setting& setting, const std::vector<std::string>& values) {
    const std::string value = values.empty() ? "" : values.back();
    if (!std::all_of(values.begin(), values.end(),
                     [](const std::string& text) { return tagexpr::is_utf8(text); }))
        return complaint(setting, "?", "must be UTF-8");
    std::string wrong;
    auto put = [&](auto member) {
        auto& place = config.*member;
        using Place = std::remove_reference_t<decltype(place)>;
        if constexpr (std::is_same_v<Place, std::vector<std::string>>) {
            // Blanks around an element are how people write lists.
            place.clear();
            for (const std::string& text : values) {
                if (const auto element = trimmed(text); !element.empty())
                    place.emplace_back(element);
            }
        } else if constexpr (std::is_same_v<Place, bool>) {
            if (value != "true" && value != "false")
                wrong = complaint(setting, value, "must be true or false");
            place = value == "true";
        } else if constexpr (is_number<Place>) {
            std::int64_t number = 0;
            if (!parse_number(value, number) || number < setting.min || number > setting.max) {
                wrong = complaint(setting, value, range_of(setting));
            } else {
                using Number = decltype(number_of(place));
                place = static_cast<Number>(number);
            }
        } else {
            place = value;
        }
    };
    std::visit(put, setting.member);
    return wrong;
}

std::vector<std::string> texts_of(const Config& config, const Setting& setting) {
    std::vector<std::string> out;
    auto take = [&](auto member) {
        const auto& place = config.*member;
        using Place = std::remove_cvref_t<decltype(place)>;
        if constexpr (std::is_same_v<Place, std::vector<std::string>>) {
            out = place;
        } else if constexpr (std::is_same_v<Place, bool>) {
            out.push_back(place ? "true" : "false");
        } else if constexpr (is_number<Place>) {
            out.push_back(std::to_string(number_of(place)));
        } else if constexpr (std::is_same_v<Place, std::filesystem::path>) {
            out.push_back(place.string());
        } else {
            out.push_back(place);
        }
    };
    std::visit(take, setting.member);
    return out;
}

/// The one of `names` that whoever wrote `name` most likely meant; empty: none is near.
std::string nearest(std::string_view name, const std::vector<std::string>& names) {
    std::string best;
    std::size_t least = name.size() / 3 + 2;
    for (const std::string& candidate : names) {
        // Levenshtein, a row at a time.
        std::vector<std::size_t> row(candidate.size() + 1);
        std::iota(row.begin(), row.end(), std::size_t{0});
        for (std::size_t i = 0; i < name.size(); ++i) {
            std::size_t diagonal = std::exchange(row[0], i + 1);
            for (std::size_t j = 0; j < candidate.size(); ++j) {
                const std::size_t changed = diagonal + (name[i] == candidate[j] ? 0 : 1);
                diagonal = row[j + 1];
                row[j + 1] = std::min({changed, diagonal + 1, row[j] + 1});
            }
        }
        if (row.back() >= least) continue;
        least = row.back();
        best = candidate;
    }
    return best;
}

std::vector<std::string> names_of(std::string (*spell)(std::string_view key)) {
    std::vector<std::string> out;
    for (const auto& setting : settings()) out.push_back(spell(setting.key));
    return out;
}

std::string unknown(const char* what, const std::string& name,
                    const std::vector<std::string>& known) {
    const std::string near = nearest(name, known);
    return std::string("unknown ") + what + " \"" + name + "\"" +
           (near.empty() ? "" : "; the nearest is " + near);
}

bool is_list(const Setting& setting) {
    return std::holds_alternative<Lists>(setting.member);
}

bool is_switch(const Setting& setting) {
    return std::holds_alternative<bool Config::*>(setting.member);
}

/// What a value of the file must be, if it is something else; empty: it is of the right kind.
std::string kind_wanted(const Setting& setting, FileValue::Kind kind) {
    using Kind = FileValue::Kind;
    if (is_list(setting))
        return kind == Kind::texts ? "" : "must be a list of texts, such as [\"a\", \"b\"]";
    const bool number = setting.max != 0 && !is_switch(setting);
    if (kind == (is_switch(setting) ? Kind::boolean : number ? Kind::number : Kind::text))
        return "";
    if (kind == Kind::texts) return "takes one value, not a list";
    const std::string bare = kind == Kind::text ? ", without quotes" : "";
    if (is_switch(setting)) return "must be true or false" + bare;
    return number ? range_of(setting) + bare : "must be a text in quotes";
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const auto end = std::min(text.find(','), text.size());
        out.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

/// Variables that other verbs read or write, and those that Kubernetes sets for a service of our
/// name.
bool is_known_variable(const std::string& name) {
    static const std::set<std::string> others{"PUSHHUB_CONNECTION_STRING", "PUSHHUB_HUB",
                                              "PUSHHUB_URL", "PUSHHUB_CA_FILE"};
    const auto has = [&name](const char* part) { return name.find(part) != std::string::npos; };
    return others.contains(name) || name.starts_with("PUSHHUB_SIM_") || has("_SERVICE_HOST") ||
           has("_SERVICE_PORT") || name == "PUSHHUB_PORT" || name.starts_with("PUSHHUB_PORT_");
}

std::vector<std::string> unknown_variables() {
    const auto known = names_of(environment_of);
    std::vector<std::string> out;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string name(*entry, std::string_view(*entry).find('='));
        if (!name.starts_with("PUSHHUB_") || is_known_variable(name)) continue;
        if (std::find(known.begin(), known.end(), name) == known.end())
            out.push_back(unknown("variable", name, known));
    }
    std::sort(out.begin(), out.end());
    return out;
}

bool one_of(const std::string& value, std::initializer_list<const char*> allowed) {
    return std::find(allowed.begin(), allowed.end(), value) != allowed.end();
}

bool is_host_name(const std::string& name) {
    return !name.empty() && name.size() <= 253 &&
           name.find_first_not_of(
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]_") ==
               std::string::npos;
}

bool is_host_port(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0) return false;
    std::int64_t port = 0;
    return parse_number(std::string(text.substr(colon + 1)), port) && port >= 1 && port <= 65'535;
}

bool is_network(const std::string& text) {
    namespace ip = boost::asio::ip;
    boost::system::error_code failure;
    if (text.find('/') == std::string::npos) {
        ip::make_address(text, failure);
    } else if (text.find(':') == std::string::npos) {
        ip::make_network_v4(text, failure);
    } else {
        ip::make_network_v6(text, failure);
    }
    return !failure;
}

bool readable(const std::string& path) {
    return std::ifstream(path).good() && !std::filesystem::is_directory(path);
}

std::string one_line(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
}

struct Wrong {
    std::string key, text;
};

struct Check {
    const Config& config;
    std::vector<Wrong> wrong;

    void expect(bool right, const char* key, const std::string& value, const char* what) {
        if (right) return;
        const auto& all = settings();
        const auto setting = std::find_if(all.begin(), all.end(), [&](const Setting& s) {
            return std::string_view(s.key) == key;
        });
        wrong.push_back({key, complaint(*setting, value, what)});
    }
    void numbers();
    void addresses();
    void files();
    void names();
};

void Check::numbers() {
    for (const auto& setting : settings()) {
        if (setting.min == 0 && setting.max == 0) continue;
        Config copy = config;
        auto complaint_text = assign(copy, setting, texts_of(config, setting));
        if (!complaint_text.empty()) wrong.push_back({setting.key, std::move(complaint_text)});
    }
}

void Check::addresses() {
    ListenAddress address;
    expect(parse_listen(config.listen, address), "listen", config.listen,
           "must be ADDRESS:PORT with a literal address, such as 0.0.0.0:8443 or [::1]:0");
    for (const auto& [key, text] : {std::pair{"listen_plain_public", &config.listen_plain_public},
                                    std::pair{"admin_listen", &config.admin_listen}}) {
        expect(text->empty() || parse_listen(*text, address), key, *text,
               "must be ADDRESS:PORT with a literal address, such as 0.0.0.0:8080");
    }
    if (config.listen_plain.empty()) return;
    const bool parsed = parse_listen(config.listen_plain, address);
    expect(parsed && address.loopback, "listen_plain", config.listen_plain,
           "must be a loopback ADDRESS:PORT, such as 127.0.0.1:8080; listen_plain_public is the "
           "setting for others");
}

void Check::files() {
    expect(!config.data_dir.empty(), "data_dir", "", "must name a directory");
    const bool both = config.tls_cert_file.empty() == config.tls_key_file.empty();
    expect(both, "tls_key_file", config.tls_key_file, "tls_cert_file and tls_key_file go together");
    constexpr const char* must_read = "must be a file that can be read";
    const auto check = [&](const char* key, const std::string& path) {
        expect(path.empty() || readable(path), key, path, must_read);
    };
    check("tls_cert_file", config.tls_cert_file);
    check("tls_key_file", config.tls_key_file);
    check("provider_ca_file", config.provider_ca_file);
}

void Check::names() {
    for (const auto& name : config.host_names) {
        expect(is_host_name(name), "host_names", name, "must be host names without scheme or path");
    }
    const auto& space = config.namespace_name;
    expect(is_host_name(space) && space.size() <= 50, "namespace_name", space,
           "must be 1 to 50 letters, digits or dashes");
    const auto& rule = config.root_key_name;
    expect(!rule.empty() && rule.size() <= 256 && rule.find_first_of("; &=\n") == std::string::npos,
           "root_key_name", rule, "must be 1 to 256 characters without blank, ';', '&' or '='");
    for (const auto& [name, key] : {std::pair{"root_key", &config.root_key},
                                    std::pair{"root_key_secondary", &config.root_key_secondary}}) {
        expect(key->empty() || (key->size() >= 16 && key->size() <= 256 &&
                                key->find_first_of("; \n") == std::string::npos),
               name, *key, "must be 16 to 256 characters without blank or ';'");
    }
    for (const auto& network : config.balancer_addresses) {
        expect(is_network(network), "balancer_addresses", network,
               "must be ADDRESS or ADDRESS/BITS, such as 10.0.0.0/8");
    }
    for (const auto& page : config.closed_pages) {
        expect(one_of(page, {"metrics", "version", "openapi.json"}), "closed_pages", page,
               "must be metrics, version or openapi.json");
    }
    std::set<std::string> named;
    for (const auto& ceiling : config.audience_ceilings) {
        const auto one = parse_ceiling(ceiling);
        expect(!one || named.insert(lower(one->first)).second, "audience_ceilings", ceiling,
               "names a hub that another element names, too");
        expect(parse_ceiling(ceiling).has_value(), "audience_ceilings", ceiling,
               "must be HUB=COUNT, with the name of a hub and a whole number");
    }
    for (const auto& host : config.jobs_external_hosts) {
        const auto name = host.starts_with("*.") ? host.substr(2) : host;
        expect(is_host_name(name) && (name.find(':') == std::string::npos || is_host_port(name)),
               "jobs_external_hosts", host, "must be HOST, HOST:PORT or *.DOMAIN");
    }
    for (const auto& route : config.connect_to) {
        const auto equals = route.find('=');
        expect(equals != std::string::npos && is_host_port(route.substr(0, equals)) &&
                   is_host_port(route.substr(equals + 1)),
               "connect_to", route, "must be HOST:PORT=ADDRESS:PORT");
    }
    for (const auto& [setting, hosts] : {std::pair{"push_services", &config.push_services},
                                         std::pair{"wns_hosts", &config.wns_hosts},
                                         std::pair{"credential_hosts", &config.credential_hosts}}) {
        for (const auto& host : *hosts) {
            expect(pns::EndpointGuard::parse({host}).has_value(), setting, host,
                   "must be NAME, *.NAME or *, with :PORT or without");
        }
        expect(hosts->size() <= pns::EndpointGuard::rules_max, setting,
               std::to_string(hosts->size()) + " entries", "must be at most 256 entries");
    }
    expect(one_of(config.trace, {"off", "failures", "all"}), "trace", config.trace,
           "must be off, failures or all");
    expect(one_of(config.log_level, {"debug", "info", "warn", "error", "off"}), "log_level",
           config.log_level, "must be debug, info, warn, error or off");
    expect(one_of(config.log_format, {"text", "json"}), "log_format", config.log_format,
           "must be text or json");
}

}  // namespace

bool parse_listen(const std::string& text, ListenAddress& out) {
    const auto colon = text.rfind(':');
    if (colon == std::string::npos) return false;
    std::string address = text.substr(0, colon);
    const bool bracketed = address.size() > 2 && address.front() == '[' && address.back() == ']';
    if (bracketed) address = address.substr(1, address.size() - 2);
    boost::system::error_code failure;
    const auto parsed = boost::asio::ip::make_address(address, failure);
    std::int64_t port = -1;
    if (failure || parsed.is_v6() != bracketed || !parse_number(text.substr(colon + 1), port) ||
        port < 0 || port > 65'535) {
        return false;
    }
    out.address = address;
    out.port = static_cast<std::uint16_t>(port);
    out.loopback = parsed.is_loopback();
    return true;
}

namespace {

std::vector<Wrong> everything_wrong(const Config& config) {
    Check check{config, {}};
    check.numbers();
    check.addresses();
    check.files();
    check.names();
    return std::move(check.wrong);
}

/// Settings from all places, with where each came from.
class Reader {
  public:
    void take(const Setting& setting, const std::vector<std::string>& values,
              const std::string& from) {
        add(from, assign(config, setting, values));
        from_[setting.key] = from;
    }
    void add(const std::string& from, const std::string& text) {
        if (!text.empty()) wrong.push_back((from.empty() ? "" : from + ": ") + text);
    }
    void take_file(const std::filesystem::path& path);
    void take_environment();
    void check_all() {
        for (const Wrong& one : everything_wrong(config)) add(from_[one.key], one.text);
    }

    Config config;
    std::vector<std::string> wrong;

  private:
    std::map<std::string, std::string> from_;  ///< by key; a flag needs no place
};

void Reader::take_file(const std::filesystem::path& path) {
    const FileValues file = read_config_file(path);
    if (!file.wrong.empty()) wrong.push_back(file.wrong);
    const auto& all = settings();
    for (const FileValue& value : file.values) {
        const std::string from = path.string() + ":" + std::to_string(value.line);
        const auto setting = std::find_if(
            all.begin(), all.end(), [&value](const Setting& s) { return s.key == value.key; });
        if (setting == all.end()) {
            add(from, unknown("key", value.key,
                              names_of([](std::string_view key) { return std::string(key); })));
            continue;
        }
        const std::string other = kind_wanted(*setting, value.kind);
        if (other.empty()) {
            take(*setting, value.texts, from);
        } else {
            std::string shown;
            for (const std::string& text : value.texts) shown += (shown.empty() ? "" : ", ") + text;
            add(from, complaint(*setting, shown, other));
        }
    }
}

void Reader::take_environment() {
    for (const auto& setting : settings()) {
        const std::string name = environment_of(setting.key);
        const char* value = std::getenv(name.c_str());
        if (value == nullptr || *value == '\0') continue;
        take(setting, is_list(setting) ? split(value) : std::vector<std::string>{value}, name);
    }
}

/// Arguments that are no setting: flags by themselves, as what stands behind one is its value.
std::vector<std::string> unknown_arguments(const std::vector<std::string>& extras) {
    const auto known = names_of(flag_of);
    std::vector<std::string> out;
    for (const std::string& text : extras) {
        if (text.starts_with("-"))
            out.push_back(unknown("flag", text.substr(0, text.find('=')), known));
    }
    if (out.empty()) {
        for (const std::string& text : extras)
            out.push_back("\"" + text + "\" is no flag and no value of one");
    }
    return out;
}

}  // namespace

std::vector<std::string> check_config(const Config& config) {
    std::vector<std::string> lines;
    for (auto& one : everything_wrong(config)) lines.push_back(std::move(one.text));
    return lines;
}

std::string print_config(const Config& config) {
    std::ostringstream out;
    for (const auto& setting : settings()) {
        const auto texts = texts_of(config, setting);
        const bool hidden = setting.secret && !texts.front().empty();
        out << "# " << setting.help << '\n' << (hidden ? "# " : "") << setting.key << " = ";
        if (is_list(setting)) {
            out << '[';
            for (std::size_t i = 0; i < texts.size(); ++i) {
                out << (i == 0 ? "" : ", ") << toml_string(texts[i]);
            }
            out << ']';
        } else if (setting.max != 0) {
            out << texts.front();
        } else {
            out << toml_string(hidden ? "***" : texts.front());
        }
        out << '\n';
    }
    return out.str();
}

Reloaded reload_config(Config& running, const Config& fresh) {
    Reloaded out;
    for (const auto& setting : settings()) {
        const auto texts = texts_of(fresh, setting);
        if (texts == texts_of(running, setting)) continue;
        (setting.may_change() ? out.changed : out.waiting).emplace_back(setting.key);
        if (setting.may_change()) assign(running, setting, texts);
    }
    return out;
}

std::variant<Settings, Ended> read_settings(const std::vector<std::string>& args) {
    Settings result;
    Reader reader;
    std::string file;
    std::map<const Setting*, std::vector<std::string>> flags;
    CLI::App app(
        "Runs the push notification hub.\n\nEvery setting is a flag, an environment variable "
        "PUSHHUB_<SETTING> and a key of the TOML file,\nin that order of precedence.",
        "pushhub serve");
    app.allow_extras();
    auto* const config_flag = app.add_option("--config", file, "TOML file with settings");
    app.add_flag("--check-config", result.check_only, "check all settings and exit");
    app.add_flag("--print-config", result.print_config, "print all settings as TOML and exit");
    app.get_formatter()->column_width(34);
    for (const auto& setting : settings()) {
        auto take = [&flags, &setting](const std::vector<std::string>& values) {
            flags[&setting] = values;
        };
        auto* option = app.add_option_function<std::vector<std::string>>(
            flag_of(setting.key), std::move(take), setting.help);
        std::string preset;
        if (!setting.secret) {
            for (const auto& text : texts_of(result.config, setting)) preset += text;
        }
        option->default_str(preset);
        if (is_list(setting)) {
            option->delimiter(',')->expected(1, 1'000)->type_name("LIST");
        } else {
            option->expected(1)->type_name(is_switch(setting) ? "true|false"
                                           : setting.max != 0 ? "NUMBER"
                                                              : "TEXT");
            option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
        }
    }
    try {
        std::vector<std::string> reversed(args.rbegin(), args.rend());  // taken off the back
        app.parse(std::move(reversed));
    } catch (const CLI::CallForHelp&) {
        return Ended{0, app.help()};
    } catch (const CLI::ParseError& failure) {
        reader.add("", one_line(failure.what()));
    }
    for (const auto& line : unknown_arguments(app.remaining())) reader.add("", line);
    if (!file.empty()) {
        reader.take_file(file);
    } else if (config_flag->count() > 0) {
        reader.add("", "--config is blank: it must name a file");
    }
    reader.take_environment();
    for (const auto& [setting, values] : flags) reader.take(*setting, values, "");
    reader.check_all();
    result.config = std::move(reader.config);
    result.unknown_variables = unknown_variables();
    if (reader.wrong.empty()) return result;
    std::string lines;
    for (const auto& line : reader.wrong) lines += (lines.empty() ? "" : "\n") + line;
    Ended ended{2, std::move(lines)};
    if (result.check_only) ended.read = std::move(result);
    return ended;
}

std::optional<std::pair<std::string, std::uint64_t>> parse_ceiling(std::string_view text) {
    constexpr std::int64_t count_max = 10'000'000'000;
    const auto equals = text.rfind('=');
    std::int64_t count = 0;
    if (equals == std::string_view::npos || equals == 0) return std::nullopt;
    if (!parse_number(std::string(text.substr(equals + 1)), count)) return std::nullopt;
    if (count < 0 || count > count_max || !is_hub_name(text.substr(0, equals))) return std::nullopt;
    return std::pair(std::string(text.substr(0, equals)), static_cast<std::uint64_t>(count));
}

}  // namespace hub
