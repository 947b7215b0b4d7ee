#pragma once

// A sender over a FakeAccount, its owner and everything the owner was told.

#include <catch2/catch.hpp>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "pns/bearer.hpp"
#include "pns/clock.hpp"
#include "pns/nursery.hpp"
#include "pns/sender.hpp"
#include "tests/support/fake_account.hpp"
#include "tests/support/run_until.hpp"
#include "tests/support/tls_server.hpp"

namespace support {

struct SenderBench final : pns::PushOwner {
    struct Item {
        pns::Push push;
        std::string handle;
        std::vector<pns::Verdict> verdicts;
    };

    /// `clock`: of tokens and connections.
    explicit SenderBench(const pns::Clock& clock = pns::system_clock()) : bearers(clock) {
        settings.connect_timeout_ms = 5'000;
    }

    void open(FakeProvider provider = {}) {
        pns::Network network;
        network.ca_file = Authority::get().file();
        network.connect_to = rules;
        network.wns_hosts = {"*"};  // of a provider with its hosts in handles
        if (rates) network.rates = rates;
        network.totals = totals;
        network.returns = returns;
        sender = std::make_unique<pns::Sender>(loop, std::make_unique<FakeAccount>(provider),
                                               settings, network, bearers);
        sender->on_open([this](std::uint32_t door) { opened.push_back(door); });
        prepared = prepare({});
    }
    std::shared_ptr<const pns::Prepared> prepare(pns::Message message) {
        message.body = "{}";
        message.headers.emplace_back("x-topic", "t");
        return std::get<0>(sender->prepare(message));
    }
    Item& send(std::string handle, std::shared_ptr<const pns::Prepared> what = nullptr,
               std::uint32_t flow = 0, std::uint8_t faults = 0) {
        items.emplace_back();
        auto& item = items.back();
        item.handle = std::move(handle);
        item.push.handle = item.handle;
        item.push.prepared = what ? what : prepared;
        item.push.owner = this;
        item.push.flow = flow;
        item.push.faults = faults;
        item.push.index = static_cast<std::uint32_t>(items.size() - 1);
        sender->submit(item.push);
        return item;
    }
    void on_verdict(pns::Push& push, pns::Verdict&& verdict) override {
        items[push.index].verdicts.push_back(std::move(verdict));
        ++told;
        if (then) then(items[push.index]);
    }
    bool still_meant(const pns::Push& push) const override { return !changed.contains(push.index); }
    bool wait_for(std::size_t verdicts) {
        return run_until(loop, [&] { return told >= verdicts; });
    }
    pns::Task<void> stopping(std::int64_t drain_ms) {
        co_await sender->stop(drain_ms);
        stopped = true;
    }
    void stop(std::int64_t drain_ms = 5'000) {
        pns::Nursery nursery(loop.get_executor());
        nursery.start(stopping(drain_ms));
        REQUIRE(run_until(loop, [&] { return stopped && nursery.size() == 0; }));
        for (const auto& item : items) CHECK(item.verdicts.size() == 1);
        CHECK(sender->figures().queued == 0);
        CHECK(sender->figures().in_flight == 0);
        CHECK(sender->figures().connections == 0);
        sender.reset();
    }
    template <class Server>
    void end(Server& server) {
        server.stop();
        REQUIRE(run_until(loop, [&] { return server.ended(); }));
    }

    boost::asio::io_context loop{1};
    pns::BearerCache bearers;
    pns::SenderSettings settings;
    std::vector<std::string> rules;
    std::shared_ptr<pns::RateBuckets> rates;  ///< null: its own
    std::shared_ptr<pns::SenderTotals> totals = std::make_shared<pns::SenderTotals>();
    std::shared_ptr<pns::Returns> returns = std::make_shared<pns::Returns>();
    std::unique_ptr<pns::Sender> sender;
    std::shared_ptr<const pns::Prepared> prepared;
    std::deque<Item> items;
    std::size_t told = 0;
    std::vector<std::uint32_t> opened;  ///< doors
    std::set<std::uint32_t> changed;    ///< items whose device has changed
    bool stopped = false;
    std::function<void(Item&)> then;
};

}  // namespace support
