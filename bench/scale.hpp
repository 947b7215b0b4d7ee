#pragma once

// `pushhub bench scale`: a broadcast and questions at growing numbers of devices. What one push and
// one question cost must stay flat.

namespace bench {

/// argv[0] is the verb "scale". 0 when every run was complete and correct.
int scale_main(int argc, char** argv);

}  // namespace bench
