#pragma once

// `pushhub bench soak`: mixed load for minutes, and whether the memory of the hub comes to rest.
// scripts/soak runs it and writes what came of it into docs/reliability.md.

namespace bench {

int soak_main(int argc, char** argv);

}  // namespace bench
