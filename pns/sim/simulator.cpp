// Tested by tests/pns_sim_test.cpp, tests/pns_simulated_sends_test.cpp.
//
// Impl has the loops, one thread each, with the shared provider, rules, faults and journal.
// start() binds all sockets before any thread runs. Changes that concern connections are posted to
// each loop. stop() counts CPU time, closes everything on its own loop and joins; it may be called
// from any thread and more than once.
#include "pns/sim/simulator.hpp"

#include <pthread.h>
#include <time.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>

#include "pns/errc.hpp"
#include "pns/sim/control.hpp"
#include "pns/sim/platforms.hpp"
#include "pns/sim/serving.hpp"

namespace pns::sim {

namespace {

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
          faults(options.seed),
          wrong_tls(options),
          journal(options.journal_max, options.bodies_max) {}

    SimOptions options;
    RuleBook rules;
    FaultBook faults;
    WrongTls wrong_tls;
    bool clock_fault = false;  ///< F35 moved the clock
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
    provider->set_faults(faults);
    TlsServerOptions tls;
    tls.certificate_pem = options.certificate_pem;
    tls.key_pem = options.key_pem;
    tls.alpn = sim_platform(options.platform)->alpn;
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
        loops.push_back(std::make_unique<Loop>(options, *provider, journal, faults, wrong_tls,
                                               *context, options.seed + i));
        auto bound = listen(loops.back()->acceptor, options.address, port);
        if (!bound) return bound.error();
        loops.back()->port = port = *bound;
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
        // A loop that gets no thread has no children either.
        loop->thread = std::thread([this, &loop = *loop] {
            loop.nursery.start(accept_connections(loop));
            if (&loop == loops.front().get()) loop.nursery.start(control->run());
            loop.io.run();
        });
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
const Trust& Simulator::trust() const {
    return impl_->options.trust;
}
std::string Simulator::url() const {
    return "https://" + impl_->options.address + ':' + std::to_string(impl_->port);
}
std::string Simulator::control_url() const {
    return "http://127.0.0.1:" + std::to_string(impl_->control_port);
}

std::vector<std::string> Simulator::connect_to() const {
    std::vector<std::string> out;
    const SimPlatform& platform = *sim_platform(impl_->options.platform);
    const std::string here = '=' + impl_->options.address + ':' + std::to_string(impl_->port);
    for (const std::string& host : platform.hosts)
        for (const std::uint16_t port : platform.ports)
            out.push_back(host + ':' + std::to_string(port) + here);
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

std::vector<Entry> Simulator::all_entries() const {
    return impl_->journal.all_entries();
}
std::vector<Happening> Simulator::happenings() const {
    return impl_->journal.happenings();
}
bool Simulator::speaks_h1() const {
    return sim_platform(impl_->options.platform)->alpn.front() == "http/1.1";
}
std::uint64_t Simulator::seed() const {
    return impl_->faults.seed();
}

void Simulator::set_faults(std::vector<Fault> faults, std::optional<std::uint64_t> seed) {
    const std::lock_guard lock(impl_->stop_mutex);
    if (impl_->stopped) return;
    constexpr std::int64_t two_hours_ms = 2 * 3'600'000, away_ms = 300;
    std::int64_t closed_ms = 0, paused_ms = 0, clock_ms = 0;
    for (const Fault& fault : faults) {
        if (!fault.row || fault.row->point != FaultPoint::now) continue;
        impl_->journal.fault(fault_name(*fault.row));
        const std::int64_t ms = fault.ms > 0 ? fault.ms : away_ms;
        if (fault.row->number == 29) (fault.row->variant == "queue" ? paused_ms : closed_ms) = ms;
        if (fault.row->number == 35)
            clock_ms = fault.row->variant == "behind" ? -two_hours_ms : two_hours_ms;
    }
    if (clock_ms != 0 || impl_->clock_fault) impl_->provider->set_clock_offset_ms(clock_ms);
    impl_->clock_fault = clock_ms != 0;
    const std::int64_t now_ms = system_clock().steady_ms();
    impl_->faults.replace(std::move(faults), now_ms, seed.value_or(impl_->faults.seed()));
    if (closed_ms == 0 && paused_ms == 0) return;
    for (auto& loop : impl_->loops)
        asio::post(loop->io, [&loop = *loop, closed_ms, paused_ms, now_ms] {
            error_code ignored;
            if (closed_ms > 0) {
                loop.closed_until_ms = now_ms + closed_ms;
                hold_port(loop);
            } else {
                loop.paused_until_ms = now_ms + paused_ms;
                loop.acceptor.cancel(ignored);
            }
        });
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
void Simulator::set_each_alone(bool on) {
    for (auto& loop : impl_->loops) loop->each_alone = on;
}
void Simulator::stop() {
    impl_->stop();
}

}  // namespace pns::sim
