// Tested by tests/pns_name_lookup_test.cpp.
//
// c-ares says by a callback which of its sockets it wants watched. They are watched by an epoll of
// the lookup's own, beside a timer for its repeats: one descriptor for the owner to wait for.

#include "pns/name_lookup.hpp"

#include <ares.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace pns {

namespace {

namespace ip = boost::asio::ip;

ip::address address_of(const sockaddr& from) {
    if (from.sa_family == AF_INET) {
        return ip::address_v4(ntohl(reinterpret_cast<const sockaddr_in&>(from).sin_addr.s_addr));
    }
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
    ip::address_v6::bytes_type bytes;
    std::copy_n(v6.sin6_addr.s6_addr, bytes.size(), bytes.begin());
    return ip::address_v6(bytes, v6.sin6_scope_id);
}

}  // namespace

struct NameLookup::Impl {
    ~Impl() {
        if (channel != nullptr) ares_destroy(channel);  // calls `found`
        if (timer >= 0) ::close(timer);
        if (watch >= 0) ::close(watch);
    }

    bool open(const std::string& servers) {
        static const int ready = ares_library_init(ARES_LIB_INIT_ALL);
        watch = ::epoll_create1(EPOLL_CLOEXEC);
        timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (ready != ARES_SUCCESS || watch < 0 || timer < 0) return false;
        wants(this, timer, 1, 0);
        ares_options options{};
        options.sock_state_cb = wants;
        options.sock_state_cb_data = this;
        return ares_init_options(&channel, &options, ARES_OPT_SOCK_STATE_CB) == ARES_SUCCESS &&
               (servers.empty() ||
                ares_set_servers_ports_csv(channel, servers.c_str()) == ARES_SUCCESS);
    }

    static void wants(void* self, ares_socket_t socket, int readable, int writable) {
        const int watch = static_cast<Impl*>(self)->watch;
        epoll_event event{};
        event.events = (readable != 0 ? EPOLLIN : 0U) | (writable != 0 ? EPOLLOUT : 0U);
        event.data.fd = socket;
        if (event.events == 0) {
            ::epoll_ctl(watch, EPOLL_CTL_DEL, socket, nullptr);
        } else if (::epoll_ctl(watch, EPOLL_CTL_MOD, socket, &event) != 0) {
            ::epoll_ctl(watch, EPOLL_CTL_ADD, socket, &event);
        }
    }

    static void found(void* self, int, int, ares_addrinfo* result) {
        auto& out = *static_cast<Impl*>(self);
        out.ended = true;
        if (result == nullptr) return;
        for (const auto* node = result->nodes; node != nullptr; node = node->ai_next) {
            out.addresses.push_back(address_of(*node->ai_addr));
        }
        ares_freeaddrinfo(result);
    }

    void arm() const {
        timeval left{};
        const timeval* first = ares_timeout(channel, nullptr, &left);
        itimerspec at{};
        if (first != nullptr) {
            at.it_value.tv_sec = first->tv_sec;
            at.it_value.tv_nsec = first->tv_usec * 1'000 + 1;  // 0 would disarm it
        }
        ::timerfd_settime(timer, 0, &at, nullptr);
    }

    ares_channel channel = nullptr;
    int watch = -1;  // epoll
    int timer = -1;
    bool ended = false;
    std::vector<ip::address> addresses;
};

NameLookup::NameLookup(const std::string& host, const std::string& servers)
    : impl_(std::make_unique<Impl>()) {
    boost::system::error_code not_literal;
    const auto literal = ip::make_address(host, not_literal);
    if (!not_literal) impl_->addresses.push_back(literal);
    impl_->ended = !not_literal || host.empty() || !impl_->open(servers);
    if (impl_->ended) return;
    ares_addrinfo_hints hints{};
    hints.ai_flags = ARES_AI_NOSORT;
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    ares_getaddrinfo(impl_->channel, host.c_str(), nullptr, &hints, Impl::found, impl_.get());
}

NameLookup::~NameLookup() = default;

bool NameLookup::step() {
    if (impl_->ended) return true;
    std::array<epoll_event, 8> events;
    const int count = ::epoll_wait(impl_->watch, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        // The timer's turn, and a socket that an earlier event has closed, are no descriptors to
        // it.
        const bool write = (event.events & EPOLLOUT) != 0;
        const bool read = (event.events & ~std::uint32_t{EPOLLOUT}) != 0;
        const bool socket = event.data.fd != impl_->timer;
        ares_process_fd(impl_->channel, socket && read ? event.data.fd : ARES_SOCKET_BAD,
                        socket && write ? event.data.fd : ARES_SOCKET_BAD);
    }
    if (!impl_->ended) impl_->arm();
    return impl_->ended;
}

int NameLookup::descriptor() const {
    return impl_->watch;
}

const std::vector<ip::address>& NameLookup::addresses() const {
    return impl_->addresses;
}

}  // namespace pns
