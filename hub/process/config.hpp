#pragma once

// Every setting of a process, with unit and bound. One TOML file; each key is also the flag
// `--key-name` and the environment variable PUSHHUB_KEY_NAME (flag beats environment beats file
// beats default).

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hub {

/// A number that a reload may change while any thread reads it.
template <class T>
class Live {
  public:
    Live(T value) : value_(value) {}  // NOLINT: in place of the number
    Live(const Live& other) : value_(T(other)) {}
    Live& operator=(const Live& other) { return *this = T(other); }
    Live& operator=(T value) {
        value_.store(value, std::memory_order_relaxed);
        return *this;
    }
    operator T() const { return value_.load(std::memory_order_relaxed); }  // NOLINT: as above

  private:
    std::atomic<T> value_;
};
using LiveSize = Live<std::size_t>;
using LiveTime = Live<std::int64_t>;

struct Config {
    std::filesystem::path data_dir = "pushhub-data";
    std::string listen = "127.0.0.1:8443";  ///< TLS, HTTP/1.1 and HTTP/2; port 0 = any free
    std::string listen_plain;  ///< HTTP without TLS, loopback addresses only; empty = off
    std::string
        listen_plain_public;  ///< the same on any address, behind what ends TLS; empty = off
    std::string
        admin_listen;  ///< HTTP without TLS on any address: health, metrics and version only
    std::vector<std::string>
        closed_pages;  ///< metrics, version, openapi.json: not on listen, listen_plain_public
    std::string tls_cert_file,
        tls_key_file;  ///< PEM; empty = a self-signed CA and leaf made under data_dir/tls
    std::vector<std::string>
        host_names;  ///< names clients may sign for; empty = whatever Host they used
    std::string namespace_name = "pushhub";
    std::string root_key_name = "RootManageSharedAccessKey";
    std::string root_key;  ///< secret; empty = made once and kept in data_dir/root.key
    /// Secret, valid beside root_key; empty = what is in data_dir/root-secondary.key, if anything.
    std::string root_key_secondary;

    unsigned lanes = 0;                            ///< loops; 0 = one per core
    unsigned store_threads = 8;                    ///< blocking reads of the registry
    LiveSize connections_max = 10'000;             ///< inbound, whole process
    LiveSize connections_per_address_max = 1'000;  ///< inbound, whole process
    /// ADDRESS or ADDRESS/BITS, many clients come from each: connections_per_address_max is not for
    /// them.
    std::vector<std::string> balancer_addresses{"127.0.0.0/8", "::1/128"};
    LiveSize handshakes_max = 1'000;           ///< of TLS at a time, whole process
    LiveSize request_bodies_mib_max = 256;     ///< being received, whole process; beyond it 503
    LiveSize answers_mib_max = 256;            ///< not read yet, whole process; beyond it 503
    LiveSize streams_max = 100;                ///< inbound HTTP/2 streams per connection
    LiveSize requests_in_flight_max = 20'000;  ///< beyond it 503 with Retry-After
    LiveTime header_timeout_ms = 10'000;       ///< a request's head must be complete by then
    LiveTime body_timeout_ms = 30'000;         ///< and its body by then
    LiveTime idle_timeout_ms = 120'000;        ///< keep-alive without a request
    LiveTime drain_ms_max = 10'000;            ///< SIGTERM: in-flight work gets this long
    LiveTime shutdown_delay_ms = 0;            ///< SIGTERM: not ready, but serving for this long
    LiveTime sas_clock_skew_s = 300;
    /// Steady rates beyond which requests answer 429 with Retry-After; a burst of one second's
    /// worth is free. 0 = off.
    LiveSize requests_per_second_per_key = 0;         ///< per rule of a hub or the namespace
    LiveSize requests_per_second_per_connection = 0;  ///< per inbound connection

    std::size_t posting_cache_mib = 256;
    std::size_t block_cache_mib = 256;
    std::size_t write_queue_changes_max = 65'536;
    unsigned partitions = 8;  ///< of hubs created from now on

    LiveSize expression_bytes_max = 16'384;
    LiveSize expression_depth_max = 256;
    /// Of places that all hubs share (hub/process/shares.hpp) one hub gets at most so much of what
    /// the others leave, and the rest is kept for all alike; 100 = first come, first served.
    LiveSize hub_share_percent = 80;
    LiveSize sends_open_max = 1'000;  ///< at work; beyond it sends answer 429 with Retry-After
    /// Held or paused: beyond it sends with a canary answer 429, and those that are paused count as
    /// at work.
    LiveSize sends_waiting_max = 1'000;
    LiveSize backlog_devices_max =
        50'000'000;                    ///< devices of open sends that are not final; beyond it 429
    LiveSize disk_free_mib_min = 256;  ///< with less free under data_dir sends answer 429
    LiveTime sends_paused_hours_max = 168;      ///< a paused or held send gives up after this long
    LiveSize event_streams_max = 1'000;         ///< readers of sends' progress; beyond it 429
    LiveSize sends_scheduled_max = 10'000;      ///< waiting for their time; beyond it 429
    LiveTime sends_kept_days = 30;              ///< after their end
    LiveTime send_bodies_kept_days = 30;        ///< and their bodies and direct handles
    LiveSize sends_kept_mib_max = 10'240;       ///< of their records; those that ended first go
    LiveTime idempotency_kept_s = 86'400;       ///< answers to requests with an Idempotency-Key
    LiveSize idempotency_keys_max = 1'000'000;  ///< kept at a time; beyond it 429
    /// Largest audience of a send without `PushHub-Allow: broadcast`; 0 = off. `audience_ceilings`
    /// has HUB=COUNT for hubs that differ.
    LiveSize audience_ceiling = 0;
    std::vector<std::string> audience_ceilings;
    bool strict_templates = false;  ///< a template that cannot be sent refuses its installation
    std::size_t fanout_chunk_devices = 512;
    std::size_t fanout_window_pushes = 8'192;  ///< per lane: loaded and not yet final
    LiveSize retries_waiting_max = 100'000;    ///< pushes per send waiting for a later attempt
    std::size_t device_results_max =
        200'000;  ///< results of single devices in memory, all open sends together
    bool gcm_through_fcmv1 =
        false;  ///< gcm registrations and sends go through the FCM v1 credential
    std::string trace = "failures";     ///< off, failures or all: pushes kept one by one
    std::int64_t trace_days = 7;        ///< they are kept
    std::size_t trace_mib_max = 1'024;  ///< on disk; the oldest go first
    std::size_t trace_buffer_mib = 32;  ///< waiting for the disk, all lanes together
    std::int64_t retirement_days = 30;  ///< why handles were retired is kept
    LiveTime web_push_grace_s = 60;     ///< a younger subscription called dead is asked twice
    std::int64_t checkpoint_ms = 250;   ///< longest time between two checkpoints of a running send

    LiveSize blob_upload_bytes_max = 64u << 20;  ///< of one blob written over HTTP
    LiveSize blobs_mib_max = 10'240;     ///< of each hub: what its clients and jobs wrote as blobs
    LiveTime blob_url_valid_s = 86'400;  ///< signed URLs of the blob area
    std::int64_t feedback_days = 30;     ///< feedback and error details are kept
    std::size_t feedback_mib_max = 1'024;  ///< on disk: feedback of a hub, error details of all
    unsigned jobs_running_max = 2;         ///< bulk jobs at work, one per hub
    LiveTime jobs_turn_ms = 10'000;        ///< of a job, while another hub's waits for a place
    std::vector<std::string>
        jobs_external_hosts;  ///< HOST, HOST:PORT, *.DOMAIN jobs may read and write; empty = none

    std::string provider_ca_file;  ///< extra trust anchors for providers; empty = the system's
    std::vector<std::string> connect_to;  ///< HOST:PORT=ADDRESS:PORT for providers; off when empty
    /// NAME, *.NAME or *, each with :PORT or without: whose Web Push endpoints are taken; empty =
    /// those of the known browsers.
    std::vector<std::string> push_services;
    /// The same form: hosts of WNS channels; empty = those of Microsoft.
    std::vector<std::string> wns_hosts;
    /// The same form: hosts besides the vendors' that Endpoint and BroadcastEndpoint of APNs and
    /// WindowsLiveEndpoint may name; empty = none.
    std::vector<std::string> credential_hosts;
    std::size_t provider_connections_max =
        0;  ///< per credential and lane; 0 = the provider's default
    std::size_t fcm_messages_per_minute =
        600'000;                   ///< quota of a Firebase project, whole process; 0 = no guard
    std::int64_t fcm_ramp_s = 60;  ///< after such a pause the rate rises to all of it in that time

    std::string log_level = "info";
    std::string log_format = "text";  ///< text or json
    bool core_dumps = false;          ///< a crash may leave an image of memory: keys and handles
};

/// What a command line asked for.
struct Settings {
    Config config;
    bool check_only = false;    ///< --check-config
    bool print_config = false;  ///< --print-config
    /// Variables PUSHHUB_... that name no setting, a line each: a typo, most often.
    std::vector<std::string> unknown_variables;
};
/// The command line ends here: `text` goes to stdout when exit_code is 0 (--help), else to stderr.
struct Ended {
    int exit_code = 2;
    std::string text;
    /// Of --check-config with settings that are wrong: what could be read, so that what is wrong
    /// with the files and directories that it names is told in the same run.
    std::optional<Settings> read{};
};

/// Reads flags (`args` without the program's name), environment and the file of --config, and
/// checks the whole. Everything that is wrong is told at once, a line each.
std::variant<Settings, Ended> read_settings(const std::vector<std::string>& args);

/// What is wrong with a configuration: one line each, naming key, value and what would be right.
/// Empty: sound.
std::vector<std::string> check_config(const Config& config);

/// All settings as TOML that --config reads, each with its meaning as a comment; secrets stand in a
/// comment, as "***".
std::string print_config(const Config& config);

/// What a reload did, by key.
struct Reloaded {
    std::vector<std::string> changed;  ///< in force now, or when what reads them again has done so
    std::vector<std::string> waiting;  ///< differ, and need a restart
};
/// Takes over from `fresh` what may change while a process runs. One thread calls it; others may
/// read the Live settings of `running` meanwhile.
Reloaded reload_config(Config& running, const Config& fresh);

/// An address and port of `listen` and its like. IPv6 addresses stand in brackets.
struct ListenAddress {
    std::string address;
    std::uint16_t port = 0;
    bool loopback = false;
};
/// False: not `ADDRESS:PORT` with a literal address.
bool parse_listen(const std::string& text, ListenAddress& out);

/// `HUB=COUNT`, an element of Config::audience_ceilings.
std::optional<std::pair<std::string, std::uint64_t>> parse_ceiling(std::string_view text);

}  // namespace hub
