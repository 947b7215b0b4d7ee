// The program: one verb an argument, each with its own --help.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

#include "hub/cli/dev.hpp"
#include "hub/cli/sends_watch.hpp"
#include "hub/process/private_file.hpp"
#include "hub/service.hpp"
#include "pns/exit_code.hpp"
#include "pns/sim/simulator.hpp"

/// Read by jemalloc, which sanitizer builds do not have. Without threads of its own it gives freed
/// memory back only when the thread that freed it allocates again: after 10,000 connections
/// 900 MiB stayed (docs/limits.md). MALLOC_CONF of the environment is stronger.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "background_thread:true,dirty_decay_ms:5000";
}

namespace {

constexpr const char* help =
    R"(pushhub: a self-hosted push notification hub that speaks the wire contract of
Azure Notification Hubs.

Usage: pushhub VERB [OPTIONS]

  serve    run the hub (settings: flags, PUSHHUB_* environment, --config FILE)
  dev      hub, provider simulators and seeded devices in one command
  sim      the provider simulators alone
  sends    watch, list, pause, resume and cancel the sends of a hub
  bench    measure

  --help, -h      this text; `pushhub VERB --help` tells more
  --version, -V   the version

Try it:   pushhub dev
Run it:   pushhub serve --data-dir /var/lib/pushhub --listen 0.0.0.0:8443
)";

/// The measuring program is one of its own, built as pushhub-bench: it takes the place of this one.
int bench_main(int, char** argv) {
    std::error_code failure;
    const std::string program =
        (std::filesystem::read_symlink("/proc/self/exe", failure).parent_path() / "pushhub-bench")
            .string();
    argv[0] = const_cast<char*>(program.c_str());
    ::execv(program.c_str(), argv);
    std::fprintf(stderr, "pushhub bench: cannot run %s: %s\n", program.c_str(),
                 std::strerror(errno));
    return pns::exit_failed;
}

struct Verb {
    std::string_view name;
    int (*run)(int argc, char** argv);
};

constexpr Verb verbs[] = {
    {"serve", hub::serve_main}, {"dev", hub::dev_main}, {"sim", pns::sim::sim_main},
    {"sends", hub::sends_main}, {"bench", bench_main},
};

int run(int argc, char** argv) {
    const std::string_view verb = argc > 1 ? argv[1] : "--help";
    if (verb == "--help" || verb == "-h" || verb == "help") {
        std::fputs(help, stdout);
        return pns::exit_done;
    }
    if (verb == "--version" || verb == "-V") {
        std::puts("pushhub " PUSHHUB_VERSION);
        return pns::exit_done;
    }
    for (const auto& known : verbs) {
        if (known.name != verb) continue;
        try {
            return known.run(argc - 1, argv + 1);
        } catch (const std::exception& failure) {
            std::fprintf(stderr, "pushhub %s: %s\n", argv[1], failure.what());
            return pns::exit_failed;
        }
    }
    std::fprintf(stderr, "pushhub: unknown verb \"%s\"; `pushhub --help` lists them\n", argv[1]);
    return pns::exit_usage;
}

}  // namespace

int main(int argc, char** argv) {
    hub::close_to_others();
    return pns::exit_code_after_output(run(argc, argv));
}
