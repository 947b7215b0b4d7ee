#include "bench/bench.hpp"

#include <cstdio>
#include <string_view>

#include "bench/bare.hpp"
#include "bench/fanout.hpp"
#include "bench/games.hpp"
#include "bench/register.hpp"
#include "bench/unicast.hpp"

namespace bench {
namespace {

constexpr const char* usage =
    "usage: pushhub bench VERB [options]   (--help after a verb shows its options)\n"
    "  fanout   one broadcast over a fast APNs sink: pushes/s, CPU per push, memory, beside "
    "h2load\n"
    "  games    the Winter Games: 100,000 devices, four platforms, every push checked\n"
    "  register durable writes of installations, beside a server that only answers\n"
    "  unicast  sends to single users, accepted durably, beside a server that only answers\n";

}  // namespace

int bench_main(int argc, char** argv) {
    const std::string_view verb = argc > 1 ? argv[1] : "";
    if (verb == "fanout") return fanout_main(argc - 1, argv + 1);
    if (verb == "games") return games_main(argc - 1, argv + 1);
    if (verb == "register") return register_main(argc - 1, argv + 1);
    if (verb == "unicast") return unicast_main(argc - 1, argv + 1);
    if (verb == "bare") return bare_main(argc - 1, argv + 1);  // the yardstick of these two
    const bool help = verb == "--help" || verb == "-h";
    std::fputs(usage, help ? stdout : stderr);
    return help ? 0 : 2;
}

}  // namespace bench
