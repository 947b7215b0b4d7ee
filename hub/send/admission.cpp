// Tested by tests/hub_admission_test.cpp, tests/hub_service_test.cpp, tests/hub_scheduler_test.cpp.

#include "hub/send/admission.hpp"

#include "hub/process/metrics.hpp"
#include "hub/send/send_request.hpp"

namespace hub {

void keep_first(registry::Selection& selection, std::size_t devices) {
    for (registry::Bitmap& partition : selection.partitions) {
        registry::Bitmap kept;
        for (auto number = partition.begin(); devices > 0 && number != partition.end(); ++number) {
            kept.add(*number);
            --devices;
        }
        partition = std::move(kept);
    }
}

pns::Task<Admission::Selected> Admission::select(const NewSend& wanted) {
    const registry::Send& send = wanted.send;
    registry::Selection selection;
    if (wanted.reach == Reach::handles) {
        if (send.direct_handles.empty())
            co_return Declined(Refusal{400, "A direct send needs at least one device handle."});
        selection.partitions.emplace_back().addRange(0, send.direct_handles.size());
    } else {
        auto parsed = plan_of(send.tag_expression, parts_.config);
        if (!ok(parsed)) co_return Declined(std::get<Refusal>(std::move(parsed)));
        const auto& plan = std::get<tagexpr::Plan>(parsed);
        const std::uint32_t hub = wanted.hub->row.number;
        const registry::Universe universe = universe_of(send, parts_.config);
        auto selected = parts_.registry.try_select(hub, plan, universe);
        if (!selected && selected.error() == registry::errc::not_in_memory) {
            auto read = [this, hub, &plan, &universe] {
                return parts_.registry.select(hub, plan, universe);
            };
            selected = co_await on_store(parts_.store, std::move(read));
        }
        if (!selected) co_return Declined(selected.error());
        selection = std::move(*selected);
    }
    if (auto over = check_audience(wanted.bounds, selection.count()))
        co_return Declined(std::move(*over));
    co_return selection;
}

pns::Task<Admission::Outcome> Admission::record(NewSend& wanted, registry::Selection selection,
                                                registry::Progress progress) {
    const auto taken = registry::frozen(std::move(wanted.send), std::move(selection));
    auto write = [&](registry::Done<void> done) {
        const std::uint32_t hub = wanted.hub->row.number;
        if (wanted.answer) {
            parts_.registry.accept_once(hub, taken, progress, std::move(*wanted.answer),
                                        std::move(done));
        } else {
            parts_.registry.accept(hub, taken, progress, std::move(done));
        }
    };
    const auto written = co_await committed<void>(std::move(write));
    if (!written) co_return Declined(written.error());
    co_return taken;
}

pns::Task<Admission::Outcome> Admission::accept(NewSend wanted) {
    auto room = parts_.fanout.take_place(wanted.hub->row.number, wanted.send.canary_ppm != 0);
    if (auto* full = std::get_if<Fanout::Busy>(&room)) co_return Declined(std::move(*full));
    const std::int64_t now_ms = parts_.clock.wall_ms();
    auto selected = co_await select(wanted);
    if (auto* declined = std::get_if<Declined>(&selected)) co_return std::move(*declined);
    auto& selection = std::get<registry::Selection>(selected);
    const std::uint64_t devices = selection.count();
    if (devices > wanted.devices_max) keep_first(selection, wanted.devices_max);
    registry::Progress progress;
    if (devices == 0) {
        progress.state = registry::SendState::no_target;
        progress.started_at_ms = progress.ended_at_ms = now_ms;
    }
    auto outcome = co_await record(wanted, std::move(selection), std::move(progress));
    const auto* taken = std::get_if<std::shared_ptr<const registry::FrozenSend>>(&outcome);
    if (taken == nullptr) co_return outcome;
    parts_.metrics.send_opened(wanted.hub->row.name, (*taken)->send.format);
    if (devices > 0) {
        parts_.fanout.start(wanted.hub, *taken, std::get<Shares::Place>(std::move(room)),
                            std::move(wanted.results), std::move(wanted.ended));
    }
    co_return outcome;
}

pns::Task<Admission::Outcome> Admission::schedule(NewSend wanted) {
    if (wanted.bounds.any()) {
        auto selected = co_await select(wanted);
        if (auto* declined = std::get_if<Declined>(&selected)) co_return std::move(*declined);
    } else {
        const auto plan = plan_of(wanted.send.tag_expression, parts_.config);
        if (!ok(plan)) co_return Declined(std::get<Refusal>(plan));
    }
    registry::Progress progress;
    progress.state = registry::SendState::scheduled;
    registry::Selection later;
    co_return co_await record(wanted, std::move(later), std::move(progress));
}

}  // namespace hub
