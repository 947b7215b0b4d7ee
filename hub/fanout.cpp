#include "hub/fanout.hpp"

#include <atomic>
#include <boost/asio/post.hpp>
#include <map>
#include <mutex>

#include "hub/fanout_lane.hpp"
#include "hub/log.hpp"
#include "hub/parts.hpp"
#include "tagexpr/expression.hpp"

namespace asio = boost::asio;

namespace hub {

namespace {

using registry::Bitmap;

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
std::vector<Strand> split(const registry::Registry& registry, const SendRun& run) {
    std::vector<Strand> strands;
    std::vector<Bitmap> rest = run.todo.partitions;
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

pns::Task<void> stop_lane(FanoutLane& lane, Phase phase, std::int64_t drain_ms,
                          std::shared_ptr<std::atomic<std::size_t>> left,
                          registry::Done<void> done) {
    if (phase == Phase::drain) {
        co_await lane.drain(drain_ms);
    } else {
        co_await lane.park();
    }
    if (left->fetch_sub(1) == 1) done(registry::Result<void>{});
}

}  // namespace

struct Fanout::Impl {
    Impl(Loops& all_loops, StorePool& store, registry::Registry& registry, Hubs& hubs,
         Metrics& metrics, const Config& config)
        : loops(all_loops),
          room(std::make_shared<ResultsRoom>(config.device_results_max)),
          parts{store,  registry, hubs,    metrics,
                config, gates,    bearers, pns::Network{config.provider_ca_file, config.connect_to},
                {},     {}} {
        parts.on_ended = [this](const std::shared_ptr<SendRun>& run) {
            {
                std::lock_guard lock(mutex);
                open.erase({run->hub->row.number, run->send.id});
            }
            if (ended) ended(run->hub, run->send, *run->results);
            if (run->on_ended) run->on_ended();
        };
        parts.on_complete = [this](const std::shared_ptr<SendRun>& run) {
            FanoutLane& home = *lanes[run->home];
            asio::post(home.executor(), [&home, run] { home.checkpoint(run); });
        };
        for (std::size_t i = 0; i < loops.size(); ++i) {
            lanes.push_back(std::make_unique<FanoutLane>(loops.lane(i), i, loops.size(), parts));
            stoppers.push_back(std::make_unique<pns::Nursery>(loops.lane(i).get_executor()));
        }
        for (auto& lane : lanes) {
            asio::post(lane->executor(), [&lane = *lane] { lane.nursery().start(lane.tick()); });
        }
    }

    void launch(const std::shared_ptr<SendRun>& run);
    pns::Task<void> open_strands(std::shared_ptr<SendRun> run);
    void begin(const std::shared_ptr<SendRun>& run, std::vector<Strand> strands);

    std::shared_ptr<DeviceResults> keep(DeviceResults::Keep what) const {
        return std::make_shared<DeviceResults>(what, room);
    }

    Loops& loops;
    Ended ended;
    std::shared_ptr<ResultsRoom> room;
    PruneGates gates;
    pns::BearerCache bearers;
    FanoutParts parts;
    std::vector<std::unique_ptr<FanoutLane>> lanes;
    std::vector<std::unique_ptr<pns::Nursery>> stoppers;  ///< by lane
    mutable std::mutex mutex;
    std::map<std::pair<std::uint32_t, std::string>, std::shared_ptr<SendRun>> open;
};

void Fanout::Impl::launch(const std::shared_ptr<SendRun>& run) {
    {
        std::lock_guard lock(mutex);
        open[{run->hub->row.number, run->send.id}] = run;
    }
    FanoutLane& home = *lanes[run->home];
    asio::post(home.executor(), [this, &home, run] {
        home.adopt(run);
        if (run->tally.complete()) {
            home.checkpoint(run);
            return;
        }
        const pns::Platform* platform = pns::platform_by_format(run->send.format);
        const bool pooled = run->gcm_through_fcmv1 && run->send.direct_handles.empty() &&
                            (run->send.format == "gcm" || run->send.format == "fcmv1");
        if (pooled) platform = nullptr;  // registrations of both platforms
        const bool small = run->todo.count() <= parts.config.fanout_chunk_devices;
        if (platform != nullptr) {
            begin(run, {{platform_index(*platform), run->todo.partitions}});
        } else if (small) {
            begin(run, {{Strand::mixed, run->todo.partitions}});
        } else {
            home.nursery().start(open_strands(run));
        }
    });
}

pns::Task<void> Fanout::Impl::open_strands(std::shared_ptr<SendRun> run) {
    auto read = [this, run] { return split(parts.registry, *run); };
    auto strands = co_await on_store(parts.store, std::move(read));
    begin(run, std::move(strands));
}

void Fanout::Impl::begin(const std::shared_ptr<SendRun>& run, std::vector<Strand> strands) {
    const auto shared = std::make_shared<const std::vector<Strand>>(std::move(strands));
    for (auto& lane : lanes) {
        asio::post(lane->executor(), [&lane = *lane, run, shared] { lane.begin(run, shared); });
    }
}

Fanout::Fanout(Loops& loops, StorePool& store, registry::Registry& registry, Hubs& hubs,
               Metrics& metrics, const Config& config)
    : impl_(std::make_unique<Impl>(loops, store, registry, hubs, metrics, config)) {}

Fanout::~Fanout() = default;

bool Fanout::may_accept() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->open.size() < impl_->parts.config.sends_open_max;
}

void Fanout::start(std::shared_ptr<const HubState> hub, registry::Send send,
                   registry::Selection selection, std::shared_ptr<DeviceResults> results,
                   std::function<void()> ended) {
    const std::uint64_t audience = selection.count();
    auto run = std::make_shared<SendRun>(std::move(hub), std::move(send), std::move(selection),
                                         audience, registry::Progress{});
    run->results = results ? std::move(results) : impl_->keep(DeviceResults::Keep::failures);
    run->on_ended = std::move(ended);
    run->prepare(impl_->lanes.size(), impl_->parts.config.gcm_through_fcmv1);
    impl_->launch(run);
}

void Fanout::resume(std::vector<registry::OpenSend> open) {
    for (registry::OpenSend& left : open) {
        auto hub = impl_->parts.hubs.find(left.hub.number);
        if (!hub) continue;
        const std::uint64_t audience = left.selection.count();
        registry::Selection todo = std::move(left.selection);
        for (std::size_t p = 0; p < todo.partitions.size() && p < left.progress.done.size(); ++p) {
            todo.partitions[p] -= left.progress.done[p];
        }
        auto run = std::make_shared<SendRun>(std::move(hub), std::move(left.send), std::move(todo),
                                             audience, std::move(left.progress));
        run->results = impl_->keep(DeviceResults::Keep::failures);
        run->prepare(impl_->lanes.size(), impl_->parts.config.gcm_through_fcmv1);
        log_info("taking up a send that was open",
                 {{"send", run->send.id}, {"devices_left", std::to_string(run->todo.count())}});
        impl_->launch(run);
    }
}

std::unique_ptr<registry::Progress> Fanout::progress(std::uint32_t hub,
                                                     const std::string& send_id) const {
    std::lock_guard lock(impl_->mutex);
    const auto run = impl_->open.find({hub, send_id});
    if (run == impl_->open.end()) return nullptr;
    return std::make_unique<registry::Progress>(run->second->tally.summary());
}

std::shared_ptr<DeviceResults> Fanout::results_of_all() const {
    return impl_->keep(DeviceResults::Keep::all);
}

std::shared_ptr<DeviceResults> Fanout::results(std::uint32_t hub,
                                               const std::string& send_id) const {
    std::lock_guard lock(impl_->mutex);
    const auto run = impl_->open.find({hub, send_id});
    return run == impl_->open.end() ? nullptr : run->second->results;
}

void Fanout::set_on_ended(Ended ended) {
    impl_->ended = std::move(ended);
}

void Fanout::forget_senders(std::uint32_t hub) {
    impl_->gates.forget(hub);
    for (auto& lane : impl_->lanes) {
        asio::post(lane->executor(), [&lane = *lane, hub] { lane.forget_senders(hub); });
    }
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
    figures.device_results_held = impl_->room->held();
    return figures;
}

pns::Task<void> Fanout::stop(std::int64_t drain_ms) {
    // Every lane must have handed in its notes before the last checkpoints are taken.
    for (const Phase phase : {Phase::drain, Phase::park}) {
        auto start = [this, phase, drain_ms](registry::Done<void> done) {
            const auto left = std::make_shared<std::atomic<std::size_t>>(impl_->lanes.size());
            for (std::size_t i = 0; i < impl_->lanes.size(); ++i) {
                asio::post(impl_->lanes[i]->executor(), [this, i, phase, drain_ms, left, done] {
                    impl_->stoppers[i]->start(
                        stop_lane(*impl_->lanes[i], phase, drain_ms, left, done));
                });
            }
        };
        co_await committed<void>(std::move(start));
    }
}

}  // namespace hub
