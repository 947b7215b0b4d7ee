#pragma once

// `pushhub bench outage`: a provider that is away in the midst of a broadcast.

namespace bench {

int outage_main(int argc, char** argv);

}  // namespace bench
