#include "registry/trace_store.hpp"

#include <rocksdb/db.h>
#include <rocksdb/env.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "registry/trace_block.hpp"
#include "tests/support/faulty_env.hpp"
#include "tests/support/registry_fixture.hpp"

namespace {

using namespace registry;
using registry_test::TempDirectory;

constexpr std::int64_t day_ms = 86'400'000;
constexpr std::int64_t start_ms = 1'800'000'000'000;

/// The system's environment with a clock that tests move.
class ManualEnv final : public rocksdb::EnvWrapper {
  public:
    ManualEnv() : EnvWrapper(rocksdb::Env::Default()) {}
    const char* Name() const override { return "ManualEnv"; }
    rocksdb::Status GetCurrentTime(std::int64_t* seconds) override {
        *seconds = now_ms.load() / 1'000;
        return rocksdb::Status::OK();
    }
    std::atomic<std::int64_t> now_ms{start_ms};
};

std::unique_ptr<TraceStore> open_in(const TempDirectory& directory, TraceOptions options = {}) {
    options.directory = directory.path();
    std::string why;
    auto store = TraceStore::open(options, why);
    INFO(why);
    REQUIRE(store);
    return std::move(*store);
}

/// One attempt as a test writes it, with strings of its own.
struct Told {
    std::uint32_t hub = 1;
    std::string send = "send-1";
    std::int64_t enqueued_at_ms = start_ms;
    std::string device = "phone";
    std::uint32_t number = 0;
    std::uint8_t attempt = 1;
    std::int64_t at_ms = start_ms;
    std::int64_t retry_at_ms = 0;
    std::string outcome = "Success";

    TraceEvent event() const {
        TraceEvent e;
        e.hub = hub;
        e.send_id = send;
        e.enqueued_at_ms = enqueued_at_ms;
        e.device_id = device;
        e.registration_id = device;
        e.number = number;
        e.platform = "apns";
        e.attempt = attempt;
        e.at_ms = at_ms;
        e.took_ms = 7;
        e.retry_at_ms = retry_at_ms;
        e.outcome = outcome;
        e.reason = "Because";
        e.provider_id = "id-1";
        return e;
    }
};

void write(TraceStore& store, const std::vector<Told>& told) {
    std::string bytes;
    for (const Told& one : told) append_trace_event(bytes, one.event());
    REQUIRE(store.write_events(bytes).value() == told.size());
}

/// All pages of a send, devices in order.
std::vector<std::string> devices_of(const TraceStore& store, const std::string& send,
                                    const std::string& outcome = {}, std::size_t page_size = 1'000,
                                    std::int64_t now_ms = start_ms) {
    std::vector<std::string> out;
    std::string after;
    do {
        const auto page = store.of_send(1, send, outcome, after, page_size, now_ms).value();
        for (const auto& push : page.pushes) out.push_back(push.device_id);
        CHECK(page.pushes.size() <= page_size);
        after = page.next;
    } while (!after.empty());
    return out;
}

RetirementRecord record_of(const std::string& device, std::uint8_t handle, std::int64_t at_ms) {
    RetirementRecord record;
    record.hub = 1;
    record.at_ms = at_ms;
    record.platform = "apns";
    record.reason = "Unregistered";
    record.send_id = "send-1";
    record.by = "provider";
    record.installation_id = device;
    record.registration_id = device + "-native";
    record.handle.fill(handle);
    record.number = handle;
    return record;
}

}  // namespace

TEST_CASE("events, references, records and held ones read back as written", "[registry]") {
    const Told told{3, "s", start_ms, "d", 9, 200, start_ms + 1, start_ms + 2, "Throttled"};
    std::string bytes;
    append_trace_event(bytes, told.event());
    const auto event = decode_trace_event(bytes).value();
    CHECK(event.send_id == "s");
    CHECK(event.number == 9);
    CHECK(event.attempt == 200);
    CHECK(event.retry_at_ms == start_ms + 2);
    CHECK(event.provider_id == "id-1");
    const std::string reference_bytes = encode_trace_reference(told.event());
    const auto reference = decode_trace_reference(reference_bytes).value();
    CHECK(reference.device_id == "d");
    CHECK_FALSE(reference.final);
    const auto record = record_of("phone", 5, start_ms);
    CHECK(decode_retirement(1, encode_retirement(record)).value() == record);
    HeldRetirement held;
    held.hub = 2;
    held.ticket = 77;
    held.platform = "wns";
    held.retirement.handle = "https://example";
    held.retirement.generation = 123;
    held.retirement.dead_since_ms = std::numeric_limits<std::int64_t>::max();
    // As it was written before it had an app and suspicions: the first version.
    std::string old_bytes = encode_held(held);
    old_bytes.resize(old_bytes.size() - 2);
    old_bytes[0] = 1;
    const auto old = decode_held(held_key(2, 77), old_bytes).value();
    CHECK(old.retirement.handle == "https://example");
    CHECK((old.app.empty() && !old.suspicion));
    held.app = "com.example";
    held.suspicion = true;
    const auto back = decode_held(held_key(2, 77), encode_held(held)).value();
    CHECK((back.app == "com.example" && back.suspicion));
    CHECK(back.hub == 2);
    CHECK(back.retirement.ticket == 77);
    CHECK(back.retirement.handle == "https://example");
    CHECK(back.retirement.dead_since_ms == held.retirement.dead_since_ms);
}

TEST_CASE("no cut and no foreign version of a trace value is taken", "[registry]") {
    const Told told;
    HeldRetirement held;
    std::string event_bytes;
    append_trace_event(event_bytes, told.event());
    const std::vector<std::string> whole{event_bytes, encode_trace_reference(told.event()),
                                         encode_retirement(record_of("phone", 1, start_ms)),
                                         encode_held(held)};
    const auto refused = [](std::size_t kind, const std::string& bytes) {
        switch (kind) {
            case 0:
                return !decode_trace_event(bytes);
            case 1:
                return !decode_trace_reference(bytes);
            case 2:
                return !decode_retirement(1, bytes);
            default:
                return !decode_held(held_key(1, 1), bytes);
        }
    };
    for (std::size_t kind = 0; kind < whole.size(); ++kind) {
        INFO("kind " << kind);
        for (std::size_t cut = 0; cut < whole[kind].size(); ++cut) {
            CHECK(refused(kind, whole[kind].substr(0, cut)));
        }
        CHECK(refused(kind, whole[kind] + "x"));
        std::string other = whole[kind];
        other[0] = 3;
        CHECK(refused(kind, other));
        CHECK_FALSE(refused(kind, whole[kind]));
    }
}

TEST_CASE("a send lists each device once, newest first, with all its attempts", "[registry]") {
    const TempDirectory directory;
    const auto store = open_in(directory);
    write(*store, {{1, "send-1", start_ms, "a", 0, 1, start_ms + 10, start_ms + 50, "Throttled"},
                   {1, "send-1", start_ms, "b", 1, 1, start_ms + 20, 0, "BadChannel"},
                   {1, "send-1", start_ms, "c", 2, 1, start_ms + 30, start_ms + 99, "Throttled"},
                   {1, "send-1", start_ms, "a", 0, 2, start_ms + 60, 0, "Success"},
                   {1, "other", start_ms, "a", 0, 1, start_ms + 70, 0, "Success"},
                   {2, "send-1", start_ms, "z", 0, 1, start_ms + 80, 0, "Success"}});
    CHECK(devices_of(*store, "send-1") == std::vector<std::string>{"a", "c", "b"});
    CHECK(devices_of(*store, "send-1", {}, 1) == std::vector<std::string>{"a", "c", "b"});
    CHECK(devices_of(*store, "send-1", "success") == std::vector<std::string>{"a"});
    CHECK(devices_of(*store, "send-1", "Pending") == std::vector<std::string>{"c"});
    CHECK(devices_of(*store, "send-1", "Throttled").empty());
    CHECK(devices_of(*store, "nothing").empty());
    const auto page = store->of_send(1, "send-1", "Success", {}, 10, start_ms).value();
    REQUIRE(page.pushes.size() == 1);
    REQUIRE(page.pushes[0].attempts.size() == 2);
    CHECK(page.pushes[0].attempts[0].outcome == "Throttled");
    CHECK(page.pushes[0].attempts[0].retry_at_ms == start_ms + 50);
    CHECK(page.pushes[0].attempts[1].outcome == "Success");
    CHECK(page.pushes[0].attempts[1].took_ms == 7);
    CHECK(store->of_send(1, "send-1", {}, "short", 10, start_ms).error() == errc::not_found);
}

TEST_CASE("a device lists its pushes by send, newest first, over pages", "[registry]") {
    const TempDirectory directory;
    const auto store = open_in(directory);
    std::vector<Told> told;
    for (int i = 0; i < 7; ++i) {
        Told one;
        one.send = "send-" + std::to_string(i);
        one.enqueued_at_ms = start_ms + i * 100;
        one.at_ms = one.enqueued_at_ms + 5;
        one.retry_at_ms = one.enqueued_at_ms + 50;
        told.push_back(one);
        one.attempt = 2;
        one.at_ms += 50;
        one.retry_at_ms = 0;
        told.push_back(one);
        one.device = "phone2";
        told.push_back(one);
    }
    write(*store, told);
    for (const std::size_t page_size : {1u, 2u, 3u, 7u, 100u}) {
        std::vector<std::string> sends;
        std::string after;
        do {
            const auto page = store
                                  ->of_device(1, DeviceKind::installation, "phone", after,
                                              page_size, start_ms + 10'000)
                                  .value();
            for (const auto& push : page.pushes) {
                sends.push_back(push.send_id);
                CHECK(push.attempts.size() == 2);
            }
            after = page.next;
        } while (!after.empty());
        CHECK(sends == std::vector<std::string>{"send-6", "send-5", "send-4", "send-3", "send-2",
                                                "send-1", "send-0"});
    }
    CHECK(store->of_device(1, DeviceKind::registration, "phone", {}, 10, start_ms)
              .value()
              .pushes.empty());
}

TEST_CASE("pages of the trace are bounded in bytes and lead to all", "[registry][bounds]") {
    TempDirectory directory;
    const auto store = open_in(directory);
    constexpr std::uint32_t pushes = 120;
    const std::string reason(20'000, 'r');
    std::string events;
    for (std::uint32_t i = 0; i < pushes; ++i) {
        Told told;
        told.number = i;
        told.device = "phone" + std::to_string(i);
        for (const bool of_one_device : {false, true}) {
            if (of_one_device) {
                told.device = "one";
                told.send = "send-" + std::to_string(1'000 + i);
            }
            auto event = told.event();
            event.reason = reason;
            append_trace_event(events, event);
        }
    }
    REQUIRE(store->write_events(events));
    const auto read_all = [&](auto&& read) {
        std::size_t found = 0, pages = 0;
        std::string after;
        do {
            const auto page = read(after);
            REQUIRE(page.has_value());
            CHECK(page->pushes.size() <= 54);  // a mebibyte, and the last
            found += page->pushes.size();
            after = page->next;
        } while (!after.empty() && ++pages < 10);
        CHECK(found == pushes);
    };
    read_all([&](const std::string& after) {
        return store->of_send(1, "send-1", "", after, 1'000, start_ms);
    });
    read_all([&](const std::string& after) {
        return store->of_device(1, DeviceKind::installation, "one", after, 1'000, start_ms);
    });
}

TEST_CASE("the trace agrees with a map over random events, erasures and reopening", "[registry]") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const TempDirectory directory;
    TraceOptions options;
    options.memtable_bytes = 64u << 10;
    auto store = open_in(directory, options);
    // (send, device) -> attempts; a device has one push per send here.
    std::map<std::pair<std::string, std::string>, std::vector<Told>> model;
    std::int64_t now = start_ms;
    for (int step = 0; step < 400; ++step) {
        const std::string send = "send-" + std::to_string(random() % 6);
        const std::string device = "device-" + std::to_string(random() % 12);
        const auto what = random() % 20;
        if (what == 0) {
            std::size_t expected = 0;
            std::erase_if(model, [&](const auto& entry) {
                if (entry.first.second != device) return false;
                expected += entry.second.size();
                return true;
            });
            CHECK(store->erase_device(1, DeviceKind::installation, device).value() == expected);
        } else if (what == 1) {
            store.reset();
            store = open_in(directory, options);
        } else if (what == 2) {
            REQUIRE(store->tidy(now));
        } else {
            auto& attempts = model[{send, device}];
            Told one;
            one.send = send;
            one.device = device;
            one.number = static_cast<std::uint32_t>(std::stoul(device.substr(7)));
            one.attempt = static_cast<std::uint8_t>(attempts.size() + 1);
            one.at_ms = ++now;
            const bool final = random() % 2 == 0;
            one.retry_at_ms = final ? 0 : now + 1'000;
            one.outcome = final ? "Success" : "Throttled";
            attempts.push_back(one);
            write(*store, {one});
        }
        if (step % 20 != 0) continue;
        std::vector<std::pair<std::int64_t, std::string>> expected;
        for (const auto& [key, attempts] : model) {
            if (key.first == send) expected.emplace_back(attempts.back().at_ms, key.second);
        }
        std::sort(expected.rbegin(), expected.rend());
        std::vector<std::string> names;
        for (const auto& [at, name] : expected) names.push_back(name);
        REQUIRE(devices_of(*store, send, {}, 1 + random() % 5, now) == names);
        std::map<std::string, std::size_t> pushes;
        for (const auto& [key, attempts] : model) {
            if (key.second == device) pushes[key.first] = attempts.size();
        }
        const auto page =
            store->of_device(1, DeviceKind::installation, device, {}, 100, now).value();
        std::map<std::string, std::size_t> found;
        for (const auto& push : page.pushes) found[push.send_id] = push.attempts.size();
        REQUIRE(found == pushes);
    }
}

TEST_CASE("what is over its age is neither shown nor kept", "[registry]") {
    const TempDirectory directory;
    ManualEnv env;
    TraceOptions options;
    options.env = &env;
    options.pushes_kept_ms = 2 * day_ms;
    const auto store = open_in(directory, options);
    std::vector<Told> told;
    for (std::uint32_t i = 0; i < 1'000; ++i) {
        Told one;
        one.device = "device-" + std::to_string(i);
        one.number = i;
        told.push_back(one);
    }
    write(*store, told);
    REQUIRE(store->tidy(env.now_ms));
    CHECK(store->figures().files == 1);
    CHECK(store->figures().pushes_bytes > 0);
    env.now_ms += day_ms;
    told.resize(1);
    told[0].device = "young";
    told[0].at_ms = env.now_ms;
    write(*store, told);
    REQUIRE(store->tidy(env.now_ms));
    CHECK(store->figures().files == 2);
    CHECK(devices_of(*store, "send-1", {}, 1'000, env.now_ms).size() == 1'001);
    // Over its age by a moment: not shown, though its file is still there.
    CHECK(devices_of(*store, "send-1", {}, 1'000, start_ms + 2 * day_ms + 1) ==
          std::vector<std::string>{"young"});
    env.now_ms += day_ms + day_ms / 2;
    REQUIRE(store->tidy(env.now_ms));
    CHECK(store->figures().files == 1);
    CHECK(devices_of(*store, "send-1", {}, 1'000, start_ms) == std::vector<std::string>{"young"});
    env.now_ms += 2 * day_ms;
    REQUIRE(store->tidy(env.now_ms));
    CHECK(store->figures().files == 0);
    CHECK(store->figures().pushes_bytes == 0);
}

TEST_CASE("the trace stays within its size: the oldest files go", "[registry]") {
    const TempDirectory directory;
    TraceOptions options;
    options.memtable_bytes = 64u << 10;
    options.pushes_bytes_max = 256u << 10;
    const auto store = open_in(directory, options);
    std::mt19937 random(7);
    std::uint64_t largest = 0;
    for (int i = 0; i < 60; ++i) {
        std::vector<Told> told;
        for (std::uint32_t k = 0; k < 200; ++k) {
            Told one;
            one.at_ms = start_ms + i;
            one.number = static_cast<std::uint32_t>(i) * 200 + k;
            for (int c = 0; c < 40; ++c) one.device += static_cast<char>('a' + random() % 26);
            told.push_back(one);
        }
        write(*store, told);
        if (i % 5 != 0) continue;
        REQUIRE(store->tidy(start_ms + i));
        largest = std::max(largest, store->figures().pushes_bytes);
    }
    REQUIRE(store->tidy(start_ms + 60));
    CHECK(largest <= options.pushes_bytes_max + options.memtable_bytes);
    CHECK(largest > options.pushes_bytes_max / 3);
    const auto page = store->of_send(1, "send-1", {}, {}, 1, start_ms + 60).value();
    REQUIRE(page.pushes.size() == 1);
    CHECK(page.pushes[0].attempts[0].at_ms == start_ms + 59);
    CHECK(devices_of(*store, "send-1", {}, 1'000, start_ms + 60).size() < 60u * 200u);
}

TEST_CASE("details of failures are packed, read in pieces, and leave by size and age",
          "[registry]") {
    const TempDirectory directory;
    TraceOptions options;
    options.details_bytes_max = 4u << 20;
    options.details_kept_ms = 10 * day_ms;
    std::mt19937 random(7);
    std::string large(3 * details_piece_bytes + 17, 'x');
    for (char& c : large) c = static_cast<char>('a' + random() % 26);
    {
        auto store = open_in(directory, options);
        const std::vector<NewDetails> first{
            {1, "NH-1.xml", start_ms, "one\n"},
            {1, "NH-2.xml", start_ms, large},
            {2, "NH-1.xml", start_ms, "other"},
            {1, "a", start_ms, std::string(details_piece_bytes, 'y')},
            {1, "a1", start_ms, "z"}};
        REQUIRE(store->write_details(first).has_value());
    }
    auto store = open_in(directory, options);
    CHECK(store->details(1, "NH-1.xml", start_ms)->bytes == 4);
    CHECK(store->details(1, "NH-3.xml", start_ms).error() == errc::not_found);
    CHECK(store->details(3, "NH-1.xml", start_ms).error() == errc::not_found);
    CHECK(store->details(1, "NH-1.xml", start_ms + 10 * day_ms + 1).error() == errc::not_found);
    CHECK(store->read_details(2, "NH-1.xml", 0, 99).value() == "other");
    for (int i = 0; i < 50; ++i) {
        const std::size_t offset = random() % large.size(), bytes = random() % large.size();
        CHECK(store->read_details(1, "NH-2.xml", offset, bytes).value() ==
              large.substr(offset, bytes));
    }
    CHECK(store->read_details(1, "a", details_piece_bytes - 1, 5).value() == "y");
    const auto names = [&](const std::string& prefix, const std::string& after, std::size_t count) {
        std::string all;
        for (const auto& entry : store->list_details(1, prefix, after, count, start_ms).value())
            all += entry.name + " ";
        return all;
    };
    CHECK(names("", "", 9) == "NH-1.xml NH-2.xml a a1 ");
    CHECK(names("NH-", "", 1) == "NH-1.xml ");
    CHECK(names("NH-", "NH-1.xml", 9) == "NH-2.xml ");
    CHECK(names("", "a", 9) == "a1 ");
    CHECK(store->list_details(1, "", "", 9, start_ms + 11 * day_ms)->empty());

    for (int i = 0; i < 200; ++i) {  // 12 MiB of what compresses badly: the oldest files go
        for (char& c : large) c = static_cast<char>(random() % 256);
        const std::vector<NewDetails> one{
            {1, "NX-" + std::to_string(1'000 + i), start_ms + i, large.substr(0, 64'000)}};
        REQUIRE(store->write_details(one).has_value());
    }
    REQUIRE(store->flush().has_value());
    REQUIRE(store->tidy(start_ms).has_value());
    CHECK(store->figures().details_bytes <= (4u << 20) + (1u << 20));
    CHECK(store->details(1, "NX-1000", start_ms).error() == errc::not_found);
    CHECK(store->read_details(1, "NX-1000", 0, 10).error() == errc::not_found);
    CHECK(store->details(1, "NX-1199", start_ms).has_value());
}

TEST_CASE("retirements are found by handle and by device, and leave by age", "[registry]") {
    const TempDirectory directory;
    TraceOptions options;
    options.retirements_kept_ms = 30 * day_ms;
    auto store = open_in(directory, options);
    std::vector<RetirementRecord> records;
    for (std::uint8_t i = 0; i < 5; ++i) {
        records.push_back(record_of("phone", i, start_ms + i * day_ms));
    }
    records.push_back(record_of("tablet", 3, start_ms + 10 * day_ms));
    REQUIRE(store->write_retirements(records));
    store.reset();
    store = open_in(directory, options);
    const std::int64_t now = start_ms + 11 * day_ms;
    HandleHash third;
    third.fill(3);
    auto page = store->retirements_of_handle(1, third, {}, 10, now).value();
    REQUIRE(page.records.size() == 2);
    CHECK(page.records[0].installation_id == "tablet");
    CHECK(page.records[1] == records[3]);
    std::vector<std::int64_t> times;
    std::string after;
    do {
        page = store->retirements_of_device(1, "phone", after, 2, now).value();
        for (const auto& record : page.records) times.push_back(record.at_ms);
        after = page.next;
    } while (!after.empty());
    CHECK(times.size() == 5);
    CHECK(std::is_sorted(times.rbegin(), times.rend()));
    CHECK(store->retirements_of_device(2, "phone", {}, 10, now).value().records.empty());

    // Day 32: two are over their age, first hidden, then gone.
    const std::int64_t later_ms = start_ms + 32 * day_ms;
    CHECK(store->retirements_of_device(1, "phone", {}, 10, later_ms).value().records.size() == 3);
    REQUIRE(store->tidy(later_ms));
    CHECK(store->retirements_of_device(1, "phone", {}, 10, start_ms).value().records.size() == 3);

    CHECK(store->erase_retirements_of_device(1, "phone").value() == 3);
    CHECK(store->retirements_of_handle(1, third, {}, 10, now).value().records.size() == 1);
    CHECK(store->erase_retirements_of_handle(1, third).value() == 1);
    CHECK(store->retirements_of_device(1, "tablet", {}, 10, now).value().records.empty());
}

TEST_CASE("what is held survives reopening until it is taken out", "[registry]") {
    const TempDirectory directory;
    auto store = open_in(directory);
    std::vector<TraceStore::HeldChange> changes;
    for (std::uint64_t ticket = 1; ticket <= 4; ++ticket) {
        HeldRetirement held;
        held.hub = ticket % 2 == 0 ? 1 : 2;
        held.ticket = ticket;
        held.platform = "apns";
        held.retirement.handle = "handle-" + std::to_string(ticket);
        changes.push_back({held, held.hub, ticket});
    }
    REQUIRE(store->write_held(changes));
    store.reset();
    store = open_in(directory);
    auto held = store->held().value();
    REQUIRE(held.size() == 4);
    CHECK(held[0].ticket == 2);
    CHECK(held[0].retirement.handle == "handle-2");
    const std::vector<TraceStore::HeldChange> gone{{std::nullopt, 1, 2}, {std::nullopt, 2, 3}};
    REQUIRE(store->write_held(gone));
    held = store->held().value();
    REQUIRE(held.size() == 2);
    CHECK(held[0].ticket == 4);
    CHECK(held[1].ticket == 1);
}

TEST_CASE("a trace that cannot be read is refused with what to do", "[registry]") {
    const TempDirectory directory;
    { const auto store = open_in(directory); }
    for (const auto& entry : std::filesystem::directory_iterator(directory.path() / "trace")) {
        if (entry.path().filename().string().starts_with("MANIFEST"))
            std::filesystem::resize_file(entry.path(), 3);
    }
    TraceOptions options;
    options.directory = directory.path();
    std::string why;
    CHECK_FALSE(TraceStore::open(options, why));
    CHECK(why.find("moving the directory away") != std::string::npos);
}

TEST_CASE("a handle that the app presented again since the push is not retired", "[registry]") {
    const TempDirectory directory;
    registry_test::Opened open(registry_test::options_in(directory.path()));
    const auto hub = open.hub("app", 2);
    REQUIRE(open.put(hub, registry_test::registration("one", "h1", {})).has_value());
    const auto at = registry_test::locate(*open, hub, "one");
    Retirement dead;
    dead.partition = at.partition;
    dead.number = at.device.number;
    dead.generation = at.device.generation;
    dead.handle = "h1";
    dead.dead_since_ms = std::numeric_limits<std::int64_t>::max();
    dead.asked_at_ms = 1'000;
    auto again = registry_test::registration("one", "h1", {});
    again.registered_at_ms = 1'001;
    REQUIRE(open.put(hub, again).has_value());
    CHECK(open.retire(hub, {dead}).value() == 0);
    dead.asked_at_ms = 1'001;
    Retirement stranger = dead;
    stranger.handle = "h2";
    const auto retired = registry_test::wait<std::vector<Retired>>([&](auto done) {
        open->retire(hub, {stranger, dead}, done);
    });
    REQUIRE(retired.value().size() == 1);
    CHECK(retired->front().index == 1);
    CHECK(retired->front().registration_id == "one");
    CHECK(retired->front().installation_id.empty());
}

// RocksDB 7.8 keeps the log of a failed write as it is while its tables in memory are empty.
TEST_CASE("the trace can be read while its disk is full, and goes on afterwards", "[registry]") {
    const TempDirectory directory;
    registry_test::FaultyEnv env;
    TraceOptions options;
    options.env = &env;
    Told told;
    {
        const auto store = open_in(directory, options);
        write(*store, {told});
    }
    const auto store = open_in(directory, options);
    std::string events;
    told.device = "late";
    told.number = 1;
    append_trace_event(events, told.event());
    env.fault = registry_test::Fault::no_space;
    for (const bool full_while_opened : {false, true}) {
        env.probes_work = full_while_opened;
        for (int i = 0; i < 2; ++i) {
            CHECK_FALSE(store->write_events(events).has_value());
            CHECK(devices_of(*store, "send-1", {}, 1'000, start_ms).size() == 1);
        }
    }
    env.fault = registry_test::Fault::none;
    CHECK(store->write_events(events).has_value());
    CHECK(devices_of(*store, "send-1", {}, 1'000, start_ms).size() == 2);
}

namespace {

/// All pages of what `read` reads, and that none is larger than asked for.
template <class Read>
std::vector<TracedPush> all_pages(std::size_t page_size, Read read) {
    std::vector<TracedPush> out;
    std::string after;
    do {
        auto page = read(after, page_size).value();
        CHECK(page.pushes.size() <= page_size);
        out.insert(out.end(), page.pushes.begin(), page.pushes.end());
        after = page.next;
    } while (!after.empty());
    return out;
}

/// A broadcast whose every push was taken at its first attempt: what blocks are made of.
std::string broadcast(const std::string& send, std::uint32_t devices, std::int64_t at_ms) {
    std::string bytes;
    for (std::uint32_t i = 0; i < devices; ++i) {
        Told one;
        one.send = send;
        one.device = "device-" + std::to_string(i);
        one.number = i;
        one.at_ms = at_ms + i / 100;
        append_trace_event(bytes, one.event());
    }
    return bytes;
}

std::size_t pushes_of(const TraceStore& store, const std::string& device) {
    return store.of_device(1, DeviceKind::installation, device, {}, 1'000, start_ms + day_ms)
        .value()
        .pushes.size();
}

}  // namespace

TEST_CASE("no cut and no foreign version of a block is taken", "[registry]") {
    std::vector<Told> told(300);
    for (std::size_t i = 0; i < told.size(); ++i) {
        told[i].number = static_cast<std::uint32_t>(i);
        told[i].at_ms = start_ms - static_cast<std::int64_t>(i % 7);
        told[i].outcome = i % 3 == 0 ? "Success" : "BadChannel";
    }
    std::vector<TraceEvent> events;
    for (const Told& one : told) events.push_back(one.event());
    const std::string part = part_id("phone", "native", {3, 77});
    const std::vector<std::string> ids{part,       "phone", "",
                                       part + "0", "9-1-1", "8000000000000000077-007-4"};
    const std::vector<std::string> provider_ids{"",
                                                "id-1",
                                                "01234567-89ab-cdef-0123-456789abcdef",
                                                "01234567-89AB-CDEF-0123-456789ABCDEF",
                                                "01234567-89aB-cdef-0123-456789abcdef",
                                                "01234567089ab-cdef-0123-456789abcdef"};
    for (std::size_t i = 0; i < events.size(); ++i) {
        events[i].partition = 3;
        if (i % 2 == 0) events[i].number = 77;
        events[i].registration_id = ids[i / 2 % ids.size()];
        events[i].provider_id = provider_ids[i / 12 % provider_ids.size()];
    }
    std::vector<const TraceEvent*> shown;
    for (const TraceEvent& event : events) shown.push_back(&event);
    std::string block;
    const BlockMade made = encode_block(block, shown);
    CHECK(made.events == block_events_max);
    CHECK(made.newest_ms == start_ms);
    CHECK(made.oldest_ms == start_ms - 6);
    std::string texts;
    const auto back = decode_block(block, texts).value();
    CHECK(block.size() < block_events_max * 60);
    REQUIRE(back.size() == made.events);
    for (std::size_t i = 0; i < back.size(); ++i) {
        std::string was, is;
        append_trace_event(was, events[i]);
        append_trace_event(is, back[i]);
        CHECK(was == is);
    }
    for (std::size_t cut = 0; cut < block.size(); ++cut)
        CHECK_FALSE(decode_block(std::string_view(block).substr(0, cut), texts).has_value());
    CHECK_FALSE(decode_block(block + "x", texts).has_value());
    block[0] = 2;
    CHECK_FALSE(decode_block(block, texts).has_value());

    events[5].at_ms += block_span_ms + 10;
    CHECK(encode_block(block, shown).events == 5);
    CHECK(decode_block(block, texts).value().size() == 5);
    CHECK(encode_block(block, {}).events == 0);

    const std::vector<IndexEntry> indexed{
        {start_ms, 1, 9, 0}, {start_ms, 2, 9, 1}, {start_ms, 1, 9, 2}};
    const std::string index = encode_index(indexed);
    std::vector<IndexEntry> entries;
    REQUIRE(read_index(index, &indexed[0].mark, entries));
    REQUIRE(entries.size() == 2);
    CHECK((entries[1].block == 9 && entries[1].event == 2));
    for (std::size_t cut = 2; cut < index.size(); ++cut)
        CHECK_FALSE(
            read_index(std::string_view(index).substr(0, cut), nullptr, entries).has_value());
}

TEST_CASE("blocks say what rows say, over pages, erasures, restarts and sends taken up again",
          "[registry]") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const TempDirectory of_rows, of_blocks;
    TraceOptions as_rows, as_blocks;
    as_rows.block_events_min = std::numeric_limits<std::size_t>::max();
    as_blocks.block_events_min = 1 + random() % 4;
    as_rows.memtable_bytes = as_blocks.memtable_bytes = 64u << 10;
    auto rows = open_in(of_rows, as_rows), blocks = open_in(of_blocks, as_blocks);
    std::int64_t now = start_ms;
    constexpr std::uint32_t sends = 5, devices = 40;
    std::uint32_t starts = 0;  // of processes; each has sends of its own and takes up older ones
    const auto compare = [&] {
        const std::size_t size = 1 + random() % 30;
        const std::string send = "send-" + std::to_string(random() % (sends * (starts + 1)));
        for (const char* outcome : {"", "Success", "BadChannel", "Pending"}) {
            const auto of = [&](const TraceStore& store) {
                return all_pages(size, [&](const std::string& after, std::size_t count) {
                    return store.of_send(1, send, outcome, after, count, now);
                });
            };
            REQUIRE(of(*rows) == of(*blocks));
        }
        const std::string device = "device-" + std::to_string(random() % devices);
        const auto of = [&](const TraceStore& store) {
            return all_pages(size, [&](const std::string& after, std::size_t count) {
                return store.of_device(1, DeviceKind::installation, device, after, count, now);
            });
        };
        REQUIRE(of(*rows) == of(*blocks));
    };
    // What is told of (send, device) in this run, and whether it has ended.
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::pair<std::uint8_t, bool>> told;
    for (int step = 0; step < 700; ++step) {
        const auto what = random() % 40;
        if (what == 0) {
            const std::string device = "device-" + std::to_string(random() % devices);
            REQUIRE(rows->erase_device(1, DeviceKind::installation, device).value() ==
                    blocks->erase_device(1, DeviceKind::installation, device).value());
        } else if (what == 1) {
            as_blocks.opened_at_ms = start_ms + 10 * starts++ + 9;
            told.clear();
            rows.reset();
            blocks.reset();
            rows = open_in(of_rows, as_rows);
            blocks = open_in(of_blocks, as_blocks);
        } else if (what == 2) {
            REQUIRE(rows->tidy(now));
            REQUIRE(blocks->tidy(now));
        } else {
            std::string bytes;
            for (auto count = 1 + random() % 60; count > 0; --count) {
                Told one;
                const std::uint32_t start = starts > 0 && random() % 2 == 0 ? starts - 1 : starts;
                const auto send = static_cast<std::uint32_t>(start * sends + random() % sends);
                one.number = static_cast<std::uint32_t>(random() % devices);
                one.send = "send-" + std::to_string(send);
                one.device = "device-" + std::to_string(one.number);
                one.enqueued_at_ms = start_ms + 10 * start + send % 3;
                auto& [attempts, ended] = told[{send, one.number}];
                if (ended) continue;
                now += static_cast<std::int64_t>(random() % 3);
                if (random() % 50 == 0) now += 400;
                one.at_ms = now - static_cast<std::int64_t>(random() % 2);
                one.attempt = ++attempts;
                ended = random() % 4 != 0;
                one.retry_at_ms = ended ? 0 : now + 1'000;
                one.outcome = !ended ? "Throttled" : random() % 5 == 0 ? "BadChannel" : "Success";
                append_trace_event(bytes, one.event());
            }
            REQUIRE(rows->write_events(bytes).value() == blocks->write_events(bytes).value());
        }
        if (step % 10 == 0) compare();
    }
    for (int i = 0; i < 20; ++i) compare();
}

TEST_CASE("a device is found in many blocks, before and after they share an index", "[registry]") {
    const TempDirectory directory;
    TraceOptions options;
    options.memtable_bytes = 256u << 10;
    auto store = open_in(directory, options);
    constexpr std::uint32_t devices = 2'000;
    constexpr int sends = 80;  // 8 blocks each: two segments, and the third is not full
    for (int i = 0; i < sends; ++i) {
        const std::string bytes = broadcast("send-" + std::to_string(i), devices, start_ms + i);
        REQUIRE(store->write_events(bytes).value() == devices);
    }
    const auto check = [&] {
        CHECK(pushes_of(*store, "device-7") == sends);
        CHECK(pushes_of(*store, "device-1999") == sends);
        CHECK(pushes_of(*store, "device-2000") == 0);
        CHECK(devices_of(*store, "send-3", {}, 300, start_ms + day_ms).size() == devices);
        CHECK(devices_of(*store, "send-79", "Success", 1'000, start_ms + day_ms).size() == devices);
        CHECK(devices_of(*store, "send-79", "BadChannel", 1'000, start_ms + day_ms).empty());
    };
    check();
    store.reset();
    store = open_in(directory, options);
    check();
    CHECK(store->erase_device(1, DeviceKind::installation, "device-8").value() == sends);
    CHECK(store->erase_device(1, DeviceKind::installation, "device-8").value() == 0);
    store.reset();
    store = open_in(directory, options);
    CHECK(pushes_of(*store, "device-8") == 0);
    CHECK(devices_of(*store, "send-3", {}, 300, start_ms + day_ms).size() == devices - 1);
    REQUIRE(store->write_events(broadcast("send-new", devices, start_ms + 1'000)));
    CHECK(pushes_of(*store, "device-8") == 1);
    CHECK(pushes_of(*store, "device-7") == sends + 1);
}

TEST_CASE("a trace of a version before is read, and is one of today's then", "[registry]") {
    const TempDirectory directory;
    TraceOptions rows;
    rows.block_events_min = std::numeric_limits<std::size_t>::max();
    {
        const auto store = open_in(directory, rows);
        REQUIRE(store->write_events(broadcast("send-1", 50, start_ms)));
    }
    const std::string path = (directory.path() / "trace").string();
    const auto version = [&](const char* set) {
        std::vector<std::string> names;
        REQUIRE(rocksdb::DB::ListColumnFamilies({}, path, &names).ok());
        std::vector<rocksdb::ColumnFamilyDescriptor> families;
        for (const auto& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
        std::vector<rocksdb::ColumnFamilyHandle*> handles;
        rocksdb::DB* raw = nullptr;
        REQUIRE(rocksdb::DB::Open({}, path, families, &handles, &raw).ok());
        const std::unique_ptr<rocksdb::DB> db(raw);
        if (set != nullptr) REQUIRE(db->Put({}, "version", set).ok());
        std::string found;
        REQUIRE(db->Get({}, "version", &found).ok());
        for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
        return static_cast<int>(found.at(0));
    };
    CHECK(version("\x04") == 4);
    {
        const auto store = open_in(directory);
        CHECK(devices_of(*store, "send-1").size() == 50);
        REQUIRE(store->write_events(broadcast("send-2", 50, start_ms)));
        CHECK(pushes_of(*store, "device-3") == 2);
    }
    CHECK(version(nullptr) == trace_format_version);
}
