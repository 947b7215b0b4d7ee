// Tested by tests/hub_fanout_test.cpp.
//
// What the lanes share: which sends are open, who is the home lane of each, and in which rounds
// (canary, then the rest) and strands (one for each platform) a selection is handed out. Members of
// Fanout may be called from any thread; `mutex` guards the tables alone and is never held over a
// call. Work of a lane is posted to it, but for a small send: it stays on the lane that accepted
// it. What takes long (split, Rounds::canary_left) runs on a store thread.

#include "hub/send/fanout.hpp"

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>

#include "hub/process/log.hpp"
#include "hub/send/fanout_lane.hpp"
#include "hub/send/send_home.hpp"
#include "hub/send/send_places.hpp"
#include "hub/send/send_request.hpp"
#include "tagexpr/expression.hpp"

namespace asio = boost::asio;

namespace hub {

namespace {

using registry::Bitmap;

constexpr std::size_t small_devices_max = 64;

std::size_t platform_index(const pns::Platform& platform) {
    return static_cast<std::size_t>(&platform - pns::platforms().data());
}

tagexpr::Plan everything() {
    tagexpr::Plan plan;
    plan.nodes.push_back({tagexpr::Op::everything, 0, {}});
    return plan;
}

/// Splits a selection by platform. Platforms of frozen numbers do not change; numbers in no
/// platform's posting are gone meanwhile and end up in the mixed strand, where their rows will say
/// so.
std::vector<Strand> split(const registry::Registry& registry, const SendRun& run,
                          std::vector<Bitmap> rest) {
    std::vector<Strand> strands;
    for (const pns::Platform& platform : pns::platforms()) {
        registry::Universe universe;
        universe.platforms = {std::string(platform.name)};
        const auto members = registry.select(run.hub->row.number, everything(), universe);
        if (!members) continue;  // unread: its devices go through the mixed strand
        Strand strand{platform_index(platform), rest};
        std::uint64_t count = 0;
        for (std::size_t p = 0; p < rest.size() && p < members->partitions.size(); ++p) {
            strand.partitions[p] &= members->partitions[p];
            rest[p] -= members->partitions[p];
            count += strand.partitions[p].cardinality();
        }
        if (count > 0) strands.push_back(std::move(strand));
    }
    strands.push_back({Strand::mixed, std::move(rest)});
    return strands;
}

enum class Phase { drain, park };

pns::Task<void> stop_lane(FanoutLane& lane, SendHome& home, Phase phase, std::int64_t drain_ms,
                          std::shared_ptr<std::atomic<std::size_t>> left,
                          registry::Done<void> done) {
    if (phase == Phase::drain) {
        home.close();
        co_await lane.drain(drain_ms);
    } else {
        co_await home.park();
        co_await lane.park();
    }
    if (left->fetch_sub(1) == 1) done(registry::Result<void>{});
}

pns::Network network_of(const Config& config, int descriptors_below) {
    pns::Network out;
    out.ca_file = config.provider_ca_file;
    out.connect_to = config.connect_to;
    out.push_services = config.push_services;
    out.wns_hosts = config.wns_hosts;
    out.descriptors_below = descriptors_below;
    return out;
}

}  // namespace

struct Fanout::Impl final : SendLanes {
    Impl(Loops& all_loops, StorePool& store, registry::Registry& registry, Hubs& hubs,
         Metrics& metrics, const Config& config, Trace& trace, pns::BearerCache& tokens,
         int descriptors_below)
        : loops(all_loops),
          places{{"sends_open", "sends that are open",
                  [&config]() -> std::uint64_t { return config.sends_open_max; },
                  share_rule(config, hubs)},
                 {"sends_waiting", "sends that are held or paused",
                  [&config]() -> std::uint64_t { return config.sends_waiting_max; },
                  share_rule(config, hubs)},
                 {"backlog_devices", "devices that wait for the sends that are open",
                  [&config]() -> std::uint64_t { return config.backlog_devices_max; },
                  share_rule(config, hubs)}},
          room(
              "device_results", "results of devices in memory",
              [&config]() -> std::uint64_t { return config.device_results_max; },
              share_rule(config, hubs)),
          gates(&trace, &hubs),
          parts{store, registry, hubs,   metrics,        config,
                gates, trace,    tokens, tokens.clock(), network_of(config, descriptors_below),
                {},    {}} {
        const SendHome::Parts of_homes{registry, parts.clock, config, places};
        for (std::size_t i = 0; i < loops.size(); ++i) {
            lanes.push_back(std::make_unique<FanoutLane>(
                loops, i, parts, [this](const std::shared_ptr<SendRun>& run) { reached(run); }));
            homes.push_back(std::make_unique<SendHome>(*this, loops.mailbox(i), of_homes));
            stoppers.push_back(std::make_unique<pns::Nursery>(loops.lane(i).get_executor()));
        }
        for (std::size_t i = 0; i < lanes.size(); ++i) {
            asio::post(lanes[i]->executor(), [this, i] { lanes[i]->nursery().start(tick(i)); });
        }
    }

    void open_round(const std::shared_ptr<SendRun>& run) override;
    void tell_lanes(const std::shared_ptr<SendRun>& run, std::function<void()> told) override;
    void ended(const std::shared_ptr<SendRun>& run) override;

    void reached(const std::shared_ptr<SendRun>& run);
    pns::Task<void> tick(std::size_t lane);
    void look_at_disk();

    Busy busy_with(const Shares& shares, Full full, std::int64_t wait_ms) const;
    void launch(const std::shared_ptr<SendRun>& run);
    void keep_at_home(SendRun& run) const;
    std::optional<std::vector<Strand>> try_strands(const SendRun& run,
                                                   std::vector<Bitmap>& devices) const;
    pns::Task<void> walk_round(std::shared_ptr<SendRun> run);
    pns::Task<void> find_canary(std::shared_ptr<SendRun> run);
    std::shared_ptr<pns::RateBucket> hub_rate(const HubState& hub);
    std::shared_ptr<SendRun> find(std::uint32_t hub, const std::string& send_id) const;
    void begin(const std::shared_ptr<SendRun>& run, std::vector<Strand> strands);

    std::shared_ptr<DeviceResults> keep(DeviceResults::Keep what, std::uint32_t hub) const {
        return std::make_shared<DeviceResults>(what, room, hub);
    }

    Loops& loops;
    Ended on_ended;
    SendPlaces places;
    Shares room;
    PruneGates gates;
    FanoutParts parts;
    std::vector<std::unique_ptr<FanoutLane>> lanes;
    std::vector<std::unique_ptr<SendHome>> homes;         ///< by lane
    std::vector<std::unique_ptr<pns::Nursery>> stoppers;  ///< by lane
    std::atomic<bool> disk_low{false};                    ///< as lane 0 last saw it
    std::int64_t disk_looked_ms = 0;                      ///< steady clock; lane 0 only
    mutable std::mutex mutex;
    std::map<std::pair<std::uint32_t, std::string>, std::shared_ptr<SendRun>> open;
    std::map<std::uint32_t, std::shared_ptr<pns::RateBucket>> hub_rates;  ///< by hub number
    std::uint32_t flows = 0;
};

/// As much of a second's pushes may go at once, so that a rate holds within every second.
std::uint64_t burst_of(std::uint64_t per_s) {
    return std::max<std::uint64_t>(1, per_s / 20);
}

std::shared_ptr<pns::RateBucket> Fanout::Impl::hub_rate(const HubState& hub) {
    const std::uint64_t per_s = hub.description.pushes_per_s;
    std::lock_guard lock(mutex);
    if (per_s == 0) {
        hub_rates.erase(hub.row.number);
        return nullptr;
    }
    auto& bucket = hub_rates[hub.row.number];
    if (!bucket || bucket->per_s() != per_s) {
        bucket = std::make_shared<pns::RateBucket>(per_s, burst_of(per_s));
    }
    return bucket;
}

void Fanout::Impl::launch(const std::shared_ptr<SendRun>& run) {
    const registry::Send& send = run->send;
    const std::uint64_t left = run->todo.count();
    const auto saved = run->tally.summary();
    run->mode = mode_of(run->tally.state());
    const std::int64_t deadline_ms =
        saved.deadline_ms != 0 ? saved.deadline_ms
        : send.deadline_given  ? send.deadline_ms
                               : undelivered_after_ms(send, run->tally.audience(),
                                                      send.deadline_ms - undelivered_ms_max);
    run->deadline.set(deadline_ms, parts.clock.wall_ms(), parts.clock.steady_ms());
    if (const auto [count, period_s] = send.rate; count != 0)
        run->rate.emplace(count, burst_of(count / period_s), 0, period_s);
    run->hub_rate = hub_rate(*run->hub);
    const std::uint64_t not_final = run->tally.audience() - run->tally.final_devices();
    run->backlog.begin(not_final);
    if (!run->waits) run->backlog.take(places.backlog, run->hub->row.number);
    {
        std::lock_guard lock(mutex);
        parts.backlog.fetch_add(static_cast<std::int64_t>(not_final), std::memory_order_relaxed);
        run->flow = ++flows;
        open[{run->hub->row.number, send.id}] = run;
    }
    FanoutLane& lane = *lanes[run->home];
    asio::post(lane.executor(), [this, &lane, &home = *homes[run->home], run, left] {
        home.adopt(run);
        if (left == 0) return home.checkpoint(run);
        if (!run->at_home) return open_round(run);
        std::vector<Bitmap> devices = run->rounds.next(run->todo.partitions);
        auto strands = try_strands(*run, devices);
        lane.begin(run, std::make_shared<const std::vector<Strand>>(std::move(*strands)));
    });
}

/// A small send is walked where it was accepted: no other lane has to wake up for it.
void Fanout::Impl::keep_at_home(SendRun& run) const {
    const std::size_t most = std::min(small_devices_max, parts.config.fanout_chunk_devices);
    if (run.tally.audience() > most || run.send.canary_ppm != 0) return;
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        if (!lanes[i]->executor().running_in_this_thread()) continue;
        run.home = i;
        run.at_home = true;
    }
}

/// What can be said without reading the registry; takes the devices then.
std::optional<std::vector<Strand>> Fanout::Impl::try_strands(const SendRun& run,
                                                             std::vector<Bitmap>& devices) const {
    const pns::Platform* platform = pns::platform_by_format(run.send.format);
    const bool pooled = run.gcm_through_fcmv1 && run.send.direct_handles.empty() &&
                        (run.send.format == "gcm" || run.send.format == "fcmv1");
    std::uint64_t count = 0;
    for (const Bitmap& bitmap : devices) count += bitmap.cardinality();
    std::optional<std::vector<Strand>> strands;
    if (platform != nullptr && !pooled) {  // pooled: registrations of both platforms
        strands.emplace().push_back({platform_index(*platform), std::move(devices)});
    } else if (count <= parts.config.fanout_chunk_devices) {
        strands.emplace().push_back({Strand::mixed, std::move(devices)});
    }
    return strands;
}

/// Which devices of an open canary are still to go. On the home lane.
pns::Task<void> Fanout::Impl::find_canary(std::shared_ptr<SendRun> run) {
    auto choose = [run] {
        return run->rounds.canary_left(run->todo.partitions, run->send.id, run->send.canary_ppm);
    };
    auto chosen = co_await on_store(parts.store, std::move(choose));
    if (run->tally.released()) {  // cancelled meanwhile
        run->rounds.all_at_once();
        co_return;
    }
    std::uint64_t left = 0;
    for (const Bitmap& bitmap : chosen) left += bitmap.cardinality();
    run->rounds.canary_first(std::move(chosen));
    run->tally.set_goal(run->tally.final_devices() + left);
}

void Fanout::Impl::open_round(const std::shared_ptr<SendRun>& run) {
    lanes[run->home]->nursery().start(walk_round(run));
}

pns::Task<void> Fanout::Impl::walk_round(std::shared_ptr<SendRun> run) {
    const bool first = !run->rounds.begun();
    const bool canary = run->send.canary_ppm != 0 && !run->tally.released();
    if (first && canary) co_await find_canary(run);
    registry::Selection round;
    round.partitions = run->rounds.next(run->todo.partitions);
    if (first && round.count() == 0) {  // a canary that was final before a restart
        homes[run->home]->reached(run);
        co_return;
    }
    auto strands = try_strands(*run, round.partitions);
    if (!strands) {
        auto read = [this, run, devices = std::move(round.partitions)] {
            return split(parts.registry, *run, devices);
        };
        strands = co_await on_store(parts.store, std::move(read));
    }
    begin(run, std::move(*strands));
}

/// On any lane: all devices are final, or all of the canary.
void Fanout::Impl::reached(const std::shared_ptr<SendRun>& run) {
    SendHome& home = *homes[run->home];
    if (run->at_home) return home.reached(run);
    asio::post(lanes[run->home]->executor(), [&home, run] { home.reached(run); });
}

pns::Task<void> Fanout::Impl::tick(std::size_t lane) {
    pns::SteadyTimer timer(lanes[lane]->executor());
    for (;;) {
        timer.expires_after(std::chrono::milliseconds(parts.config.checkpoint_ms));
        const auto [ec] = co_await timer.async_wait(pns::as_result);
        if (ec) co_return;
        if (lane == 0) {
            look_at_disk();
            parts.health.look();
        }
        lanes[lane]->look();
        homes[lane]->look();
    }
}

void Fanout::Impl::look_at_disk() {
    constexpr std::int64_t apart_ms = 1'000;
    const std::int64_t now = parts.clock.steady_ms();
    if (parts.config.disk_free_mib_min == 0 || now - disk_looked_ms < apart_ms) return;
    disk_looked_ms = now;
    std::error_code failure;
    const auto space = std::filesystem::space(parts.config.data_dir, failure);
    const auto least = static_cast<std::uintmax_t>(parts.config.disk_free_mib_min) << 20;
    const bool low = !failure && space.available < least;
    if (low && !disk_low) log_warn("little free disk: sends are refused", {});
    disk_low = low;
}

void Fanout::Impl::ended(const std::shared_ptr<SendRun>& run) {
    const auto never_final =
        static_cast<std::int64_t>(run->tally.audience() - run->tally.final_devices());
    {
        std::lock_guard lock(mutex);
        open.erase({run->hub->row.number, run->send.id});
        parts.backlog.fetch_sub(never_final, std::memory_order_relaxed);
        // What lanes count of a send whose hub is gone may be off by what was in flight.
        if (open.empty()) parts.backlog = 0;
    }
    run->place.give_back();
    run->backlog.give_back();
    const std::int64_t took_ms = parts.clock.wall_ms() - run->send.enqueued_at_ms;
    parts.metrics.send_ended(run->hub->row.name, control_state_name(run->tally.state()),
                             static_cast<double>(std::max<std::int64_t>(took_ms, 0)) / 1'000);
    if (on_ended) on_ended(run->hub, run->send, *run->results);
    if (run->on_ended) run->on_ended();
}

void Fanout::Impl::tell_lanes(const std::shared_ptr<SendRun>& run, std::function<void()> told) {
    const auto left = std::make_shared<std::atomic<std::size_t>>(lanes.size());
    const auto last = std::make_shared<const std::function<void()>>(std::move(told));
    for (auto& lane : lanes) {
        asio::post(lane->executor(), [this, &lane = *lane, run, left, last] {
            lane.obey(run);
            if (left->fetch_sub(1) != 1) return;
            asio::post(lanes[run->home]->executor(), [last] { (*last)(); });
        });
    }
}

std::shared_ptr<SendRun> Fanout::Impl::find(std::uint32_t hub, const std::string& send_id) const {
    std::lock_guard lock(mutex);
    const auto run = open.find({hub, send_id});
    return run == open.end() ? nullptr : run->second;
}

void Fanout::Impl::begin(const std::shared_ptr<SendRun>& run, std::vector<Strand> strands) {
    const auto shared = std::make_shared<const std::vector<Strand>>(std::move(strands));
    std::vector<bool> wanted(lanes.size());
    for (const Strand& strand : *shared) {
        for (std::size_t p = 0; p < strand.partitions.size(); ++p) {
            if (!strand.partitions[p].isEmpty()) wanted[p % lanes.size()] = true;
        }
    }
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        if (!wanted[i]) continue;
        asio::post(lanes[i]->executor(),
                   [&lane = *lanes[i], run, shared] { lane.begin(run, shared); });
    }
}

Fanout::Fanout(Loops& loops, StorePool& store, registry::Registry& registry, Hubs& hubs,
               Metrics& metrics, const Config& config, Trace& trace, pns::BearerCache& bearers,
               int descriptors_below)
    : impl_(std::make_unique<Impl>(loops, store, registry, hubs, metrics, config, trace, bearers,
                                   descriptors_below)) {}

Fanout::~Fanout() = default;

namespace {
constexpr std::int64_t at_work_wait_ms = 1'000, backlog_wait_ms = 5'000, disk_wait_ms = 30'000,
                       waiting_wait_ms = 60'000;
}

Fanout::Busy Fanout::Impl::busy_with(const Shares& shares, Full full, std::int64_t wait_ms) const {
    if (full == Full::hub) parts.metrics.limited("hub_share");
    return {shares.why(full), wait_ms};
}

std::optional<Fanout::Busy> Fanout::busy(std::uint32_t hub, bool canary) const {
    if (const Full full = impl_->places.at_work.full(hub); full != Full::no)
        return impl_->busy_with(impl_->places.at_work, full, at_work_wait_ms);
    if (const Full full = impl_->places.backlog.full(hub); full != Full::no)
        return impl_->busy_with(impl_->places.backlog, full, backlog_wait_ms);
    const Full held = canary ? impl_->places.waiting.full(hub) : Full::no;
    if (held != Full::no) return impl_->busy_with(impl_->places.waiting, held, waiting_wait_ms);
    if (impl_->disk_low) return Busy{"There is little room left on the disk.", disk_wait_ms};
    return std::nullopt;
}

std::variant<Shares::Place, Fanout::Busy> Fanout::take_place(std::uint32_t hub, bool canary) {
    if (auto busy_now = busy(hub, canary)) return std::move(*busy_now);
    Shares::Place place = impl_->places.at_work.take(hub);
    if (!place) return impl_->busy_with(impl_->places.at_work, place.full(), at_work_wait_ms);
    return place;
}

void Fanout::start(std::shared_ptr<const HubState> hub,
                   std::shared_ptr<const registry::FrozenSend> frozen, Shares::Place place,
                   std::shared_ptr<DeviceResults> results, std::function<void()> ended) {
    const std::uint64_t audience = frozen->selection.count();
    auto run = std::make_shared<SendRun>(std::move(hub), std::move(frozen), audience,
                                         registry::Progress{});
    run->place = std::move(place);
    run->results = results ? std::move(results)
                           : impl_->keep(DeviceResults::Keep::failures, run->hub->row.number);
    run->on_ended = std::move(ended);
    if (run->send.canary_ppm != 0) run->rounds = Rounds(run->todo.partitions);
    run->prepare(impl_->lanes.size(), impl_->parts.config.gcm_through_fcmv1);
    impl_->keep_at_home(*run);
    impl_->launch(run);
}

void Fanout::resume(std::vector<registry::OpenSend> open) {
    for (registry::OpenSend& left : open) {
        auto hub = impl_->parts.hubs.find(left.hub.number);
        if (!hub) continue;
        const std::uint64_t audience = left.selection.count();
        std::vector<Bitmap> whole;
        if (left.send.canary_ppm != 0 && !left.progress.released) whole = left.selection.partitions;
        registry::Selection todo = std::move(left.selection);
        for (std::size_t p = 0; p < todo.partitions.size() && p < left.progress.finished.size();
             ++p) {
            todo.partitions[p] -= left.progress.finished[p];
        }
        // What was not counted yet is pushed again, and told then.
        auto results = impl_->keep(DeviceResults::Keep::failures, hub->row.number);
        const auto& finished = left.progress.finished;
        for (auto& failure : std::exchange(left.progress.failures, {})) {
            if (failure.partition < finished.size() &&
                finished[failure.partition].contains(failure.number))
                results->add(failed_before(std::move(failure)));
        }
        std::vector<Bitmap> finished_before = left.progress.finished;
        auto run = std::make_shared<SendRun>(
            std::move(hub), registry::frozen(std::move(left.send), std::move(todo)), audience,
            std::move(left.progress));
        run->results = std::move(results);
        run->waits = run->tally.waits_since_ms() != 0;
        run->place = (run->waits ? impl_->places.waiting : impl_->places.at_work)
                         .take_anyway(run->hub->row.number);
        run->failures_anew = true;
        run->rounds = Rounds(std::move(whole));
        run->finished_before = std::move(finished_before);
        run->prepare(impl_->lanes.size(), impl_->parts.config.gcm_through_fcmv1);
        log_info("taking up a send that was open",
                 {{"send", run->send.id}, {"devices_left", std::to_string(run->todo.count())}});
        impl_->launch(run);
    }
}

std::unique_ptr<registry::Progress> Fanout::progress(std::uint32_t hub,
                                                     const std::string& send_id) const {
    const auto run = impl_->find(hub, send_id);
    if (!run) return nullptr;
    return std::make_unique<registry::Progress>(run->tally.summary());
}

std::optional<Fanout::Watched> Fanout::watch(std::uint32_t hub, const std::string& send_id) const {
    const auto run = impl_->find(hub, send_id);
    if (!run) return std::nullopt;
    Watched watched;
    watched.progress = run->tally.summary();
    watched.settled = run->tally.told_all();
    watched.in_flight = static_cast<std::uint64_t>(std::max<std::int64_t>(run->in_flight, 0));
    watched.retries = static_cast<std::uint64_t>(std::max<std::int64_t>(run->retries, 0));
    watched.rate_per_s = run->tally.rate_per_s();
    watched.deadline_ms = run->deadline.wall_ms();
    return watched;
}

void Fanout::control(std::uint32_t hub, const std::string& send_id, SendEvent event,
                     registry::Done<ControlAnswer> done) {
    const auto run = impl_->find(hub, send_id);
    if (!run) return done(registry::make_error_code(registry::errc::not_found));
    asio::post(impl_->lanes[run->home]->executor(),
               [&home = *impl_->homes[run->home], run, event, done = std::move(done)]() mutable {
                   home.control(run, event, std::move(done));
               });
}

std::shared_ptr<DeviceResults> Fanout::results_of_all(std::uint32_t hub) const {
    return impl_->keep(DeviceResults::Keep::all, hub);
}

std::shared_ptr<DeviceResults> Fanout::results(std::uint32_t hub,
                                               const std::string& send_id) const {
    std::lock_guard lock(impl_->mutex);
    const auto run = impl_->open.find({hub, send_id});
    return run == impl_->open.end() ? nullptr : run->second->results;
}

void Fanout::set_on_ended(Ended ended) {
    impl_->on_ended = std::move(ended);
}

pns::Sender* Fanout::sender(const pns::Executor& lane, std::uint32_t hub,
                            const pns::Platform& platform) {
    for (auto& mine : impl_->lanes) {
        if (mine->executor() == lane) return mine->sender(hub, platform_index(platform));
    }
    return nullptr;
}

const pns::Network& Fanout::network() const {
    return impl_->parts.network;
}

pns::BearerCache& Fanout::bearers() {
    return impl_->parts.bearers;
}

PruneGates& Fanout::prune_gates() {
    return impl_->gates;
}

void Fanout::forget_senders(std::uint32_t hub) {
    impl_->gates.forget(hub);
    impl_->parts.broken.forget(hub);
    impl_->parts.health.forget(hub);
    for (auto& lane : impl_->lanes) {
        asio::post(lane->executor(), [&lane = *lane, hub] { lane.forget_senders(hub); });
    }
}

std::vector<std::uint64_t> Fanout::waiting_by_platform() const {
    std::vector<std::uint64_t> out(pns::platforms().size());
    for (const auto& lane : impl_->lanes)
        for (std::size_t p = 0; p < out.size(); ++p) out[p] += lane->waiting(p);
    return out;
}

std::vector<ProviderHealth::Unwell> Fanout::unwell() const {
    return impl_->parts.health.unwell();
}

bool Fanout::disk_low() const {
    return impl_->disk_low;
}

Fanout::Figures Fanout::figures() const {
    Figures figures;
    {
        std::lock_guard lock(impl_->mutex);
        figures.sends_open = impl_->open.size();
    }
    for (const auto& lane : impl_->lanes) {
        figures.pushes_in_flight += lane->pushes_in_flight();
        figures.retries_waiting += lane->retries_waiting();
    }
    figures.retirements_held = impl_->gates.held();
    figures.sends_waiting = impl_->places.waiting.used();
    figures.device_results_held = impl_->room.used();
    figures.backlog_devices =
        static_cast<std::uint64_t>(std::max<std::int64_t>(impl_->parts.backlog, 0));
    figures.disk_low = impl_->disk_low ? 1 : 0;
    return figures;
}

std::vector<Shares> Fanout::shares() const {
    return {impl_->places.at_work, impl_->places.waiting, impl_->places.backlog, impl_->room};
}

pns::Task<void> Fanout::stop(std::int64_t drain_ms) {
    // Every lane must have handed in its notes before the last checkpoints are taken.
    for (const Phase phase : {Phase::drain, Phase::park}) {
        auto start = [this, phase, drain_ms](registry::Done<void> done) {
            const auto left = std::make_shared<std::atomic<std::size_t>>(impl_->lanes.size());
            for (std::size_t i = 0; i < impl_->lanes.size(); ++i) {
                asio::post(impl_->lanes[i]->executor(), [this, i, phase, drain_ms, left, done] {
                    impl_->stoppers[i]->start(
                        stop_lane(*impl_->lanes[i], *impl_->homes[i], phase, drain_ms, left, done));
                });
            }
        };
        co_await committed<void>(std::move(start));
    }
}

}  // namespace hub
