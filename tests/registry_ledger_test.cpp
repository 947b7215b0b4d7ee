// What the ledger keeps of sends: its layouts, and lists newest first.

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdio>
#include <future>
#include <map>
#include <random>

#include "registry/keys.hpp"
#include "registry/store.hpp"
#include "tests/support/registry_fixture.hpp"

using namespace registry_test;

namespace {

std::string id_of(int i) {
    char text[32];
    std::snprintf(text, sizeof text, "NH-%06d", i);
    return text;
}

}  // namespace

TEST_CASE("what steers a send survives the ledger", "[registry]") {
    Send send;
    send.canary_ppm = 10'000;
    send.rate = {500, 60};
    send.deadline_given = true;
    const auto sent = decode_send(encode_send(send, {}, {})).value().send;
    CHECK((sent.canary_ppm == 10'000 && sent.rate == registry::PushRate{500, 60} &&
           sent.deadline_given));

    // A rate a second lies as it always did: what older stores have is read as it was meant.
    Send per_second = send;
    per_second.rate.period_s = 1;
    const std::string old_bytes = encode_send(per_second, {}, {});
    std::string bytes = encode_send(send, {}, {});
    REQUIRE(bytes.size() == old_bytes.size());
    const auto differs = std::mismatch(bytes.begin(), bytes.end(), old_bytes.begin());
    CHECK(*differs.second == 1);  // a boolean then: deadline given
    CHECK(std::equal(differs.first + 1, bytes.end(), differs.second + 1));
    CHECK(decode_send(old_bytes).value().send.rate == registry::PushRate{500, 1});
    send.rate.period_s = 3'600;
    CHECK(decode_send(encode_send(send, {}, {})).value().send.rate == send.rate);
    const std::string without = encode_send(send, {}, {});
    send.selected_at = 1;
    std::string timed = encode_send(send, {}, {});  // with a time, as formats before 6 had it
    const auto old_flags = std::mismatch(timed.begin(), timed.end(), without.begin()).first;
    *old_flags = static_cast<char>((*old_flags & ~16) | 8);
    CHECK(decode_send(timed).value().send.selected_at == 0);
    send.selected_at = 1'700'000'000'000;
    CHECK(decode_send(encode_send(send, {}, {})).value().send.selected_at == send.selected_at);
    for (const int flags : {6, 32, 64, 38}) {
        *differs.first = static_cast<char>(flags);
        CHECK(decode_send(bytes).error() == registry::errc::corrupt);
    }

    Progress progress;
    progress.audience = 7'000'000;
    progress.first_push_ms = 5;
    progress.last_push_ms = 6;
    progress.waits_since_ms = 7;
    progress.deadline_ms = 8;
    progress.latency = {{0, 3}, {80, 1}};
    for (const auto state : {SendState::held, SendState::paused, SendState::canceling}) {
        for (const bool released : {false, true}) {
            progress.state = state;
            progress.released = released;
            progress.gave_up = !released;
            if (released) progress.never_out = 1'000;
            const auto back = decode_progress(encode_progress(progress)).value().first;
            CHECK(back.state == state);
            CHECK(back.released == released);
            CHECK(back.gave_up == !released);
            CHECK((back.audience == 7'000'000 && back.first_push_ms == 5));
            CHECK((back.last_push_ms == 6 && back.waits_since_ms == 7 && back.deadline_ms == 8));
            CHECK(back.latency == progress.latency);
            CHECK(back.never_out == progress.never_out);
            if (!progress.never_out) continue;
            // As it was before this was counted: it is not known, and not 0.
            Progress old = progress;
            old.never_out.reset();
            std::string bytes_old = encode_progress(old);
            CHECK(bytes_old.size() + 2 == encode_progress(progress).size());
            CHECK_FALSE(decode_progress(bytes_old).value().first.never_out);
            bytes_old += 'x';
            CHECK_FALSE(decode_progress(bytes_old).has_value());
        }
    }
}

TEST_CASE("sends are listed newest first, filtered and by pages", "[registry]") {
    TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 1), other = registry.hub("Other", 1);
    std::mt19937 random(7);
    std::map<int, std::pair<std::string, SendState>> model;
    const SendState states[] = {SendState::completed, SendState::canceled, SendState::no_target};
    for (int i = 0; i < 60; ++i) {
        Send send;
        send.id = id_of(i);
        send.format = random() % 2 == 0 ? "apple" : "fcmv1";
        send.body = "{}";
        send.enqueued_at_ms = 1'000 + i;
        Progress progress;
        progress.state = states[random() % 3];
        REQUIRE(registry.accept(hub, send, {}, progress).has_value());
        model[i] = {send.format, progress.state};
    }
    Send foreign;
    foreign.id = id_of(30);
    Progress over;
    over.state = SendState::completed;
    REQUIRE(registry.accept(other, foreign, {}, over).has_value());

    const auto walk = [&](SendQuery query) {
        std::vector<std::string> ids;
        for (int pages = 0; pages < 100; ++pages) {
            const auto page = registry->list_sends(hub, query).value();
            CHECK(page.sends.size() <= query.count_max);
            for (const auto& [send, progress] : page.sends) {
                CHECK(send.body.empty());
                ids.push_back(send.id);
            }
            if (page.next.empty()) return ids;
            query.below = page.next;
        }
        FAIL("the list does not end");
        return ids;
    };
    for (const std::size_t count : {1u, 7u, 60u, 100u}) {
        for (const std::size_t reads : {1u, 3u, 1'000u}) {
            for (const std::string& format : {std::string(), std::string("apple")}) {
                for (const bool only : {false, true}) {
                    SendQuery query;
                    query.count_max = count;
                    query.reads_max = reads;
                    query.format = format;
                    query.enqueued_from_ms = 1'010;
                    query.enqueued_to_ms = 1'050;
                    if (only) query.states = {SendState::canceled, SendState::no_target};
                    std::vector<std::string> expected;
                    for (int i = 50; i >= 10; --i) {
                        const auto& [kind, state] = model[i];
                        if (!format.empty() && kind != format) continue;
                        if (only && state == SendState::completed) continue;
                        expected.push_back(id_of(i));
                    }
                    INFO("count " << count << " reads " << reads << " format " << format);
                    CHECK(walk(query).size() == expected.size());
                    if (reads > 1 || count == 1) CHECK(walk(query) == expected);
                }
            }
        }
    }
    CHECK(registry->list_sends(other, {}).value().sends.size() == 1);
    CHECK(registry->list_sends(99, {}).value().sends.empty());
}

TEST_CASE("the audience is on record from acceptance on", "[registry]") {
    TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 2);
    for (int i = 0; i < 9; ++i) {
        const std::string id = "1-" + std::to_string(i) + "-1";
        REQUIRE(registry.put(hub, registration(id, "h" + id, {"red"})).has_value());
    }
    Send send;
    send.id = "s";
    REQUIRE(
        registry.accept(hub, send, registry->select(hub, plan_of("red"), {}).value()).has_value());
    CHECK(registry->send(hub, "s").value().second.audience == 9);
}

TEST_CASE("a mark that is taken back is gone after a restart", "[registry]") {
    TempDirectory directory;
    const Options options = options_in(directory.path());
    std::uint32_t hub = 0;
    Send send;
    send.id = "s";
    Selection selection;
    selection.partitions = {Bitmap::bitmapOf(2, 0, 1)};
    send.direct_handles = {"a", "b"};
    {
        Opened registry(options);
        hub = registry.hub("Orders", 1);
        REQUIRE(registry.accept(hub, send, selection).has_value());
        Progress progress;
        progress.state = SendState::processing;
        progress.finished = {Bitmap::bitmapOf(1, 1)};
        progress.counts[{"apns", "Unknown"}] = 1;
        REQUIRE(registry.checkpoint(hub, "s", progress).has_value());
        progress.finished = {Bitmap()};
        progress.counts.clear();
        REQUIRE(registry.checkpoint(hub, "s", progress).has_value());
    }
    Opened registry(options);
    const auto open = registry->open_sends().value();
    REQUIRE(open.size() == 1);
    CHECK(open[0].progress.finished[0].isEmpty());
    CHECK(open[0].progress.counts.empty());
}

TEST_CASE("failures are kept over restarts until the send ends", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    Send send;
    send.id = "s";
    send.direct_handles = {"a", "b", "c"};
    Selection selection;
    selection.partitions = {Bitmap::bitmapOf(3, 0, 1, 2)};
    std::uint32_t hub = 0;
    const auto failed = [](std::uint32_t number) {
        DeviceFailure failure;
        failure.number = number;
        failure.handle = std::string(1, static_cast<char>('a' + number));
        return failure;
    };
    /// What is kept, as the next process finds it.
    const auto kept = [&] {
        Opened registry(options);
        const auto open = registry->open_sends().value();
        REQUIRE(open.size() == 1);
        return open[0].progress.failures;
    };
    const auto write = [&](Opened& registry, std::vector<DeviceFailure> failures, bool anew) {
        Progress progress;
        progress.state = SendState::processing;
        progress.finished = {Bitmap()};
        progress.failures = std::move(failures);
        progress.failures_anew = anew;
        REQUIRE(registry.checkpoint(hub, "s", progress).has_value());
    };
    {
        Opened registry(options);
        hub = registry.hub("Orders", 1);
        REQUIRE(registry.accept(hub, send, selection).has_value());
        write(registry, {}, false);
        write(registry, {failed(0)}, false);
        write(registry, {}, false);
        write(registry, {failed(1), failed(2)}, false);
    }
    CHECK(kept() == std::vector{failed(0), failed(1), failed(2)});
    {
        Opened registry(options);
        write(registry, {failed(2)}, true);
        write(registry, {failed(1)}, false);
    }
    CHECK(kept() == std::vector{failed(2), failed(1)});
    {
        Opened registry(options);
        write(registry, {}, true);
    }
    CHECK(kept().empty());
    {
        Opened registry(options);
        write(registry, {failed(0)}, false);
        Progress over;
        over.state = SendState::completed;
        REQUIRE(registry.checkpoint(hub, "s", over).has_value());
        // Nothing is left under its id.
        REQUIRE(registry.accept(hub, send, selection).has_value());
        write(registry, {}, false);
    }
    CHECK(kept().empty());
}

TEST_CASE("sends that were accepted together end one by one", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    constexpr int sends = 40;
    std::uint32_t hub = 0, gone = 0;
    const auto open_ids = [&](Opened& registry) {
        std::vector<std::string> ids;
        for (const OpenSend& open : registry->open_sends().value()) ids.push_back(open.send.id);
        return ids;
    };
    std::vector<std::string> expected;
    {
        Opened registry(options);
        hub = registry.hub("Orders", 2);
        gone = registry.hub("Gone", 1);
        HeldWriter held(*registry, hub);
        std::promise<void> all;
        std::atomic<int> left = sends, failed = 0;
        for (int i = 0; i < sends; ++i) {
            Send send;
            send.id = id_of(i);
            registry->accept(i % 4 == 3 ? gone : hub, frozen(send), {}, [&](Result<void> accepted) {
                if (!accepted) ++failed;
                if (--left == 0) all.set_value();
            });
            if (i % 4 != 3) expected.push_back(send.id);
        }
        const auto before = registry->figures().batches;
        held.release();
        all.get_future().wait();
        CHECK(failed == 0);
        CHECK(registry->figures().batches == before + 1);
        REQUIRE(wait<void>([&](auto done) { registry->erase_hub("Gone", done); }).has_value());
    }
    Progress over;
    over.state = SendState::completed;
    for (int round = 0; !expected.empty(); ++round) {
        Opened registry(options);
        REQUIRE(open_ids(registry) == expected);
        const std::size_t ended = expected.size() / 2 + 1;
        for (std::size_t i = 0; i < ended; ++i) {
            const auto at =
                expected.begin() + static_cast<std::ptrdiff_t>(
                                       (i * 7 + static_cast<std::size_t>(round)) % expected.size());
            REQUIRE(registry.checkpoint(hub, *at, over).has_value());
            CHECK(registry->send(hub, *at).value().second.state == SendState::completed);
            expected.erase(at);
            CHECK(open_ids(registry) == expected);
        }
    }
    std::string why;
    const auto store = Store::open(options, why).value();
    const auto cursor = store->snapshot()->cursor(Family::ledger);
    cursor->seek(mark_key(0));
    CHECK_FALSE((cursor->valid() && decode_mark_key(cursor->key()).has_value()));
}

TEST_CASE("a schedule that was put off before it fires goes by its new progress", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    Opened registry(options);
    const std::uint32_t hub = registry.hub("Orders", 1);
    Send send;
    send.id = "later";
    Progress waiting;
    waiting.state = SendState::scheduled;
    REQUIRE(registry.accept(hub, send, {}, waiting).has_value());
    waiting.deadline_ms = 77;
    REQUIRE(registry.checkpoint(hub, "later", waiting).has_value());
    CHECK(registry->send(hub, "later").value().second.deadline_ms == 77);
    REQUIRE(registry.accept(hub, send, {}, {}).has_value());
    CHECK(registry->send(hub, "later").value().second.deadline_ms == 0);
    CHECK(registry->send(hub, "later").value().second.state == SendState::enqueued);
    CHECK(registry.accept(hub, send, {}, {}).error() == errc::exists);
}
