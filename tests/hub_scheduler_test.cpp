// Scheduled sends: times alone, firing with a clock that the test moves, and over the wire.

#include "hub/send/scheduler.hpp"

#include <catch2/catch.hpp>
#include <functional>
#include <future>
#include <limits>
#include <map>
#include <random>
#include <thread>

#include "hub/process/log.hpp"
#include "hub/process/metrics.hpp"
#include "hub/send/admission.hpp"
#include "hub/send/fanout.hpp"
#include "hub/send/fanout_lane.hpp"
#include "hub/send/send_request.hpp"
#include "hub/send/trace.hpp"
#include "hub/text/times.hpp"
#include "pns/clock.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/just_now.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/registry_fixture.hpp"
#include "tests/support/world.hpp"

using hub::Schedule;
using registry::SendState;
using registry_test::Opened;
using support::World;

namespace {

pns::Task<void> fire_and_tell(hub::Scheduler& scheduler, std::int64_t now_ms,
                              std::promise<std::size_t>& fired) {
    const auto count = co_await scheduler.fire_due(now_ms);
    fired.set_value(count);
}

pns::Task<void> stop_all(hub::Scheduler& scheduler, hub::Fanout& fanout,
                         std::promise<void>& stopped) {
    co_await scheduler.stop();
    co_await fanout.stop(0);
    stopped.set_value();
}

/// A store with one hub without credentials, and everything that a scheduled send meets on its way.
class Desk {
  public:
    /// `first` is called when what was open has been taken up and no lane runs yet.
    explicit Desk(const std::filesystem::path& directory,
                  const std::function<void(hub::Fanout&, std::uint32_t hub)>& first = {})
        : store_(registry_test::options_in(directory)) {
        hub::open_log("off", "text");
        if (store_->hubs().empty()) create_hub();
        hubs_ = std::make_unique<hub::Hubs>(*store_);
        registry::TraceOptions traced;
        traced.directory = directory;
        std::string why;
        hub::Trace::Settings settings;
        settings.key = "key";
        settings.now = [] { return pns::system_clock().wall_ms(); };
        trace_ = std::make_unique<hub::Trace>(
            std::move(registry::TraceStore::open(traced, why).value()), settings, loops_.size());
        fanout_ = std::make_unique<hub::Fanout>(loops_, pool_, *store_, *hubs_, metrics_, config,
                                                *trace_, bearers_, std::numeric_limits<int>::max());
        admission_ = std::make_unique<hub::Admission>(
            hub::Admission::Parts{pool_, *store_, *fanout_, metrics_, config, clock});
        scheduler_ = std::make_unique<hub::Scheduler>(
            loops_.lane(0),
            hub::Scheduler::Parts{pool_, *store_, *hubs_, *fanout_, *admission_, config, clock});
        auto open = store_->open_sends().value();
        scheduler_->resume(open);
        resumed = open.size();
        fanout_->resume(std::move(open));
        if (first) first(*fanout_, hub());
        loops_.run();
    }
    ~Desk() {
        std::promise<void> stopped;
        boost::asio::post(loops_.lane(0),
                          [&] { children_.start(stop_all(*scheduler_, *fanout_, stopped)); });
        stopped.get_future().wait();
        loops_.stop();
        pool_.join();
        store_->close();
    }

    std::uint32_t hub() const { return store_->hubs().front().number; }
    Opened& store() { return store_; }
    hub::Hubs& hubs() { return *hubs_; }
    hub::Scheduler& scheduler() { return *scheduler_; }

    registry::Send schedule(const std::string& id, std::int64_t due_ms,
                            const std::string& tags = "all", std::uint32_t canary_ppm = 0) {
        registry::Send send;
        send.id = id;
        send.format = "apple";
        send.body = support::apple_body;
        send.tag_expression = tags;
        send.scheduled_at_ms = due_ms;
        send.canary_ppm = canary_ppm;
        registry::Progress progress;
        progress.state = SendState::scheduled;
        REQUIRE(store_.accept(hub(), send, {}, progress).has_value());
        scheduler_->add(hub(), send);
        return send;
    }
    registry::Result<void> cancel(const registry::Send& send) {
        registry::Progress canceled;
        canceled.state = SendState::canceled;
        return store_.accept(hub(), send, {}, canceled);
    }
    std::size_t fire(std::int64_t now_ms) {
        std::promise<std::size_t> fired;
        boost::asio::post(loops_.lane(0),
                          [&] { children_.start(fire_and_tell(*scheduler_, now_ms, fired)); });
        return fired.get_future().get();
    }
    void run() {
        boost::asio::post(loops_.lane(0), [this] { children_.start(scheduler_->run()); });
    }
    void add_device(int number, const std::string& tag = "all") {
        char handle[65];
        std::snprintf(handle, sizeof handle, "%064X", number);
        auto value =
            registry_test::registration("1-" + std::to_string(number) + "-1", handle, {tag});
        REQUIRE(store_.put(hub(), std::move(value)).has_value());
    }
    SendState state(const std::string& id) { return store_->send(hub(), id).value().second.state; }
    /// Of a send that has fired: waits until it is final.
    std::pair<registry::Send, registry::Progress> ended(const std::string& id) {
        std::pair<registry::Send, registry::Progress> stored;
        REQUIRE(support::comes_true([&] {
            stored = store_->send(hub(), id).value();
            return registry::is_final(stored.second.state);
        }));
        return stored;
    }

    void create_hub() {
        registry::HubRow row;
        row.name = "app";
        row.partitions = 4;
        row.description = hub::hub_description_json({});
        const auto created = registry_test::wait<registry::HubRow>(
            [&](auto done) { store_->create_hub(row, done); });
        REQUIRE(created.has_value());
    }

    hub::Config config;
    support::ManualClock clock{0};
    std::size_t resumed = 0;

  private:
    Opened store_;
    hub::Loops loops_{1};
    hub::StorePool pool_{2};
    hub::Metrics metrics_;
    std::unique_ptr<hub::Hubs> hubs_;
    std::unique_ptr<hub::Trace> trace_;
    pns::BearerCache bearers_{pns::system_clock()};
    std::unique_ptr<hub::Fanout> fanout_;
    std::unique_ptr<hub::Admission> admission_;
    std::unique_ptr<hub::Scheduler> scheduler_;
    pns::Nursery children_{loops_.lane(0).get_executor()};
};

std::uint64_t devices(const registry::Progress& progress) {
    std::uint64_t sum = 0;
    for (const auto& entry : progress.counts) sum += entry.second;
    return sum;
}

constexpr std::int64_t hour_ms = 3'600'000;
/// The fan-out's own deadlines look at the wall clock: the tests' clock starts so far ahead of it
/// that no run of the tests comes near them.
const std::int64_t start_ms = pns::system_clock().wall_ms() + 24 * hour_ms;

}  // namespace

TEST_CASE("a schedule gives out what is due, the earliest first", "[hub]") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    Schedule schedule;
    std::set<Schedule::Entry> model;
    CHECK(schedule.next_ms() == registry::never_ms);
    for (int i = 0; i < 2'000; ++i) {
        const Schedule::Entry entry{static_cast<std::int64_t>(random() % 1'000),
                                    static_cast<std::uint32_t>(random() % 3),
                                    "s" + std::to_string(random() % 50)};
        switch (random() % 4) {
            case 0:
            case 1:
                schedule.add(entry);
                model.insert(entry);
                break;
            case 2:
                schedule.remove(entry);
                model.erase(entry);
                break;
            default: {
                const std::int64_t now_ms = static_cast<std::int64_t>(random() % 1'000);
                const std::size_t count_max = random() % 8;
                std::vector<Schedule::Entry> expected;
                while (!model.empty() && model.begin()->due_ms <= now_ms &&
                       expected.size() < count_max) {
                    expected.push_back(*model.begin());
                    model.erase(model.begin());
                }
                CHECK(schedule.take_due(now_ms, count_max) == expected);
            }
        }
        CHECK(schedule.size() == model.size());
        CHECK(schedule.next_ms() == (model.empty() ? registry::never_ms : model.begin()->due_ms));
    }
}

TEST_CASE("a scheduled send fires once, to whom is there when it fires", "[hub]") {
    registry_test::TempDirectory directory;
    Desk desk(directory.path());
    desk.add_device(1);
    desk.schedule("s", start_ms + hour_ms);
    desk.add_device(2);
    desk.add_device(3, "other");
    CHECK(desk.fire(start_ms + hour_ms - 1) == 0);
    CHECK(desk.state("s") == SendState::scheduled);
    CHECK(desk.scheduler().figures().waiting == 1);
    CHECK(desk.fire(start_ms + hour_ms + 7) == 1);
    const auto [send, progress] = desk.ended("s");
    CHECK(progress.state == SendState::completed);
    CHECK(devices(progress) == 2);
    CHECK(send.deadline_ms == start_ms + hour_ms + 7 + hub::undelivered_ms_max);
    CHECK(desk.fire(start_ms + 9 * hour_ms) == 0);
    const auto figures = desk.scheduler().figures();
    CHECK(figures.waiting == 0);
    CHECK(figures.fired == 1);
    CHECK(figures.late_ms == 7);
}

TEST_CASE("who came a moment before a scheduled send fired is meant by it", "[hub]") {
    registry_test::TempDirectory directory;
    const bool stopped = GENERATE(false, true);  // between firing and the first checkpoint
    const auto skipped = [](const registry::Progress& progress) {
        return progress.counts.count({"apns", "Skipped"});
    };
    {
        Desk desk(directory.path());
        desk.add_device(1);
        desk.add_device(2, "$UserId:{new}");
        auto send = desk.schedule("s", pns::system_clock().wall_ms(), "all || $UserId:{new}");
        desk.clock.step_ms(pns::system_clock().wall_ms() - desk.clock.wall_ms());
        if (!stopped) {
            CHECK(desk.fire(desk.clock.wall_ms()) == 1);
            const auto [fired, progress] = desk.ended("s");
            CHECK(fired.selected_at != 0);
            CHECK(devices(progress) == 2);
            CHECK(skipped(progress) == 0);
            return;
        }
        const auto plan = hub::plan_of(send.tag_expression, desk.config);
        const auto selected = desk.store()->select(desk.hub(), std::get<tagexpr::Plan>(plan), {});
        REQUIRE(desk.store().accept(desk.hub(), send, *selected, {}).has_value());
    }
    Desk desk(directory.path());
    CHECK(desk.resumed == 1);
    const auto progress = desk.ended("s").second;
    CHECK(devices(progress) == 2);
    CHECK(skipped(progress) == 0);
}

TEST_CASE("a scheduled send without an audience ends as NoTargetFound", "[hub]") {
    registry_test::TempDirectory directory;
    Desk desk(directory.path());
    desk.schedule("s", start_ms);
    CHECK(desk.fire(start_ms) == 1);
    CHECK(desk.state("s") == SendState::no_target);
}

TEST_CASE("many scheduled sends fire each in its time", "[hub]") {
    registry_test::TempDirectory directory;
    Desk desk(directory.path());
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    std::map<std::string, std::int64_t> due;
    for (int i = 0; i < 200; ++i) {
        const std::string id = "s" + std::to_string(i);
        due[id] = start_ms + static_cast<std::int64_t>(random() % 1'000);
        desk.schedule(id, due[id]);
    }
    for (std::int64_t now = start_ms; !due.empty(); now += 100) {
        const auto expected = std::count_if(due.begin(), due.end(),
                                            [&](const auto& one) { return one.second <= now; });
        CHECK(desk.fire(now) == static_cast<std::size_t>(expected));
        std::erase_if(due, [&](const auto& one) {
            const bool fired = desk.state(one.first) != SendState::scheduled;
            CHECK(fired == (one.second <= now));
            return fired;
        });
    }
}

TEST_CASE("scheduled sends survive a restart and fire late rather than never", "[hub]") {
    registry_test::TempDirectory directory;
    {
        Desk desk(directory.path());
        desk.add_device(1);
        desk.schedule("missed", start_ms + 1);
        desk.schedule("ahead", start_ms + 5 * hour_ms);
        desk.schedule("fired", start_ms);
        CHECK(desk.fire(start_ms) == 1);
        desk.ended("fired");
        CHECK(desk.cancel(desk.schedule("canceled", start_ms + 1)).has_value());
    }
    Desk desk(directory.path());
    CHECK(desk.resumed == 0);
    CHECK(desk.scheduler().figures().waiting == 2);
    CHECK(desk.fire(start_ms + hour_ms) == 1);
    CHECK(desk.ended("missed").second.state == SendState::completed);
    CHECK(desk.scheduler().figures().late_ms == hour_ms - 1);
    CHECK(desk.state("ahead") == SendState::scheduled);
    CHECK(desk.state("canceled") == SendState::canceled);
    CHECK(desk.fire(start_ms + 6 * hour_ms) == 1);
    CHECK(desk.ended("ahead").second.state == SendState::completed);
}

TEST_CASE("of firing and cancelling at the same time exactly one wins", "[hub]") {
    registry_test::TempDirectory directory;
    Desk desk(directory.path());
    desk.add_device(1);
    int canceled = 0;
    for (int i = 0; i < 60; ++i) {
        const auto send = desk.schedule("s" + std::to_string(i), start_ms);
        std::promise<bool> told;
        std::thread canceler([&] {
            for (int turn = 0; turn < i * 4; ++turn) std::this_thread::yield();
            told.set_value(desk.cancel(send).has_value());
        });
        const std::size_t fired = desk.fire(start_ms);
        canceler.join();
        const bool won = told.get_future().get();
        INFO("round " << i);
        CHECK(fired + (won ? 1 : 0) == 1);
        const auto progress = desk.ended(send.id).second;
        CHECK(progress.state == (won ? SendState::canceled : SendState::completed));
        CHECK(devices(progress) == (won ? 0 : 1));
        canceled += won ? 1 : 0;
    }
    INFO("canceled " << canceled);
}

TEST_CASE("a held send that is resumed right after a restart goes on", "[hub]") {
    registry_test::TempDirectory directory;
    {
        Desk desk(directory.path());
        for (int i = 1; i <= 8; ++i) desk.add_device(i);
        desk.schedule("held", start_ms, "all", 100'000);
        CHECK(desk.fire(start_ms) == 1);
        REQUIRE(support::comes_true([&] { return desk.state("held") == SendState::held; }));
    }
    std::promise<bool> allowed;
    Desk desk(directory.path(), [&](hub::Fanout& fanout, std::uint32_t hub) {
        // Before a lane has found out which devices are the canary.
        fanout.control(hub, "held", hub::SendEvent::resume, [&](auto answer) {
            allowed.set_value(answer.has_value() && answer->allowed);
        });
    });
    CHECK(allowed.get_future().get());
    CHECK(devices(desk.ended("held").second) == 8);
}

TEST_CASE("what cannot fire now is tried again", "[hub]") {
    registry_test::TempDirectory directory;
    Desk desk(directory.path());
    desk.add_device(1);
    desk.schedule("s", start_ms);
    SECTION("because too many sends are open") {
        desk.config.sends_open_max = 0;
        CHECK(desk.fire(start_ms) == 0);
        CHECK(desk.scheduler().figures().waiting == 1);
        desk.config.sends_open_max = 10;
    }
    SECTION("because the hub is disabled") {
        const auto state = desk.hubs().find("app");
        auto description = state->description;
        description.disabled = true;
        desk.hubs().put(state->row, description);
        CHECK(desk.fire(start_ms) == 0);
        CHECK(desk.state("s") == SendState::scheduled);
        description.disabled = false;
        desk.hubs().put(state->row, description);
    }
    CHECK(desk.fire(start_ms + 60'000) == 1);
    CHECK(desk.ended("s").second.state == SendState::completed);
}

TEST_CASE("scheduled sends of a deleted hub are forgotten", "[hub]") {
    registry_test::TempDirectory directory;
    Desk desk(directory.path());
    desk.schedule("s", start_ms);
    desk.hubs().erase("app");
    CHECK(desk.fire(start_ms) == 0);
    CHECK(desk.scheduler().figures().waiting == 0);
}

TEST_CASE("the running scheduler follows its clock and stops", "[hub]") {
    registry_test::TempDirectory directory;
    Desk desk(directory.path());
    desk.clock.step_ms(start_ms - desk.clock.wall_ms());
    desk.run();
    desk.schedule("past", start_ms - 1);
    CHECK(desk.ended("past").second.state == SendState::no_target);
    desk.schedule("future", start_ms + hour_ms);
    desk.clock.step_ms(start_ms + hour_ms - desk.clock.wall_ms());
    CHECK(desk.ended("future").second.state == SendState::no_target);
}

// --- over the wire ---

namespace {

struct Scheduled {
    int status = 0;
    std::string id, body;
};

Scheduled schedule(World& world, const std::string& time, const std::string& tags = "all",
                   const std::string& path = "/app/schedulednotifications/?api-version=2020-06") {
    std::vector<std::pair<std::string, std::string>> headers{
        {"servicebusnotification-format", "apple"}};
    if (!time.empty()) headers.emplace_back("servicebusnotification-scheduletime", time);
    if (!tags.empty()) headers.emplace_back("servicebusnotification-tags", tags);
    const auto reply = world.call("POST", path, support::apple_body, std::move(headers));
    std::string id(reply.header("location"));
    if (reply.status == 201) {
        CHECK(id.starts_with("https://"));
        CHECK(id.find(path.substr(0, path.find('?'))) != std::string::npos);  // as it was asked
    }
    id = id.substr(0, id.find('?'));
    return {reply.status, id.substr(id.rfind('/') + 1), reply.body};
}

std::string state_of(World& world, const std::string& id) {
    const auto reply = world.call("GET", "/app/messages/" + id);
    REQUIRE(reply.status == 200);
    return bench::parse_telemetry(reply.body).state;
}

int cancel(World& world, const std::string& id) {
    return world.call("DELETE", "/app/schedulednotifications/" + id + "?api-version=2020-06")
        .status;
}

/// Without zone, as .NET and Java write it.
std::string plain_time(std::int64_t time_ms) {
    return hub::iso_seconds(time_ms).substr(0, 19);
}

}  // namespace

TEST_CASE("a scheduled send is shown, cancelled and kept over a restart", "[hub]") {
    World world;
    const std::int64_t now = pns::system_clock().wall_ms();
    const auto first = schedule(world, plain_time(now + hour_ms));
    const auto second =
        schedule(world, hub::iso_ms(now + 6 * 24 * hour_ms), "", "/App/ScheduledNotifications");
    REQUIRE(first.status == 201);
    REQUIRE(second.status == 201);
    CHECK(state_of(world, first.id) == "Scheduled");
    world.stop();
    world.start();
    CHECK(state_of(world, first.id) == "Scheduled");
    CHECK(cancel(world, first.id) == 200);
    CHECK(state_of(world, first.id) == "Canceled");
    CHECK(cancel(world, first.id) == 200);
    CHECK(state_of(world, second.id) == "Scheduled");
    CHECK(cancel(world, "NH-unknown") == 404);
    CHECK(cancel(world, world.send("apple", "nobody", support::apple_body)) == 404);
    CHECK(world.service().parts().scheduler.figures().waiting == 1);
}

TEST_CASE("a scheduled send goes out in its time, one in the past at once", "[hub]") {
    World world;
    world.install("one", "apns", support::handle_of("apns", 1));
    const auto past = schedule(world, support::just_now(), "");
    REQUIRE(past.status == 201);
    CHECK(world.finish(past.id).devices("Success") == 1);
    CHECK(cancel(world, past.id) == 404);

    const std::int64_t due_ms = pns::system_clock().wall_ms() + 700;
    const auto soon = schedule(world, hub::iso_ms(due_ms));
    REQUIRE(soon.status == 201);
    const auto told = world.finish(soon.id);
    CHECK(told.devices("Success") == 1);
    CHECK(told.started_at_ms >= due_ms);
    CHECK(world.service().parts().scheduler.figures().late_ms < 1'000);
}

TEST_CASE("scheduled sends of one hub leave places to others", "[hub]") {
    hub::Config config;
    config.sends_scheduled_max = 10;
    World world(config);
    const std::string time = plain_time(pns::system_clock().wall_ms() + hour_ms);
    const std::string other = "/other/schedulednotifications";
    hub::create_hub(world.client(), "other", {});
    std::string last;
    for (int i = 0; i < 7; ++i) {  // one of its own, 80 % of 8
        const auto taken = schedule(world, time);
        CHECK(taken.status == 201);
        last = taken.id;
    }
    const auto refused = schedule(world, time);
    CHECK(refused.status == 429);
    CHECK(refused.body.find("its own share") != std::string::npos);
    CHECK(schedule(world, time, "all", other).status == 201);
    world.stop();
    world.start();
    CHECK(schedule(world, time).status == 429);
    CHECK(schedule(world, time, "all", other).status == 429);
    // One that is canceled, or refused for another reason, holds no place.
    CHECK(world.call("DELETE", "/app/schedulednotifications/" + last).status == 200);
    CHECK(schedule(world, "tomorrow", "all", other).status == 400);
    CHECK(world.parts().scheduler.places().used() == 7);
    CHECK(schedule(world, time, "all", other).status == 201);
}

TEST_CASE("a schedule that cannot be kept is refused with the reason", "[hub]") {
    hub::Config config;
    config.sends_scheduled_max = 2;
    World world(config);
    const std::int64_t now = pns::system_clock().wall_ms();
    const auto refused = [&](const std::string& time, const std::string& word,
                             const std::string& tags = "all") {
        const auto answer = schedule(world, time, tags);
        INFO(answer.body);
        CHECK(answer.status == 400);
        CHECK(answer.body.find(word) != std::string::npos);
    };
    refused("", "missing");
    refused("tomorrow", "is no time");
    refused("0001-01-01T00:00:00", "more than a day past");
    refused(plain_time(now - 25 * hour_ms), "more than a day past");
    refused(plain_time(now + 8 * 24 * hour_ms), "7 days");
    refused(plain_time(now + hour_ms), "column", "a &&");
    CHECK(schedule(world, plain_time(now + hour_ms), "all", "/app/schedulednotifications?direct")
              .status == 400);
    CHECK(schedule(world, plain_time(now + hour_ms)).status == 201);
    CHECK(schedule(world, plain_time(now + hour_ms)).status == 201);
    CHECK(schedule(world, plain_time(now + hour_ms)).status == 429);
}
