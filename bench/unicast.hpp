#pragma once

// `pushhub bench unicast`: how many sends to a single user a hub accepts durably each second, and
// how fast, beside a bare server that only parses and answers. Hub, bare server and sink are
// processes of their own.

namespace bench {

/// argv[0] is the verb "unicast". 0 when every request was answered as it must be.
int unicast_main(int argc, char** argv);

}  // namespace bench
