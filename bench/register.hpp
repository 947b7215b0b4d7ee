#pragma once

// `pushhub bench register`: how many installations a hub writes durably each second, known ones
// again and new ones, beside a bare server that only parses and answers. Hub and bare server are
// processes of their own.

namespace bench {

/// argv[0] is the verb "register". 0 when every request was answered as it must be.
int register_main(int argc, char** argv);

}  // namespace bench
