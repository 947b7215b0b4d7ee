#pragma once

// `pushhub bench peers`: what a push costs other people's libraries, beside the hub's own fan-out
// into the same sink in alternating runs. Their drivers lie in bench/peers/ and need the tools of
// their languages and a package registry; a library that cannot be built is left out and named.

namespace bench {

/// argv[0] is the verb "peers". 0 when every run was complete and correct.
int peers_main(int argc, char** argv);

}  // namespace bench
