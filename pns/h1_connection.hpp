#pragma once

// An HTTP/1.1 keep-alive client connection over TLS: one request at a time, nothing pipelined. It
// reads all the time, so it sees a close by the peer before it writes the next request, whenever
// that is possible.

#include "pns/connection.hpp"

namespace pns {

std::unique_ptr<Connection> make_h1_connection(Executor executor, ConnectionSettings settings,
                                               ConnectionEvents& events);

}  // namespace pns
