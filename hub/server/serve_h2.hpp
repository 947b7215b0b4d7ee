#pragma once

// HTTP/2 on one connection: a coroutine of its own answers each stream, and responses that are
// ready together leave in one write.
//
// Bounds: streams at once and handlers at work (also of streams that were reset) by
// Config::streams_max, header lists and bodies by pns::H2Limits and the route; what a peer can make
// grow besides, by serve_h2.cpp. A connection without a stream for idle_timeout_ms gets GOAWAY. A
// connection on which a body stalls is cut.

#include "hub/process/config.hpp"
#include "hub/server/dispatch.hpp"
#include "hub/server/peer.hpp"

namespace hub {

/// Ends when the connection and every handler of it have ended. `peer`, `dispatch` and `config`
/// outlive the task.
pns::Task<void> serve_h2(Peer& peer, Dispatch& dispatch, const Config& config);

}  // namespace hub
