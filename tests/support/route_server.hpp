#pragma once

// Listener, HTTP/1.1, HTTP/2 and dispatch over loopback without a store, and what clients of it
// say.

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hub/device/hubs.hpp"
#include "hub/process/config.hpp"
#include "hub/process/log.hpp"
#include "hub/process/loops.hpp"
#include "hub/process/metrics.hpp"
#include "hub/server/dispatch.hpp"
#include "hub/server/listener.hpp"
#include "hub/server/tls_files.hpp"
#include "pns/clock.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/http_client.hpp"

namespace support {

using hub::Response;

/// Parts that these handlers never touch.
inline hub::Parts& no_parts() {
    static std::byte nothing{};
    return reinterpret_cast<hub::Parts&>(nothing);
}

inline hub::Config quick_config() {
    hub::Config config;
    config.data_dir = std::filesystem::temp_directory_path() / "pushhub_server_test";
    config.streams_max = 50;
    return config;
}

inline const hub::TlsFiles& tls_files() {
    static const hub::TlsFiles files = [] {
        hub::open_log("off", "text");
        return hub::prepare_tls_files(quick_config());
    }();
    return files;
}

/// A hub's doors, protocols and dispatch over a route table of the test's own. Of the callers,
/// "Authorization: good" may do everything; of the hubs there are "orders" and "tickets".
class Server {
  public:
    Server(std::span<const hub::Route> routes, hub::Config given)
        : config_(std::move(given)),
          tls_(hub::make_tls_context(tls_files())),
          loops_(2),
          store_(64),
          dispatch_(config_, pns::system_clock(), metrics_, routes, authoriser(), no_parts(),
                    nullptr) {
        boost::asio::ip::tcp::endpoint at(boost::asio::ip::make_address("127.0.0.1"), 0);
        boost::asio::ip::tcp::endpoint plain_at = at, outside_at = at, admin_at = at;
        for (std::size_t i = 0; i < loops_.size(); ++i) {
            nurseries_.push_back(std::make_unique<pns::Nursery>(loops_.lane(i).get_executor()));
            at.port(add(i, at, {tls_, hub::Door::outside}));
            plain_at.port(add(i, plain_at, {nullptr, hub::Door::inside}));
            outside_at.port(add(i, outside_at, {nullptr, hub::Door::outside}));
            admin_at.port(add(i, admin_at, {nullptr, hub::Door::admin}));
        }
        port = at.port();
        plain_port = plain_at.port();
        outside_port = outside_at.port();
        admin_port = admin_at.port();
        loops_.run();
    }
    ~Server() { stop(std::chrono::milliseconds(0)); }

    void begin_stop(std::chrono::milliseconds drain) {
        if (stopping_) return;
        stopping_ = true;
        done_.resize(loops_.size());
        for (std::size_t i = 0; i < loops_.size(); ++i) {
            boost::asio::post(loops_.lane(i), [this, i, drain] {
                nurseries_[i]->start(stop_lane(i, drain.count()));
            });
        }
    }
    void stop(std::chrono::milliseconds drain) {
        begin_stop(drain);
        if (stopped_) return;
        stopped_ = true;
        for (auto& done : done_) done.get_future().wait();
        loops_.stop();
        store_.join();
    }

    std::uint16_t port = 0;
    std::uint16_t plain_port = 0, outside_port = 0, admin_port = 0;
    hub::Inbound inbound;
    hub::Config& config() { return config_; }
    hub::Dispatch& dispatch() { return dispatch_; }
    hub::StorePool& store() { return store_; }
    std::string metrics() const { return metrics_.text(); }
    /// No lane does anything until the end of `meanwhile`.
    template <class Function>
    void freeze(Function&& meanwhile) {
        std::promise<void> thaw;
        const std::shared_future<void> thawed = thaw.get_future().share();
        std::atomic<std::size_t> frozen = 0;
        for (std::size_t i = 0; i < loops_.size(); ++i) {
            boost::asio::post(loops_.lane(i), [&frozen, thawed] {
                ++frozen;
                thawed.wait();
            });
        }
        REQUIRE(support::comes_true([&] { return frozen == loops_.size(); }));
        meanwhile();
        thaw.set_value();
    }
    std::size_t connections() const { return inbound.connections; }

  private:
    static hub::Authoriser authoriser() {
        hub::Authoriser authoriser;
        authoriser.find_hub = [](std::string_view name) -> std::shared_ptr<const hub::HubState> {
            if (name != "orders" && name != "tickets") return nullptr;
            auto state = std::make_shared<hub::HubState>();
            state->row.number = name == "orders" ? 1 : 2;
            return state;
        };
        authoriser.refuse = [](const hub::Request& request, const hub::HubState*,
                               const hub::Route&) -> std::optional<Response> {
            const auto given = request.header("authorization");
            if (given == "good") return std::nullopt;
            if (given == "too much") throw std::bad_alloc();
            return hub::error(request, 401, "MissingToken");
        };
        return authoriser;
    }
    std::uint16_t add(std::size_t lane, const boost::asio::ip::tcp::endpoint& at,
                      hub::Entrance entrance) {
        auto& listener = listeners_.emplace_back(std::make_unique<hub::Listener>(
            loops_.lane(lane), dispatch_, config_, inbound, std::move(entrance)));
        REQUIRE_FALSE(listener->open(at));
        listener->start();
        return listener->port();
    }
    pns::Task<void> stop_lane(std::size_t lane, std::int64_t wait_ms) {
        pns::Nursery stops(loops_.lane(lane).get_executor());
        for (std::size_t i = lane * doors; i < lane * doors + doors; ++i) {
            stops.start(listeners_[i]->stop(wait_ms));
        }
        co_await stops.join();
        done_[lane].set_value();
    }

    static constexpr std::size_t doors = 4;
    hub::Config config_;
    pns::TlsContext tls_;
    hub::Loops loops_;
    hub::StorePool store_;
    hub::Metrics metrics_;
    hub::Dispatch dispatch_;
    std::vector<std::unique_ptr<hub::Listener>> listeners_;
    std::vector<std::unique_ptr<pns::Nursery>> nurseries_;
    std::vector<std::promise<void>> done_;
    bool stopping_ = false;
    bool stopped_ = false;
};

inline ClientOptions trusting() {
    ClientOptions options;
    options.ca_file = tls_files().ca.string();
    options.alpn = "http/1.1";
    return options;
}

inline ClientOptions plain() {
    ClientOptions options;
    options.tls = false;
    return options;
}

/// An HTTP/2 frame (RFC 9113 4.1); types: 0 DATA, 1 HEADERS, 4 SETTINGS.
inline std::string frame(int type, int flags, int stream, const std::string& payload) {
    const std::string head{static_cast<char>(payload.size() >> 16),
                           static_cast<char>(payload.size() >> 8),
                           static_cast<char>(payload.size()),
                           static_cast<char>(type),
                           static_cast<char>(flags),
                           '\0',
                           '\0',
                           '\0',
                           static_cast<char>(stream)};
    return head + payload;
}

}  // namespace support
