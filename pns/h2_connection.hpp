#pragma once

// An HTTP/2 client connection: one H2Session over TLS. Coroutines read, write and watch deadlines;
// a request costs none.

#include "pns/connection.hpp"

namespace pns {

std::unique_ptr<Connection> make_h2_connection(Executor executor, ConnectionSettings settings,
                                               ConnectionEvents& events);

}  // namespace pns
