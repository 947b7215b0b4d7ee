#pragma once

// `pushhub bench fanout`: how fast one broadcast leaves the hub, and what it costs, beside h2load
// against the same sink in the same run. Hub, sink and h2load are processes of their own.

namespace bench {

/// argv[0] is the verb "fanout". 0 when every run was complete and correct.
int fanout_main(int argc, char** argv);

}  // namespace bench
