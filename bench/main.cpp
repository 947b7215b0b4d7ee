// pushhub-bench: what `pushhub bench VERB ...` runs. It starts the pushhub that lies beside it.

#include <array>
#include <cstdio>
#include <string_view>

#include "bench/audience.hpp"
#include "bench/bare.hpp"
#include "bench/fanout.hpp"
#include "bench/games.hpp"
#include "bench/outage.hpp"
#include "bench/peers.hpp"
#include "bench/register.hpp"
#include "bench/restart.hpp"
#include "bench/scale.hpp"
#include "bench/soak.hpp"
#include "bench/unicast.hpp"
#include "bench/wire.hpp"
#include "hub/cli/terminal.hpp"
#include "hub/process/private_file.hpp"
#include "pns/exit_code.hpp"

namespace bench {
namespace {

struct Verb {
    std::string_view name;
    int (*run)(int argc, char** argv);
    std::string_view what;  ///< empty = not for people
};

constexpr std::array verbs{
    Verb{"fanout", fanout_main,
         "broadcasts into a fast provider, beside h2load: rate, cost by stage, memory"},
    Verb{"audience", audience_main, "select and count by tag expression, beside bitmaps in memory"},
    Verb{"register", register_main,
         "durable installations, beside a server that only answers and RocksDB alone"},
    Verb{"unicast", unicast_main,
         "sends to single users: time to the provider, alone and beside a broadcast"},
    Verb{"restart", restart_main, "time to ready after a clean stop and after SIGKILL"},
    Verb{"scale", scale_main,
         "100,000 to 10 million devices: cost per push and question, memory, disk"},
    Verb{"wire", wire_main,
         "senders alone: rate over distance, a stalled provider, an outage, CPU per push"},
    Verb{"outage", outage_main,
         "a provider that is away in the midst of a broadcast: first push, rate of the rest"},
    Verb{"peers", peers_main,
         "the fan-out beside push libraries of others: Pushy, a2, apns2, gorush, ..."},
    Verb{"soak", soak_main,
         "mixed load for minutes: memory over time, every send ends, nobody is missed"},
    Verb{"games", games_main, "the Winter Games: four platforms, every push checked"},
    Verb{"bare", bare_main, ""},  // the yardstick of register and unicast
};

int run(int argc, char** argv) {
    const std::string_view wanted = argc > 1 ? argv[1] : "";
    for (const Verb& verb : verbs)
        if (verb.name == wanted) return verb.run(argc - 1, argv + 1);
    const bool help = wanted == "--help" || wanted == "-h";
    std::FILE* const out = help ? stdout : stderr;
    std::fputs("usage: pushhub bench VERB [options]   (--help after a verb shows its options)\n",
               out);
    for (const Verb& verb : verbs)
        if (!verb.what.empty())
            std::fprintf(out, "  %s %s\n", hub::padded(verb.name, 9).c_str(),
                         std::string(verb.what).c_str());
    return help ? pns::exit_done : pns::exit_usage;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
    hub::close_to_others();
    return pns::exit_code_after_output(bench::run(argc, argv));
}
