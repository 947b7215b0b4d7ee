#pragma once

// `pushhub bench restart`: from the start of the process to the first 200 of /readyz, after a clean
// stop and after SIGKILL in the middle of writing, beside one sequential read of the store.

namespace bench {

/// argv[0] is the verb "restart". 0 when the hub came back every time with what it had.
int restart_main(int argc, char** argv);

}  // namespace bench
