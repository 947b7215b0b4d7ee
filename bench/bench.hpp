#pragma once

namespace bench {

/// `pushhub bench VERB ...`: arguments after `pushhub bench`, so argv[0] is the verb. Returns the
/// exit code.
int bench_main(int argc, char** argv);

}  // namespace bench
