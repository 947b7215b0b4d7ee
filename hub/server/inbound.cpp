// Tested by tests/hub_server_test.cpp, tests/hub_hostile_test.cpp.
//
// Stages and times are atomics that the lanes write at each request; the rest is under one lock
// that is taken when a connection comes or goes. Whoever is full walks all places once. The
// connection itself is touched on its own lane only, by a posted call that finds it there or not.

#include "hub/server/inbound.hpp"

#include <algorithm>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/asio/post.hpp>
#include <tuple>
#include <utility>

#include "hub/process/config.hpp"
#include "hub/process/log.hpp"

namespace hub {

namespace ip = boost::asio::ip;

namespace {

constexpr std::int64_t tell_every_ms = 5'000;
/// So that health and metrics can be asked for when all else is taken.
constexpr std::size_t admin_reserve = 16;

ip::address unmapped(const ip::address& address) {
    if (address.is_v6() && address.to_v6().is_v4_mapped())
        return ip::make_address_v4(ip::v4_mapped, address.to_v6());
    return address;
}

/// One stranger has a whole /64 of IPv6.
Place::Key key_of(const ip::address& address) {
    Place::Key key{};
    if (address.is_v4()) {
        const auto bytes = address.to_v4().to_bytes();
        std::copy(bytes.begin(), bytes.end(), key.begin() + 12);
        key[11] = 1;  // no IPv6 key has anything there
    } else {
        const auto bytes = address.to_v6().to_bytes();
        std::copy_n(bytes.begin(), 8, key.begin());
    }
    return key;
}

bool is_in(const ip::address& address, const std::string& network) {
    boost::system::error_code failure;
    const auto bits = network.find('/');
    if (bits == std::string::npos) return address == ip::make_address(network, failure);
    if (address.is_v4()) {
        const auto v4 = ip::make_network_v4(network, failure);
        return !failure &&
               ip::network_v4(address.to_v4(), v4.prefix_length()).network() == v4.network();
    }
    const auto v6 = ip::make_network_v6(network, failure);
    return !failure &&
           ip::network_v6(address.to_v6(), v6.prefix_length()).network() == v6.network();
}

bool is_balancer(const ip::address& address, const Config& config) {
    const auto& all = config.balancer_addresses;
    return std::any_of(all.begin(), all.end(),
                       [&](const std::string& network) { return is_in(address, network); });
}

}  // namespace

void Place::set(Stage stage, std::int64_t now_ms) {
    const Stage before = stage_.load(std::memory_order_relaxed);
    if (before == stage) return;
    since_ms_.store(now_ms, std::memory_order_relaxed);
    if (stage == Stage::busy) has_asked_.store(true, std::memory_order_relaxed);
    stage_.store(stage, std::memory_order_relaxed);
    inbound_.note_stage(before, stage);
}

void Inbound::note_stage(Place::Stage before, Place::Stage after) {
    if (before == Place::Stage::handshake) --handshakes_;
    if (after == Place::Stage::handshake) ++handshakes_;
}

std::variant<std::shared_ptr<Place>, const char*> Inbound::enter(const Asked& asked,
                                                                 const Config& config) {
    using Stage = Place::Stage;
    const ip::address from = unmapped(asked.from);
    auto place = std::make_shared<Place>(*this, asked.lane);
    place->since_ms_ = asked.now_ms;
    const std::lock_guard lock(mutex_);
    auto address = addresses_.find(key_of(from));
    const bool balancer =
        address != addresses_.end() ? address->second.is_balancer : is_balancer(from, config);
    if (address != addresses_.end() && !balancer &&
        address->second.connections >= config.connections_per_address_max)
        return "the bound of connections from one address is reached";
    const std::size_t most = std::min<std::size_t>(config.connections_max, connections_max) +
                             (asked.is_admin ? admin_reserve : 0);
    const bool full = places_.size() - leaving_ >= most || asked.descriptor >= descriptors_below;
    if (full) {
        const char* why = "the bound of connections is reached";
        if (!end_one(Stage::waiting, Stage::handshake)) return why;
        tell(why, asked.now_ms);
    }
    if (asked.tls && handshakes_ >= config.handshakes_max + leaving_handshakes_ &&
        !end_one(Stage::handshake, Stage::handshake))
        return "the bound of handshakes is reached";
    places_.push_back(place);
    place->here_ = std::prev(places_.end());
    try {
        place->address_ = addresses_.try_emplace(key_of(from)).first;
    } catch (...) {
        places_.pop_back();
        throw;
    }
    place->address_->second.is_balancer = balancer;
    ++place->address_->second.connections;
    ++connections;
    if (asked.tls) place->set(Stage::handshake, asked.now_ms);
    return place;
}

void Inbound::leave(const std::shared_ptr<Place>& place) {
    place->cut = nullptr;
    place->set(Place::Stage::busy, 0);
    const std::lock_guard lock(mutex_);
    if (place->leaving_) --leaving_;
    if (place->left_handshake_) --leaving_handshakes_;
    if (--place->address_->second.connections == 0) addresses_.erase(place->address_);
    places_.erase(place->here_);
    --connections;
}

/// Under the lock. False: all are at work.
bool Inbound::end_one(Place::Stage up_to, Place::Stage from) {
    std::shared_ptr<Place> chosen;
    const auto weight = [](const Place& place) {
        const auto& address = place.address_->second;
        return address.is_balancer ? std::size_t{1} : address.connections;
    };
    const auto goes_before = [&](const Place& a, const Place& b) {
        return std::tuple(!a.has_asked_, weight(a), b.since_ms_.load()) >
               std::tuple(!b.has_asked_, weight(b), a.since_ms_.load());
    };
    for (const auto& place : places_) {
        const auto stage = place->stage_.load(std::memory_order_relaxed);
        if (place->leaving_ || stage > up_to || stage < from) continue;
        if (!chosen || goes_before(*place, *chosen)) chosen = place;
    }
    if (!chosen) return false;
    auto end = [chosen] {
        chosen->unwanted_ = true;
        if (chosen->cut) chosen->cut();
    };
    boost::asio::post(chosen->lane_, std::move(end));
    chosen->leaving_ = true;
    ++leaving_;
    chosen->left_handshake_ = chosen->stage_ == Place::Stage::handshake;
    if (chosen->left_handshake_) ++leaving_handshakes_;
    ++ended_;
    return true;
}

void Inbound::make_room() {
    const std::lock_guard lock(mutex_);
    end_one(Place::Stage::waiting, Place::Stage::handshake);
}

void Inbound::refused(const char* why, std::int64_t now_ms) {
    ++refused_;
    tell(why, now_ms);
}

void Inbound::tell(const char* why, std::int64_t now_ms) {
    std::int64_t told_ms = told_at_ms_;
    if (told_ms > now_ms - tell_every_ms || !told_at_ms_.compare_exchange_strong(told_ms, now_ms))
        return;
    const std::uint64_t refused_now = refused_, ended_now = ended_;
    log_warn("there is no room for all connections",
             {{"what", why},
              {"open", std::to_string(connections)},
              {"refused", std::to_string(refused_now - refused_told_.exchange(refused_now))},
              {"ended", std::to_string(ended_now - ended_told_.exchange(ended_now))}});
}

}  // namespace hub
