// The verb `serve`: settings, service, signals.

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <thread>

#include "hub/process/log.hpp"
#include "hub/service.hpp"

namespace hub {

struct StopSignal::Impl {
    boost::asio::io_context io{1};
    boost::asio::signal_set signals{io, SIGINT, SIGTERM};
    std::thread second;
};

StopSignal::StopSignal() : impl_(std::make_unique<Impl>()) {
    // A connection that the peer has closed is an error code, not the end of the process.
    std::signal(SIGPIPE, SIG_IGN);
}

void StopSignal::wait() {
    bool come = false;
    impl_->signals.async_wait([&come](const boost::system::error_code&, int) { come = true; });
    while (!come) impl_->io.run_one();
    impl_->signals.async_wait([](const boost::system::error_code& failure, int) {
        if (!failure) std::_Exit(130);
    });
    impl_->io.restart();
    try {
        impl_->second = std::thread([&io = impl_->io] { io.run(); });
    } catch (const std::system_error& failure) {
        log_warn("a second signal is not watched for", {{"what", failure.what()}});
    }
}

StopSignal::~StopSignal() {
    impl_->io.stop();
    if (impl_->second.joinable()) impl_->second.join();
}

namespace {

int serve(const Config& config) {
    open_log(config.log_level, config.log_format);
    StopSignal signal;
    std::string why;
    const auto service = Service::start(config, why);
    if (!service) {
        std::fprintf(stderr, "pushhub: cannot start: %s\n", why.c_str());
        return 1;
    }
    const std::string ca =
        service->ca_file().empty() ? "the operator's" : service->ca_file().string();
    const std::string key = service->root_key_file().empty() ? "from the configuration"
                                                             : service->root_key_file().string();
    std::printf("pushhub %s listens on %s; CA %s; key of rule %s: %s\n", PUSHHUB_VERSION,
                service->url().c_str(), ca.c_str(), config.root_key_name.c_str(), key.c_str());
    std::fflush(stdout);
    signal.wait();
    log_info("stopping");
    service->stop();
    return 0;
}

}  // namespace

int serve_main(int argc, char** argv) {
    const auto read = read_settings(std::vector<std::string>(argv + 1, argv + argc));
    if (const auto* ended = std::get_if<Ended>(&read)) {
        std::FILE* out = ended->exit_code == 0 ? stdout : stderr;
        std::fprintf(out, "%s%s\n",
                     ended->exit_code == 0 ? "" : "pushhub serve: ", ended->text.c_str());
        return ended->exit_code;
    }
    const auto& settings = std::get<Settings>(read);
    if (settings.print_config) std::fputs(print_config(settings.config).c_str(), stdout);
    if (settings.check_only && !settings.print_config) std::puts("The configuration is sound.");
    if (settings.check_only || settings.print_config) return 0;
    return serve(settings.config);
}

}  // namespace hub
