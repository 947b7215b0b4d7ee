#include "hub/process/loops.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <set>
#include <stdexcept>
#include <string>

#include "pns/nursery.hpp"

namespace {

/// Runs `task` as a child on a lane and waits until it has set its promise.
template <class Make>
void run_on(hub::Loops& loops, std::size_t lane, pns::Nursery& nursery, Make make) {
    boost::asio::post(loops.lane(lane), [&nursery, make] { nursery.start(make()); });
}

pns::Task<void> cross(hub::StorePool& pool, std::promise<bool>& done) {
    const auto lane = std::this_thread::get_id();
    bool same_lane = true;
    bool other_thread = true;
    for (int i = 0; i < 100; ++i) {
        auto work = [i, text = std::string(100, 'x')] {
            return std::pair(std::this_thread::get_id(), text.size() + static_cast<std::size_t>(i));
        };
        const auto [thread, size] = co_await hub::on_store(pool, std::move(work));
        other_thread = other_thread && thread != lane && size == 100U + static_cast<std::size_t>(i);
        same_lane = same_lane && std::this_thread::get_id() == lane;
    }
    done.set_value(same_lane && other_thread);
}

pns::Task<void> fail(hub::StorePool& pool, std::promise<bool>& done) {
    auto work = []() -> int { throw std::runtime_error("disk on fire"); };
    bool caught = false;
    try {
        co_await hub::on_store(pool, std::move(work));
    } catch (const std::runtime_error& failure) {
        caught = std::string(failure.what()) == "disk on fire";
    }
    auto nothing = [] {};
    co_await hub::on_store(pool, std::move(nothing));
    done.set_value(caught);
}

using Outcome = boost::system::result<std::unique_ptr<int>>;

pns::Task<void> commit(std::promise<bool>& done) {
    const auto lane = std::this_thread::get_id();
    bool sound = true;
    for (int i = 0; i < 50; ++i) {
        std::thread writer;
        auto start = [&writer, i](std::function<void(boost::system::result<std::string>)> ready) {
            writer = std::thread([ready = std::move(ready), i] {
                if (i % 2 == 0) return ready(std::string(40, 'r'));
                ready(make_error_code(boost::system::errc::no_space_on_device));
            });
        };
        const auto result = co_await hub::committed<std::string>(std::move(start));
        sound = sound && std::this_thread::get_id() == lane && result.has_value() == (i % 2 == 0);
        writer.join();
    }
    auto at_once = [](std::function<void(boost::system::result<void>)> ready) {
        ready(boost::system::result<void>());
    };
    const auto result = co_await hub::committed<void>(std::move(at_once));
    done.set_value(sound && result.has_value());
}

}  // namespace

TEST_CASE("lanes run on threads of their own and stop when their work is done", "[hub]") {
    hub::Loops loops(3);
    std::mutex mutex;
    std::set<std::thread::id> seen;
    loops.run();
    for (std::size_t i = 0; i < loops.size(); ++i) {
        boost::asio::post(loops.lane(i), [&] {
            const std::scoped_lock lock(mutex);
            seen.insert(std::this_thread::get_id());
        });
    }
    loops.stop();
    CHECK(seen.size() == 3);
    CHECK_FALSE(seen.contains(std::this_thread::get_id()));
}

TEST_CASE("store work runs elsewhere and resumes on the caller's lane", "[hub]") {
    hub::Loops loops(2);
    hub::StorePool pool(2);
    pns::Nursery nursery(loops.lane(1).get_executor());
    loops.run();
    std::promise<bool> crossed;
    std::promise<bool> failed;
    std::promise<bool> written;
    run_on(loops, 1, nursery, [&] { return cross(pool, crossed); });
    run_on(loops, 1, nursery, [&] { return fail(pool, failed); });
    run_on(loops, 1, nursery, [&] { return commit(written); });
    CHECK(crossed.get_future().get());
    CHECK(failed.get_future().get());
    CHECK(written.get_future().get());
    loops.stop();
    pool.join();
}

TEST_CASE("stopping waits for store work under way", "[hub]") {
    hub::Loops loops(1);
    hub::StorePool pool(1);
    pns::Nursery nursery(loops.lane(0).get_executor());
    std::promise<void> gate;
    std::promise<bool> done;
    loops.run();
    auto slow = [&]() -> pns::Task<void> {
        auto work = [held = gate.get_future().share()] { held.wait(); };
        co_await hub::on_store(pool, std::move(work));
        done.set_value(true);
    };
    std::promise<void> started;
    boost::asio::post(loops.lane(0), [&] {
        nursery.start(slow());
        started.set_value();
    });
    started.get_future().wait();
    std::thread stopper([&] { loops.stop(); });
    gate.set_value();
    stopper.join();
    CHECK(done.get_future().wait_for(std::chrono::seconds(0)) == std::future_status::ready);
    pool.join();
}

TEST_CASE("letters are opened on their lane, in order, and together if they came together",
          "[hub]") {
    hub::Loops loops(2);
    loops.run();
    constexpr int writers = 3, each = 200;
    std::vector<int> seen(writers, 0);
    std::promise<void> all;
    std::atomic<int> left = writers * each;
    bool in_order = true, on_lane = true;
    std::vector<std::thread> threads;
    for (int w = 0; w < writers; ++w) {
        threads.emplace_back([&, w] {
            for (int i = 0; i < each; ++i) {
                if (i % 7 == 0) hub::Mailbox::collect();
                loops.mailbox(1).put_call([&, w, i] {
                    on_lane = on_lane && hub::Mailbox::here() == &loops.mailbox(1);
                    in_order = in_order && seen[static_cast<std::size_t>(w)]++ == i;
                    if (--left == 0) all.set_value();
                });
                if (i % 7 == 6 || i + 1 == each) hub::Mailbox::deliver();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    all.get_future().wait();
    CHECK(in_order);
    CHECK(on_lane);

    std::promise<void> opened;
    std::vector<int> kept;
    boost::asio::post(loops.lane(0), [&] {
        hub::Mailbox::collect();
        for (int i = 0; i < 3; ++i) loops.mailbox(0).put_call([&kept, i] { kept.push_back(i); });
        loops.mailbox(0).put_call([&opened] { opened.set_value(); });
        boost::asio::post(loops.lane(0), [&kept] {  // before they were sent off
            kept.push_back(-1);
            hub::Mailbox::deliver();
        });
    });
    opened.get_future().wait();
    CHECK(kept == std::vector<int>{-1, 0, 1, 2});
    CHECK(hub::Mailbox::here() == nullptr);
}
