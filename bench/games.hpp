#pragma once

// `pushhub bench games`: the Winter Games. Registers a population of devices, sends to parts of it,
// and holds the hub to an oracle: who must be reached, what must be counted, which handles must be
// gone afterwards.

namespace bench {

/// argv[0] is the verb "games". 0 when every check holds.
int games_main(int argc, char** argv);

}  // namespace bench
