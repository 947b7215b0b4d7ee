// Tested by tests/hub_service_test.cpp.
//
// Impl's members are in the order in which they are built, and each may use only those above it.
// begin() reads the open sends, lets scheduler and fan-out take them up, and only then opens the
// listeners to requests. The thread that owns the service starts and stops it; the lanes run
// everything else, and lane 0 also the scheduler and the sweep. stop() goes the other way, each
// step with a deadline: listeners, scheduler, fan-out (finished or parked), jobs, loops, store
// threads, registry, trace, feedback. Nothing may call into a part that a later step has stopped.

#include "hub/service.hpp"

#include <algorithm>
#include <atomic>
#include <boost/asio/ip/address.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <new>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "hub/access/namespace_rules.hpp"
#include "hub/api/events.hpp"
#include "hub/api/idempotency.hpp"
#include "hub/api/routes.hpp"
#include "hub/api/test_send.hpp"
#include "hub/bulk/blobs.hpp"
#include "hub/bulk/feedback.hpp"
#include "hub/bulk/jobs.hpp"
#include "hub/device/credential_ends.hpp"
#include "hub/http/rate_limits.hpp"
#include "hub/process/descriptors.hpp"
#include "hub/process/log.hpp"
#include "hub/process/memory_reserve.hpp"
#include "hub/process/metrics.hpp"
#include "hub/process/private_file.hpp"
#include "hub/process/process_figures.hpp"
#include "hub/process/turns.hpp"
#include "hub/send/admission.hpp"
#include "hub/send/fanout.hpp"
#include "hub/send/prune_gates.hpp"
#include "hub/send/scheduler.hpp"
#include "hub/send/token_files.hpp"
#include "hub/send/trace.hpp"
#include "hub/server/authorise.hpp"
#include "hub/server/dispatch.hpp"
#include "hub/server/listener.hpp"
#include "hub/server/tls_files.hpp"
#include "hub/text/ids.hpp"
#include "hub/text/times.hpp"
#include "pns/alarm.hpp"
#include "pns/certificate_file.hpp"
#include "pns/nursery.hpp"
#include "pns/platform.hpp"

namespace hub {

namespace {

namespace asio = boost::asio;

unsigned lane_count(const Config& config) {
    return config.lanes != 0 ? config.lanes : std::max(1U, std::thread::hardware_concurrency());
}

/// `writable` follows whether the store takes writes.
std::unique_ptr<registry::Registry> open_registry(const Config& config,
                                                  const DescriptorShares& descriptors,
                                                  std::atomic<bool>& writable) {
    registry::Options options;
    // The answers of a batch wake each lane once.
    options.on_answering = [](bool begins) { begins ? Mailbox::collect() : Mailbox::deliver(); };
    options.on_writable = [&writable](boost::system::error_code failure) {
        writable = !failure.failed();
        if (failure) {
            log_error("the store cannot be written: changes and sends are refused until it can",
                      {{"error", failure.message()}});
        } else {
            log_warn("the store can be written again", {});
        }
    };
    options.directory = config.data_dir / "store";
    options.open_tables_max = descriptors.store_tables_max;
    options.posting_cache_bytes_max = config.posting_cache_mib << 20;
    options.block_cache_bytes = config.block_cache_mib << 20;
    options.write_queue_changes_max = config.write_queue_changes_max;
    std::string why;
    auto opened = registry::Registry::open(options, why);
    if (!opened) throw std::runtime_error(why.empty() ? opened.error().message() : why);
    if (!why.empty()) log_warn(why, {});
    return std::move(*opened);
}

std::filesystem::path root_key_path(const Config& config) {
    return config.data_dir / "root.key";
}

/// What is made where nothing is there yet: at the start only. A running hub that misses its key
/// says so and keeps what it has, as a new one would lock out everybody.
enum class Missing : std::uint8_t { make, refuse };

Rule root_rule(const Config& config, Missing missing) {
    Rule rule;
    rule.name = config.root_key_name;
    rule.listen = rule.send = rule.manage = true;
    const auto file = root_key_path(config);
    if (!config.root_key.empty()) {
        rule.primary_key = config.root_key;
    } else if (std::filesystem::exists(file)) {
        rule.primary_key = read_small_file(file);
        if (rule.primary_key.size() < 16) {
            throw std::runtime_error(file.string() + " holds no key: remove it to make a new one");
        }
    } else if (missing == Missing::refuse) {
        throw std::runtime_error(file.string() + " is not there, and root_key is not set");
    } else {
        rule.primary_key = new_sas_key();
        write_private_file(file, rule.primary_key + "\n");
    }
    const auto second = config.data_dir / "root-secondary.key";
    rule.secondary_key = config.root_key_secondary;
    if (rule.secondary_key.empty() && std::filesystem::exists(second)) {
        rule.secondary_key = read_small_file(second);
        if (rule.secondary_key.size() < 16)
            throw std::runtime_error(second.string() + " holds no key: remove it to have none");
    }
    return rule;
}

DescriptorShares descriptors_for(const Config& config) {
    const std::size_t limit = raise_descriptor_limit();
    const auto shares = share_descriptors(limit, config);
    if (!shares)
        throw std::runtime_error("the system gives this process " + std::to_string(limit) +
                                 " descriptors, a hub needs " + std::to_string(descriptors_min) +
                                 ": raise the limit (ulimit -n, LimitNOFILE=)");
    if (shares->connections_max < config.connections_max)
        log_warn(
            "fewer inbound connections than connections_max: the system gives too few "
            "descriptors",
            {{"connections", std::to_string(shares->connections_max)},
             {"descriptors", std::to_string(limit)}});
    return *shares;
}

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
    return out;
}
/// Requests that wait to change the same hub or installation.
constexpr std::size_t turns_waiting_max = 1'000;

/// A random secret of this process's data; made once.
std::string secret_in(const std::filesystem::path& file) {
    if (!std::filesystem::exists(file)) write_private_file(file, new_sas_key() + "\n");
    auto key = read_small_file(file);
    if (key.size() < 16)
        throw std::runtime_error(file.string() + " holds no key: remove it to make a new one");
    return key;
}

std::unique_ptr<registry::TraceStore> open_trace(const Config& config, std::int64_t now_ms) {
    constexpr std::int64_t day_ms = 86'400'000;
    registry::TraceOptions options;
    options.directory = config.data_dir;
    options.pushes_bytes_max = static_cast<std::uint64_t>(config.trace_mib_max) << 20;
    options.pushes_kept_ms = config.trace_days * day_ms;
    options.retirements_kept_ms = config.retirement_days * day_ms;
    options.opened_at_ms = now_ms;
    options.details_bytes_max = static_cast<std::uint64_t>(config.feedback_mib_max) << 20;
    // No longer than the sends that they are about.
    options.details_kept_ms =
        std::min<std::int64_t>(config.feedback_days, config.sends_kept_days) * day_ms;
    options.memtable_bytes =
        std::clamp<std::size_t>(options.pushes_bytes_max / 8, 1u << 20, options.memtable_bytes);
    std::string why;
    auto opened = registry::TraceStore::open(options, why);
    if (!opened) throw std::runtime_error(why);
    return std::move(*opened);
}

pns::BearerCache::Settings bearer_settings(TokenFiles& files) {
    pns::BearerCache::Settings settings;
    settings.store = &files;
    settings.on_clock_step = [](std::int64_t step_ms) {
        log_warn("the wall clock stepped: provider tokens are signed anew",
                 {{"step_ms", std::to_string(step_ms)}});
    };
    return settings;
}

/// What keys the hashes of handles in the trace; made once.
Trace::Settings trace_settings(const Config& config, const pns::Clock& clock) {
    Trace::Settings settings;
    if (config.trace == "off") settings.keep = Trace::Keep::off;
    if (config.trace == "all") settings.keep = Trace::Keep::all;
    settings.buffer_bytes_max = config.trace_buffer_mib << 20;
    settings.kept_ms = config.trace_days * 86'400'000;
    settings.key = secret_in(config.data_dir / "trace.key");
    settings.now = [&clock] { return clock.wall_ms(); };
    return settings;
}

Feedback::Settings feedback_settings(const Config& config, const Hubs& hubs) {
    Feedback::Settings settings;
    settings.share_rule = share_rule(config, hubs);
    settings.kept_ms = config.feedback_days * 86'400'000;
    settings.kept_bytes_max = static_cast<std::uint64_t>(config.feedback_mib_max) << 20;
    return settings;
}

/// What an operator can do something about.
std::string reason_of(const std::exception& failure) {
    constexpr const char* advice =
        ": raise the limits of memory and threads, or choose smaller "
        "caches and fewer lanes";
    const auto* system = dynamic_cast<const std::system_error*>(&failure);
    if (system != nullptr && system->code() == std::errc::resource_unavailable_try_again)
        return std::string("the system gives no more threads") + advice;
    if (dynamic_cast<const std::bad_alloc*>(&failure) != nullptr)
        return std::string("the system gives no more memory") + advice;
    return failure.what();
}

/// RocksDB ends the process if it gets no thread while it opens a database. While this lives that
/// is told, too, as any other reason; what is on disk is as after a crash.
class LastWords {
  public:
    LastWords() : before_(std::set_terminate(&speak)) {}
    ~LastWords() { std::set_terminate(before_); }
    LastWords(const LastWords&) = delete;
    LastWords& operator=(const LastWords&) = delete;

  private:
    [[noreturn]] static void speak() {
        std::string why = reason_of(std::system_error(EAGAIN, std::generic_category()));
        try {
            if (const auto failure = std::current_exception()) std::rethrow_exception(failure);
        } catch (const std::exception& failure) {
            why = reason_of(failure);
        } catch (...) {
        }
        std::fprintf(stderr, "pushhub: cannot start: %s\n", why.c_str());
        std::_Exit(1);
    }
    const std::terminate_handler before_;
};

std::int64_t end_of(const TlsFiles& files) {
    return pns::certificate_end_s(read_small_file(files.certificate)).value_or(0);
}

asio::ip::tcp::endpoint endpoint_of(const std::string& text) {
    ListenAddress address;
    if (!parse_listen(text, address)) throw std::runtime_error("not an address: " + text);
    return {asio::ip::make_address(address.address), address.port};
}

}  // namespace

struct Service::Impl {
    Impl(const Config& given, const pns::Clock& given_clock);
    ~Impl() { stop(); }

    void build_gauges();
    void build_share_gauges();
    void build_blob_gauge();
    std::uint16_t open_listeners(const std::string& text, const Entrance& entrance);
    void begin();
    void reload(const Config& fresh);
    void warn_of_ends();
    void stop();

    pns::Task<void> stop_lane(std::size_t lane, std::int64_t wait_ms, std::promise<void>& done);
    pns::Task<void> stop_fanout(std::int64_t drain_ms, std::promise<void>& done);
    pns::Task<void> sweep_expired();
    pns::Task<void> sweep_ended_sends();

    /// What a lane has of its own.
    struct Lane {
        explicit Lane(asio::io_context& io) : children(io.get_executor()) {}
        std::vector<std::unique_ptr<Listener>> listeners;
        pns::Nursery children;
    };

    Config config;
    const pns::Clock& clock;
    const DescriptorShares descriptors;
    const bool made_store;
    std::atomic<bool> store_writable = true;
    std::unique_ptr<registry::Registry> registry;
    Hubs hubs;
    TlsFiles tls_files;
    pns::TlsContext tls;
    std::atomic<std::int64_t> tls_end_s = 0;  ///< of its certificate
    Turns turns{turns_waiting_max};
    Loops loops;
    StorePool store;
    Metrics metrics;
    std::atomic<bool> ready = false;
    Inbound inbound;
    CredentialEnds credential_ends;
    Blobs blobs;
    Trace trace;
    Feedback feedback;
    Jobs jobs;
    TokenFiles token_files;
    pns::BearerCache bearers;
    Fanout fanout;
    Admission admission;
    Scheduler scheduler;
    KeyLimits test_sends;
    Shares event_streams, requests;
    Idempotency idempotency;
    NamespaceRules namespace_rules;
    Parts parts;
    Dispatch dispatch;
    std::vector<std::unique_ptr<Lane>> lanes;
    pns::SteadyTimer sweep_timer;
    bool sweeping = true;  // lane 0
    struct SweptTotals {
        std::atomic<std::uint64_t> removed{0}, bodies{0}, bytes{0};
    } swept_sends;
    bool running = false;  ///< something has begun on the lanes
    bool stopped = false;
    std::uint16_t port = 0;
    std::uint16_t plain_port = 0;
    std::uint16_t public_port = 0;
    std::uint16_t admin_port = 0;
};

Service::Impl::Impl(const Config& given, const pns::Clock& given_clock)
    : config(given),
      clock(given_clock),
      descriptors(descriptors_for(config)),
      made_store(!std::filesystem::exists(config.data_dir / "store" / "store")),
      registry(open_registry(config, descriptors, store_writable)),
      hubs(*registry),
      tls_files(prepare_tls_files(config, OwnAuthority::may_be_made)),
      tls(make_tls_context(tls_files)),
      loops(lane_count(config)),
      store(config.store_threads),
      credential_ends(hubs),
      blobs(config.data_dir / "blobs", secret_in(config.data_dir / "blobs.key"),
            [this] { return std::uint64_t{config.blobs_mib_max} << 20; }),
      trace(open_trace(config, clock.wall_ms()), trace_settings(config, clock), loops.size()),
      feedback(blobs, trace.details_store(), clock, feedback_settings(config, hubs)),
      jobs(*registry, blobs, hubs, config, clock, config.data_dir / "jobs"),
      token_files(config.data_dir / "tokens", secret_in(config.data_dir / "tokens.key"), store,
                  clock.wall_ms()),
      bearers(clock, bearer_settings(token_files)),
      fanout(loops, store, *registry, hubs, metrics, config, trace, bearers,
             descriptors.connections_below),
      admission({store, *registry, fanout, metrics, config, clock}),
      scheduler(loops.lane(0), {store, *registry, hubs, fanout, admission, config, clock}),
      test_sends(test_calls_max, test_period_ms),
      event_streams(
          "event_streams", "readers of sends' events",
          [this]() -> std::uint64_t { return config.event_streams_max; }, share_rule(config, hubs)),
      requests(
          "requests_in_flight", "requests at work",
          [this]() -> std::uint64_t { return config.requests_in_flight_max; },
          share_rule(config, hubs)),
      namespace_rules(root_rule(config, Missing::make)),
      parts{config,
            *registry,
            store,
            hubs,
            fanout,
            admission,
            metrics,
            scheduler,
            test_sends,
            blobs,
            jobs,
            feedback,
            idempotency,
            event_streams,
            turns,
            trace,
            namespace_rules,
            ready,
            store_writable,
            handle_rule(config.push_services),
            clock},
      dispatch(config, clock, metrics, routes(),
               make_authoriser(config, hubs, namespace_rules, metrics), parts, answer_once),
      sweep_timer(loops.lane(0).get_executor()) {
    for (std::size_t i = 0; i < loops.size(); ++i) {
        lanes.push_back(std::make_unique<Lane>(loops.lane(i)));
    }
    keep_memory_reserve();
    inbound.connections_max = descriptors.connections_max;
    inbound.descriptors_below = descriptors.connections_below;
    tls_end_s = end_of(tls_files);
    dispatch.share_requests(requests);
    build_gauges();
}

/// How much of what hubs share each of them holds, and may hold now. Hubs beyond the bound of the
/// label are one: what they hold together, and the share of the first.
void Service::Impl::build_share_gauges() {
    using Uses = std::vector<std::pair<std::string_view, Shares::Use>>;
    const auto uses = [this] {
        std::vector<Shares> all = fanout.shares();
        all.insert(all.end(), {scheduler.places(), event_streams, feedback.places(), requests});
        Uses out;
        for (const Shares& shares : all)
            for (const Shares::Use& use : shares.uses()) out.emplace_back(shares.name(), use);
        const auto answers = registry->answer_units();
        std::uint64_t used = 0;
        for (const auto& [hub, units] : answers) used += units;
        const ShareRule rule = share_rule(config, hubs)();
        for (const auto& [hub, units] : answers) {
            const auto share = share_of(config.idempotency_keys_max, used - units, rule);
            if (units > 0) out.emplace_back("idempotency_keys", Shares::Use{hub, units, share});
        }
        return out;
    };
    const auto add = [&](const char* name, const char* help, bool sum, auto member) {
        metrics.gauges(name, help, [this, uses, sum, member] {
            std::map<std::pair<std::string, std::string>, double> values;
            for (const auto& [places, use] : uses()) {
                const auto state = hubs.find(use.hub);
                std::string hub = metrics.hub_label(state ? state->row.name : "other");
                const auto [at, fresh] =
                    values.try_emplace({std::string(places), std::move(hub)}, 0);
                if (sum || fresh) at->second += static_cast<double>(use.*member);
            }
            std::vector<Metrics::Sample> out;
            for (const auto& [key, value] : values)
                out.push_back({{{"places", key.first}, {"hub", key.second}}, value});
            return out;
        });
    };
    add("pushhub_hub_places_used", "Places that hubs share, held by a hub.", true,
        &Shares::Use::used);
    add("pushhub_hub_places_share", "Such places that the hub may hold now.", false,
        &Shares::Use::share);
}

void Service::Impl::build_blob_gauge() {
    metrics.gauges("pushhub_blob_bytes", "Uploads and files of jobs on disk.", [this] {
        std::map<std::string, double> values;  // hubs beyond the bound of the label are one
        for (const BlobRoom::Use& use : blobs.room().uses())
            values[metrics.hub_label(use.hub)] += static_cast<double>(use.bytes);
        std::vector<Metrics::Sample> out;
        for (const auto& [hub, bytes] : values) out.push_back({{{"hub", hub}}, bytes});
        return out;
    });
}

void Service::Impl::build_gauges() {
    // What ends in _total only grows.
    const auto add = [this](std::string_view name, const char* help, Metrics::Read read) {
        if (name.ends_with("_total"))
            return metrics.counter(std::string(name), help, std::move(read));
        metrics.gauge(std::string(name), help, std::move(read));
    };
    add_process_figures(metrics, clock);
    build_share_gauges();
    build_blob_gauge();
    const auto store_figure = [&](const char* name, const char* help, auto member) {
        add(name, help,
            [this, member] { return static_cast<double>(registry->figures().*member); });
    };
    using R = registry::Registry::Figures;
    store_figure("pushhub_registrations", "Registrations stored.", &R::registrations);
    store_figure("pushhub_installations", "Installations stored.", &R::installations);
    store_figure("pushhub_disk_bytes", "Bytes of the store on disk.", &R::disk_bytes);
    store_figure("pushhub_posting_cache_bytes", "Postings in memory.", &R::posting_cache_bytes);
    store_figure("pushhub_block_cache_bytes", "Blocks of the store in memory.",
                 &R::block_cache_bytes);
    store_figure("pushhub_write_queue_changes", "Changes waiting for the disk.",
                 &R::write_queue_changes);
    store_figure("pushhub_store_batches_total", "Synced batches.", &R::batches);
    store_figure("pushhub_store_changes_total", "Changes in synced batches.", &R::changes);
    metrics.gauge("pushhub_store_writable", "0: the disk refuses what is written to the store.",
                  [this] { return store_writable ? 1.0 : 0.0; });
    const auto fanout_figure = [&](const char* name, const char* help, auto member) {
        add(name, help, [this, member] { return static_cast<double>(fanout.figures().*member); });
    };
    using F = Fanout::Figures;
    fanout_figure("pushhub_sends_open", "Sends that are not final.", &F::sends_open);
    fanout_figure("pushhub_sends_waiting", "Sends that are held or paused.", &F::sends_waiting);
    fanout_figure("pushhub_pushes_in_flight", "Pushes loaded and not yet final.",
                  &F::pushes_in_flight);
    fanout_figure("pushhub_backlog_devices", "Devices of open sends that are not final.",
                  &F::backlog_devices);
    fanout_figure("pushhub_disk_low", "1: sends are refused because the disk is nearly full.",
                  &F::disk_low);
    metrics.gauge("pushhub_event_streams", "Open streams of a send's progress.",
                  [this] { return static_cast<double>(event_streams.used()); });
    fanout_figure("pushhub_retries_waiting", "Pushes waiting for a later attempt.",
                  &F::retries_waiting);
    const auto sender_figure = [&](const char* name, const char* help, auto member) {
        add(name, help, [totals = fanout.network().totals, member] {
            return static_cast<double>(((*totals).*member).load(std::memory_order_relaxed));
        });
    };
    using T = pns::SenderTotals;
    sender_figure("pushhub_provider_resends_total", "Pushes sent again, known as unprocessed.",
                  &T::resends);
    sender_figure("pushhub_provider_lost_total", "Pushes written and never answered.", &T::lost);
    sender_figure("pushhub_provider_goaways_total", "GOAWAY frames of providers.", &T::goaways);
    sender_figure("pushhub_provider_rate_waits_total",
                  "Times that a provider's rate had to be waited for.", &T::rate_waits);
    sender_figure("pushhub_retries_put_off_total", "Retries over the budget of their credential.",
                  &T::retries_put_off);
    sender_figure("pushhub_provider_tokens_total", "Provider tokens fetched or signed.",
                  &T::token_fetches);
    sender_figure("pushhub_provider_connects_total", "Connections to providers that were opened.",
                  &T::connects);
    sender_figure("pushhub_provider_connections", "Connections to providers.", &T::connections);
    sender_figure("pushhub_provider_queued", "Pushes in the queues of senders.", &T::queued);
    metrics.gauges("pushhub_devices_waiting", "Devices that wait for time or provider.", [this] {
        std::vector<Metrics::Sample> out;
        const auto waiting = fanout.waiting_by_platform();
        for (std::size_t p = 0; p < waiting.size(); ++p) {
            if (!pns::platforms()[p].has_sender) continue;
            out.push_back({{{"platform", std::string(pns::platforms()[p].name)}},
                           static_cast<double>(waiting[p])});
        }
        return out;
    });
    metrics.gauges("pushhub_provider_unwell",
                   "1: the provider is throttled, unreachable or refused.", [this] {
                       std::vector<Metrics::Sample> out;
                       std::set<Metrics::Labels> seen;  // hubs beyond the bound have one label
                       for (const auto& one : fanout.unwell()) {
                           Metrics::Labels labels{
                               {"hub", metrics.hub_label(one.hub)},
                               {"platform", std::string(pns::platforms()[one.platform].name)},
                               {"trouble", std::string(trouble_name(one.trouble))}};
                           if (seen.insert(labels).second) out.push_back({std::move(labels), 1});
                       }
                       return out;
                   });
    fanout_figure("pushhub_device_results_held", "Results of single devices in memory.",
                  &F::device_results_held);
    const auto schedule_figure = [&](const char* name, const char* help, auto member) {
        add(name, help,
            [this, member] { return static_cast<double>(scheduler.figures().*member); });
    };
    using S = Scheduler::Figures;
    schedule_figure("pushhub_sends_scheduled", "Sends that wait for their time.", &S::waiting);
    schedule_figure("pushhub_schedules_fired_total", "Scheduled sends fired.", &S::fired);
    metrics.gauge("pushhub_schedule_late_seconds", "How late the last scheduled send fired.",
                  [this] { return static_cast<double>(scheduler.figures().late_ms) / 1'000; });
    const auto job_figure = [&](const char* name, const char* help, auto member) {
        add(name, help, [this, member] { return static_cast<double>(jobs.figures().*member); });
    };
    job_figure("pushhub_jobs_waiting", "Bulk jobs that wait for their turn.",
               &Jobs::Figures::waiting);
    job_figure("pushhub_jobs_running", "Bulk jobs at work.", &Jobs::Figures::running);
    job_figure("pushhub_job_lines_total", "Lines that bulk jobs have done.", &Jobs::Figures::lines);
    const auto feedback_figure = [&](const char* name, const char* help, auto member) {
        add(name, help, [this, member] { return static_cast<double>(feedback.figures().*member); });
    };
    feedback_figure("pushhub_feedback_queued", "Results of devices waiting to be written.",
                    &Feedback::Figures::queued);
    feedback_figure("pushhub_feedback_written_total", "Results of devices written.",
                    &Feedback::Figures::written);
    feedback_figure("pushhub_feedback_dropped_total", "Results of devices over a bound.",
                    &Feedback::Figures::dropped);
    metrics.gauge("pushhub_idempotency_keys", "Answers kept for a repeated request.",
                  [this] { return static_cast<double>(registry->kept_answers()); });
    metrics.gauge("pushhub_sends_kept_bytes", "Records of ended sends.",
                  [this] { return static_cast<double>(registry->figures().ended_sends_bytes); });
    const auto swept_total = [&](const char* name, const char* help, auto member) {
        add(name, help,
            [this, member] { return static_cast<double>((swept_sends.*member).load()); });
    };
    swept_total("pushhub_sends_removed_total", "Ended sends removed by age or size.",
                &SweptTotals::removed);
    swept_total("pushhub_sends_removed_bytes_total", "What their records took.",
                &SweptTotals::bytes);
    swept_total("pushhub_send_bodies_dropped_total", "Ended sends that lost their body before.",
                &SweptTotals::bodies);
    const auto trace_figure = [&](const char* name, const char* help, auto member) {
        add(name, help, [this, member] { return static_cast<double>(trace.figures().*member); });
    };
    trace_figure("pushhub_trace_written_total", "Attempts of pushes written to the trace.",
                 &Trace::Figures::written);
    trace_figure("pushhub_trace_dropped_total", "Attempts that found no room in the trace.",
                 &Trace::Figures::dropped);
    trace_figure("pushhub_trace_buffered_bytes", "Trace waiting for the disk.",
                 &Trace::Figures::buffered_bytes);
    trace_figure("pushhub_trace_disk_bytes", "Trace and retirements on disk.",
                 &Trace::Figures::disk_bytes);
    trace_figure("pushhub_retirements_recorded_total", "Reasons of retirements written.",
                 &Trace::Figures::retirements);
    trace_figure("pushhub_retirements_unrecorded_total", "Reasons of retirements that were lost.",
                 &Trace::Figures::retirements_dropped);
    const auto gate_figure = [&](const char* name, const char* help, auto member) {
        add(name, help, [this, member] {
            return static_cast<double>(fanout.prune_gates().figures(clock.steady_ms()).*member);
        });
    };
    gate_figure("pushhub_retirements_held", "Dead handles that wait for evidence.",
                &PruneGates::Figures::held);
    gate_figure("pushhub_prune_gates_shut", "Credentials whose dead handles are held back.",
                &PruneGates::Figures::gates_shut);
    gate_figure("pushhub_retirements_discarded_total", "Held retirements given up.",
                &PruneGates::Figures::discarded);
    metrics.gauge("pushhub_connections", "Inbound connections.",
                  [this] { return static_cast<double>(inbound.connections.load()); });
    metrics.gauge("pushhub_tls_handshakes", "Inbound TLS handshakes.",
                  [this] { return static_cast<double>(inbound.handshakes()); });
    metrics.counter("pushhub_connections_refused_total", "Inbound connections closed at once.",
                    [this] { return static_cast<double>(inbound.refused_total()); });
    metrics.counter("pushhub_connections_ended_total",
                    "Inbound connections that waited and were ended to make room.",
                    [this] { return static_cast<double>(inbound.ended_total()); });
    metrics.gauge("pushhub_request_bodies_bytes", "Request bodies in memory.",
                  [this] { return static_cast<double>(dispatch.bodies().held()); });
    metrics.gauge("pushhub_answers_bytes", "Answers in memory that were not read yet.",
                  [this] { return static_cast<double>(dispatch.answers().held()); });
    metrics.gauge("pushhub_tls_certificate_end_seconds",
                  "When the certificate of the TLS port ends, since 1970.",
                  [this] { return static_cast<double>(tls_end_s); });
    metrics.gauge("pushhub_credential_end_seconds",
                  "When the first of the hubs' credentials ends, since 1970; 0: none is known to.",
                  [this] {
                      std::int64_t first_s = 0;
                      for (const CredentialEnd& one : credential_ends.all())
                          first_s = first_s == 0 ? one.end_s : std::min(first_s, one.end_s);
                      return static_cast<double>(first_s);
                  });
    metrics.gauge("pushhub_requests_in_flight", "Requests at work.",
                  [this] { return static_cast<double>(dispatch.in_flight()); });
}

std::uint16_t Service::Impl::open_listeners(const std::string& text, const Entrance& entrance) {
    if (text.empty()) return 0;
    auto at = endpoint_of(text);
    auto failure = claim_port(at);
    for (std::size_t i = 0; i < lanes.size() && !failure; ++i) {
        auto listener =
            std::make_unique<Listener>(loops.lane(i), dispatch, config, inbound, entrance);
        failure = listener->open(at);
        lanes[i]->listeners.push_back(std::move(listener));
    }
    if (failure) throw std::runtime_error("cannot listen on " + text + ": " + failure.message());
    return at.port();
}

void Service::Impl::begin() {
    port = open_listeners(config.listen, {tls, Door::outside});
    plain_port = open_listeners(config.listen_plain, {nullptr, Door::inside});
    public_port = open_listeners(config.listen_plain_public, {nullptr, Door::outside});
    admin_port = open_listeners(config.admin_listen, {nullptr, Door::admin});
    warn_of_ends();
    auto open = registry->open_sends();
    if (!open) throw std::runtime_error("cannot read the open sends: " + open.error().message());
    blobs.clean();
    jobs.start();
    running = true;  // whatever fails from here on, what is on the lanes is ended there
    scheduler.resume(*open);
    fanout.set_on_ended([this](const std::shared_ptr<const HubState>& hub,
                               const registry::Send& send, DeviceResults& results) {
        feedback.ended(hub->row.number, hub->row.name, send.id, results.snapshot());
    });
    fanout.resume(std::move(*open));
    for (auto& lane : lanes) {
        for (auto& listener : lane->listeners) listener->start();
    }
    lanes.front()->children.start(sweep_expired());
    lanes.front()->children.start(scheduler.run());
    loops.run();
    ready = true;
}

pns::Task<void> Service::Impl::sweep_expired() {
    constexpr std::size_t step = 1'000;
    constexpr std::int64_t day_ms = 86'400'000;
    std::int64_t warned_at_ms = clock.wall_ms();
    // The first comes soon, so that also a hub that restarts often removes what has ended.
    std::chrono::seconds pause{1};
    while (sweeping) {
        sweep_timer.expires_after(std::exchange(pause, std::chrono::seconds(30)));
        co_await sweep_timer.async_wait(pns::as_result);
        if (sweeping && clock.wall_ms() - warned_at_ms >= day_ms) {
            warned_at_ms = clock.wall_ms();
            auto warn = [this] { warn_of_ends(); };
            co_await on_store(store, std::move(warn));
        }
        std::size_t seen = step;
        while (sweeping && seen == step) {
            auto start = [this, at = clock.wall_ms()](registry::Done<registry::Swept> done) {
                registry->expire(at, step, std::move(done));
            };
            const auto swept = co_await committed<registry::Swept>(std::move(start));
            seen = swept ? swept->seen : 0;
            if (!swept) log_warn("cannot remove what expired", {{"what", swept.error().message()}});
            if (swept && swept->removed > 0)
                log_info("expired", {{"removed", std::to_string(swept->removed)}});
        }
        std::size_t removed = step;
        while (sweeping && removed == step) {
            auto forget = [this, at = clock.wall_ms()](registry::Done<std::size_t> done) {
                registry->expire_answers(at, step, std::move(done));
            };
            const auto swept = co_await committed<std::size_t>(std::move(forget));
            removed = swept ? *swept : 0;
        }
        co_await sweep_ended_sends();
    }
}

/// In small steps with rests between them: whatever else is written comes first.
pns::Task<void> Service::Impl::sweep_ended_sends() {
    constexpr std::size_t step = 200;
    constexpr std::chrono::milliseconds rest{10};
    constexpr std::int64_t day_ms = 86'400'000;
    registry::SendRetention keep;
    keep.kept_ms = config.sends_kept_days * day_ms;
    keep.bodies_kept_ms = config.send_bodies_kept_days * day_ms;
    keep.bytes_max = static_cast<std::uint64_t>(config.sends_kept_mib_max) << 20;
    std::size_t removed = 0;
    for (bool more = true; sweeping && more;) {
        auto start = [this, &keep,
                      at = clock.wall_ms()](registry::Done<registry::SweptSends> done) {
            registry->sweep_sends(keep, at, step, std::move(done));
        };
        const auto swept = co_await committed<registry::SweptSends>(std::move(start));
        if (!swept) {
            log_warn("cannot remove old sends", {{"what", swept.error().message()}});
            co_return;
        }
        swept_sends.removed += swept->removed;
        swept_sends.bodies += swept->bodies;
        swept_sends.bytes += swept->bytes;
        removed += swept->removed;
        more = swept->more;
        if (!more || !sweeping) break;
        sweep_timer.expires_after(rest);
        co_await sweep_timer.async_wait(pns::as_result);
    }
    if (removed > 0) log_info("old sends removed", {{"sends", std::to_string(removed)}});
}

pns::Task<void> Service::Impl::stop_lane(std::size_t lane, std::int64_t wait_ms,
                                         std::promise<void>& done) {
    try {
        // All at once: one that waits for a slow handler holds up no other.
        pns::Nursery stops(loops.lane(lane).get_executor());
        for (auto& listener : lanes[lane]->listeners) stops.start(listener->stop(wait_ms));
        co_await stops.join();
    } catch (const std::exception& bug) {
        log_error("a listener did not stop", {{"what", bug.what()}});
    }
    if (lane == 0) {
        sweeping = false;
        sweep_timer.cancel();
        try {
            co_await scheduler.stop();
        } catch (const std::exception& bug) {
            log_error("the scheduler did not stop", {{"what", bug.what()}});
        }
    }
    done.set_value();
}

pns::Task<void> Service::Impl::stop_fanout(std::int64_t drain_ms, std::promise<void>& done) {
    try {
        co_await fanout.stop(drain_ms);
    } catch (const std::exception& bug) {
        log_error("the fan-out did not stop", {{"what", bug.what()}});
    }
    done.set_value();
}

void Service::Impl::warn_of_ends() {
    constexpr std::int64_t day_s = 86'400, certificate_days = 14, credential_days = 30;
    const std::int64_t now_s = clock.wall_ms() / 1'000;
    const std::string end = iso_seconds(tls_end_s * 1'000);
    if (tls_end_s - now_s < certificate_days * day_s)
        log_warn("the certificate of the TLS port ends soon or has ended", {{"end", end}});
    for (const CredentialEnd& one : credential_ends.all()) {
        if (one.end_s - now_s < credential_days * day_s)
            log_warn("a provider's certificate ends soon or has ended",
                     {{"hub", one.hub},
                      {"platform", one.platform},
                      {"end", iso_seconds(one.end_s * 1'000)}});
    }
}

void Service::Impl::reload(const Config& fresh) {
    Config next = config;
    reload_config(next, fresh);
    Rule root;
    TlsFiles files;
    pns::TlsContext context;
    try {
        root = root_rule(next, Missing::refuse);
        files = prepare_tls_files(next, OwnAuthority::must_be_there);
        context = make_tls_context(files);
        tls_end_s = end_of(files);
    } catch (const std::exception& failure) {
        log_error("settings are not read again", {{"what", failure.what()}});
        return;
    }
    Reloaded done = reload_config(config, fresh);
    set_log_level(config.log_level);
    const Rule before = namespace_rules.front();
    if (before != root) {
        done.changed.emplace_back("keys of the root rule");
        namespace_rules.put(std::move(root));
    }
    tls_files = std::move(files);
    tls = std::move(context);
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        asio::post(loops.lane(i), [this, i, fresh_tls = tls] {
            for (auto& listener : lanes[i]->listeners) listener->use(fresh_tls);
        });
    }
    log_info("settings are read again, certificates too", {{"changed", joined(done.changed)}});
    if (!done.waiting.empty())
        log_warn("some settings need a restart", {{"which", joined(done.waiting)}});
    warn_of_ends();
}

void Service::Impl::stop() {
    if (stopped) return;
    stopped = true;
    ready = false;
    if (running && config.shutdown_delay_ms > 0) {
        log_info("not ready, and serving until balancers have seen it",
                 {{"ms", std::to_string(config.shutdown_delay_ms)}});
        std::this_thread::sleep_for(std::chrono::milliseconds(config.shutdown_delay_ms));
    }
    if (running) {
        loops.run();
        // Requests first, half of the time at most: the sends they accept are on disk and may be
        // parked.
        const std::int64_t begun_ms = clock.steady_ms();
        std::vector<std::promise<void>> done(lanes.size());
        for (std::size_t i = 0; i < lanes.size(); ++i) {
            asio::post(loops.lane(i), [this, i, &done] {
                lanes[i]->children.start(stop_lane(i, config.drain_ms_max / 2, done[i]));
            });
        }
        for (auto& lane : done) lane.get_future().wait();
        const std::int64_t left_ms =
            std::max<std::int64_t>(begun_ms + config.drain_ms_max - clock.steady_ms(), 0);
        std::promise<void> parked;
        asio::post(loops.lane(0), [this, left_ms, &parked] {
            lanes.front()->children.start(stop_fanout(left_ms, parked));
        });
        parked.get_future().wait();
    }
    jobs.stop();
    loops.stop();
    store.join();
    registry->close();
    trace.stop();
    feedback.stop();
}

std::unique_ptr<Service> Service::start(const Config& config, std::string& why,
                                        const pns::Clock& clock) {
    const auto wrong = check_config(config);
    if (!wrong.empty()) {
        why = wrong.front();
        return nullptr;
    }
    const LastWords last_words;
    try {
        make_private(config.data_dir);
        auto impl = std::make_unique<Impl>(config, clock);
        impl->begin();
        return std::unique_ptr<Service>(new Service(std::move(impl)));
    } catch (const std::exception& failure) {
        why = reason_of(failure);
        return nullptr;
    }
}

Service::Service(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Service::~Service() = default;

std::uint16_t Service::port() const {
    return impl_->port;
}
std::uint16_t Service::plain_port() const {
    return impl_->plain_port;
}
std::filesystem::path Service::ca_file() const {
    return impl_->tls_files.ca;
}
std::uint16_t Service::public_port() const {
    return impl_->public_port;
}
std::uint16_t Service::admin_port() const {
    return impl_->admin_port;
}
bool Service::made_store() const {
    return impl_->made_store;
}
void Service::reload(const Config& config) {
    impl_->reload(config);
}
Parts& Service::parts() {
    return impl_->parts;
}
void Service::stop() {
    impl_->stop();
}

std::filesystem::path Service::root_key_file() const {
    const auto& config = impl_->config;
    return config.root_key.empty() ? root_key_path(config) : std::filesystem::path();
}

std::string Service::url() const {
    const auto address = endpoint_of(impl_->config.listen).address();
    std::string host = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
    if (address.is_unspecified()) host = "localhost";
    if (!impl_->config.host_names.empty()) host = impl_->config.host_names.front();
    return "https://" + host + ":" + std::to_string(impl_->port);
}

std::string Service::connection_string() const {
    const Rule rule = impl_->namespace_rules.front();
    return "Endpoint=sb" + url().substr(5) + "/;SharedAccessKeyName=" + rule.name +
           ";SharedAccessKey=" + rule.primary_key;
}

}  // namespace hub
