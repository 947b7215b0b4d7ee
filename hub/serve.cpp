// The verb `serve`: settings, service, signals.

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "hub/process/log.hpp"
#include "hub/process/private_file.hpp"
#include "hub/server/tls_files.hpp"
#include "hub/service.hpp"
#include "pns/exit_code.hpp"
#include "pns/tls.hpp"

namespace hub {

struct StopSignal::Impl {
    boost::asio::io_context io{1};
    boost::asio::signal_set signals{io, SIGINT, SIGTERM, SIGHUP};
    std::thread second;

    void end_at_next() {
        signals.async_wait([this](const boost::system::error_code& failure, int number) {
            if (failure) return;
            if (number != SIGHUP) std::_Exit(pns::exit_interrupted);
            end_at_next();
        });
    }
};

StopSignal::StopSignal() : impl_(std::make_unique<Impl>()) {
    // A connection that the peer has closed is an error code, not the end of the process.
    std::signal(SIGPIPE, SIG_IGN);
}

void StopSignal::wait(const std::function<void()>& on_hangup) {
    for (bool stop = false; !stop;) {
        int come = 0;
        impl_->signals.async_wait(
            [&come](const boost::system::error_code&, int number) { come = number; });
        while (come == 0) impl_->io.run_one();
        impl_->io.restart();
        stop = come != SIGHUP || !on_hangup;
        if (!stop) on_hangup();
    }
    impl_->end_at_next();
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

bool can_read(const std::string& path) {
    return ::access(path.c_str(), R_OK) == 0 && !std::filesystem::is_directory(path);
}

/// What is wrong with the files and directories that the settings name, a line each. That a file
/// cannot be read at all is told by whoever read the settings.
std::vector<std::string> wrong_with_files(const Config& config) {
    std::vector<std::string> wrong;
    if (can_read(config.tls_cert_file) && can_read(config.tls_key_file)) {
        try {
            make_tls_context({config.tls_cert_file, config.tls_key_file, {}});
        } catch (const std::exception& failure) {
            wrong.emplace_back(failure.what());
        }
    }
    const std::string& authorities = config.provider_ca_file;
    if (can_read(authorities) && !pns::TrustStore().anchors(authorities, false))
        wrong.push_back("provider_ca_file = \"" + authorities + "\": has no PEM certificate");
    const std::string why =
        config.data_dir.empty() ? std::string() : why_not_private(config.data_dir);
    if (!why.empty()) wrong.push_back("data_dir = \"" + config.data_dir.string() + "\": " + why);
    return wrong;
}

/// `known`: what is wrong with the settings themselves, in lines.
int check(const Settings& settings, std::string_view known) {
    std::vector<std::string> wrong;
    if (!known.empty()) wrong.emplace_back(known);
    for (auto& line : wrong_with_files(settings.config)) wrong.push_back(std::move(line));
    wrong.insert(wrong.end(), settings.unknown_variables.begin(), settings.unknown_variables.end());
    for (const std::string& line : wrong) std::fprintf(stderr, "pushhub serve: %s\n", line.c_str());
    if (wrong.empty() && !settings.print_config) std::puts("The configuration is sound.");
    return wrong.empty() ? pns::exit_done : pns::exit_usage;
}

void reload(Service& service, const std::vector<std::string>& args) {
    const auto read = read_settings(args);
    if (const auto* settings = std::get_if<Settings>(&read)) {
        service.reload(settings->config);
    } else {
        log_error("settings are not read again", {{"what", std::get<Ended>(read).text}});
    }
}

int serve(const Settings& settings, const std::vector<std::string>& args) {
    const Config& config = settings.config;
    if (config.core_dumps) allow_core_dumps();
    open_log(config.log_level, config.log_format);
    for (const std::string& line : settings.unknown_variables)
        log_warn("not a setting", {{"what", line}});
    StopSignal signal;
    std::string why;
    const auto service = Service::start(config, why);
    if (!service) {
        std::fprintf(stderr, "pushhub: cannot start: %s\n", why.c_str());
        return pns::exit_failed;
    }
    if (service->made_store())
        std::printf("pushhub: a new store in %s, which had none\n", config.data_dir.c_str());
    const std::string ca =
        service->ca_file().empty() ? "the operator's" : service->ca_file().string();
    const std::string key = service->root_key_file().empty() ? "from the configuration"
                                                             : service->root_key_file().string();
    std::printf("pushhub %s listens on %s; CA %s; key of rule %s: %s\n", PUSHHUB_VERSION,
                service->url().c_str(), ca.c_str(), config.root_key_name.c_str(), key.c_str());
    std::fflush(stdout);
    signal.wait([&service, &args] { reload(*service, args); });
    log_info("stopping");
    service->stop();
    return pns::exit_done;
}

}  // namespace

int serve_main(int argc, char** argv) {
    const std::vector<std::string> args(argv + 1, argv + argc);
    const auto read = read_settings(args);
    if (const auto* ended = std::get_if<Ended>(&read)) {
        if (ended->read) return check(*ended->read, ended->text);
        const bool done = ended->exit_code == pns::exit_done;
        std::fprintf(done ? stdout : stderr, "%s%s\n",
                     done ? "" : "pushhub serve: ", ended->text.c_str());
        return ended->exit_code;
    }
    const auto& settings = std::get<Settings>(read);
    if (settings.print_config) std::fputs(print_config(settings.config).c_str(), stdout);
    if (settings.check_only) return check(settings, {});
    return settings.print_config ? pns::exit_done : serve(settings, args);
}

}  // namespace hub
