// Tested by tests/pns_sim_test.cpp, tests/pns_simulated_sends_test.cpp.
#include "pns/sim/simulator.hpp"

#include <pthread.h>
#include <time.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>

#include "pns/errc.hpp"
#include "pns/sim/control.hpp"
#include "pns/sim/serving.hpp"

namespace pns::sim {

namespace {

using ReusePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;

Result<std::uint16_t> listen(Acceptor& acceptor, const std::string& address, std::uint16_t port,
                             bool shared = true) {
    error_code ec;
    const asio::ip::tcp::endpoint endpoint(asio::ip::make_address(address, ec), port);
    if (!ec) acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(asio::socket_base::reuse_address(true), ec);
    if (!ec && shared) acceptor.set_option(ReusePort(true), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) return ec;
    const auto bound = acceptor.local_endpoint(ec);
    if (ec) return ec;
    return bound.port();
}

std::vector<std::string> protocols_of(const std::string& platform) {
    if (platform == "apns") return {"h2"};
    if (platform == "fcmv1") return {"h2", "http/1.1"};
    return {"http/1.1"};
}

double cpu_seconds_of(std::thread& thread) {
    clockid_t clock{};
    timespec spent{};
    if (!thread.joinable() || pthread_getcpuclockid(thread.native_handle(), &clock) != 0 ||
        clock_gettime(clock, &spent) != 0)
        return 0;
    return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
}

}  // namespace

struct Simulator::Impl {
    explicit Impl(SimOptions given)
        : options(std::move(given)),
          rules(options.seed),
          journal(options.journal_max, options.bodies_max) {}

    SimOptions options;
    RuleBook rules;
    Journal journal;
    std::unique_ptr<Provider> provider;
    std::vector<std::unique_ptr<Loop>> loops;
    std::unique_ptr<ControlPort> control;  ///< of the first loop
    std::uint16_t port = 0, control_port = 0;
    mutable std::mutex stop_mutex;  ///< guards the threads against a reader of their clocks
    bool stopped = false;
    double cpu_seconds = 0;  ///< once stopped

    Result<void> open(Simulator& self);
    void run();
    void stop();
};

Result<void> Simulator::Impl::open(Simulator& self) {
    provider = make_provider(options, rules, journal);
    const Platform* platform = platform_by_name(options.platform);
    if (!provider || !platform)
        return boost::system::errc::make_error_code(boost::system::errc::invalid_argument);
    TlsServerOptions tls;
    tls.certificate_pem = options.certificate_pem;
    tls.key_pem = options.key_pem;
    tls.alpn = protocols_of(options.platform);
    tls.client_ca_pem = options.client_ca_pem;
    auto context = make_server_context(tls);
    if (!context) return context.error();

    if (options.port != 0) {
        // Shared by the loops below, but not with another process: that would get a part of the
        // connections.
        asio::io_context probing;
        Acceptor probe(probing.get_executor());
        auto free = listen(probe, options.address, options.port, false);
        if (!free) return free.error();
    }
    port = options.port;
    for (unsigned i = 0; i < std::max(options.threads, 1U); ++i) {
        loops.push_back(
            std::make_unique<Loop>(options, *provider, journal, *context, options.seed + i));
        auto bound = listen(loops.back()->acceptor, options.address, port);
        if (!bound) return bound.error();
        port = *bound;
    }
    Loop& first = *loops.front();
    Acceptor acceptor(first.io.get_executor());
    auto bound = listen(acceptor, "127.0.0.1", options.control_port, false);
    if (!bound) return bound.error();
    control_port = *bound;
    control = std::make_unique<ControlPort>(first.nursery, std::move(acceptor),
                                            [&self, platform](const H1Request& request) {
                                                return answer_control(self, *platform, request);
                                            });
    return {};
}

void Simulator::Impl::run() {
    for (auto& loop : loops) {
        loop->nursery.start(accept_connections(*loop));
        if (loop == loops.front()) loop->nursery.start(control->run());
        loop->thread = std::thread([&io = loop->io] { io.run(); });
    }
}

void Simulator::Impl::stop() {
    {
        // Not held while joining: a control request that is being answered may want it.
        const std::lock_guard lock(stop_mutex);
        if (stopped) return;
        stopped = true;
        for (auto& loop : loops) cpu_seconds += cpu_seconds_of(loop->thread);
    }
    for (auto& loop : loops) {
        if (!loop->thread.joinable()) continue;
        asio::post(loop->io, [this, &loop = *loop] {
            loop.stopping = true;
            if (&loop == loops.front().get()) control->close();
            error_code ignored;
            loop.acceptor.close(ignored);
            Event close;
            close.kind = Event::Kind::close;
            for (Connection* connection : loop.connections) connection->on_event(close);
            loop.nursery.cancel();
        });
    }
    // A loop runs out of work when its last child has ended.
    for (auto& loop : loops)
        if (loop->thread.joinable()) loop->thread.join();
}

Simulator::Simulator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Simulator::~Simulator() {
    stop();
}

Result<std::unique_ptr<Simulator>> Simulator::start(SimOptions options) {
    std::unique_ptr<Simulator> out(new Simulator(std::make_unique<Impl>(std::move(options))));
    auto opened = out->impl_->open(*out);
    if (!opened) return opened.error();
    out->impl_->run();
    return out;
}

std::uint16_t Simulator::port() const {
    return impl_->port;
}
std::uint16_t Simulator::control_port() const {
    return impl_->control_port;
}
std::string Simulator::url() const {
    return "https://" + impl_->options.address + ':' + std::to_string(impl_->port);
}
std::string Simulator::control_url() const {
    return "http://127.0.0.1:" + std::to_string(impl_->control_port);
}

std::vector<std::string> Simulator::connect_to() const {
    std::vector<std::string> out;
    for (const std::string& host : host_names(impl_->options.platform)) {
        if (host == "localhost") continue;
        const std::string here = '=' + impl_->options.address + ':' + std::to_string(impl_->port);
        out.push_back(host + ":443" + here);
        if (impl_->options.platform == "apns") out.push_back(host + ":2197" + here);
    }
    return out;
}

Counters Simulator::counters() const {
    Counters out = impl_->journal.counters();
    const std::lock_guard lock(impl_->stop_mutex);
    out.cpu_seconds = impl_->cpu_seconds;
    for (auto& loop : impl_->loops) {
        if (!impl_->stopped) out.cpu_seconds += cpu_seconds_of(loop->thread);
        const auto fast = loop->fast_answers.load(std::memory_order_relaxed);
        if (fast == 0) continue;
        out.received += fast;
        out.accepted += fast;
        const auto first = loop->fast_first_us.load(std::memory_order_relaxed);
        if (out.first_push_us == 0 || first < out.first_push_us) out.first_push_us = first;
        out.last_push_us =
            std::max(out.last_push_us, loop->fast_last_us.load(std::memory_order_relaxed));
    }
    return out;
}

std::vector<Entry> Simulator::entries(bool accepted) const {
    return impl_->journal.entries(accepted);
}
bool Simulator::body_of(std::string_view handle, std::string& out) const {
    return impl_->journal.body_of(handle, out);
}
void Simulator::set_rules(Rules rules) {
    impl_->rules.replace(std::move(rules));
}
void Simulator::add_rules(Rules rules) {
    impl_->rules.add(std::move(rules));
}

void Simulator::reset() {
    impl_->journal.reset();
    for (auto& loop : impl_->loops)
        asio::post(loop->io, [&loop = *loop] { loop.fast_answers.store(0); });
}

void Simulator::event(const Event& event) {
    const std::lock_guard lock(impl_->stop_mutex);
    if (impl_->stopped) return;
    for (auto& loop : impl_->loops)
        asio::post(loop->io, [&loop = *loop, event] {
            for (Connection* connection : loop.connections) connection->on_event(event);
        });
}

void Simulator::revoke_tokens() {
    impl_->provider->revoke_tokens();
}
void Simulator::set_clock_offset_ms(std::int64_t offset_ms) {
    impl_->provider->set_clock_offset_ms(offset_ms);
}
void Simulator::stop() {
    impl_->stop();
}

}  // namespace pns::sim
