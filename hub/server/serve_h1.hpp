#pragma once

// HTTP/1.1 (and 1.0) on one connection: requests one after the other, pipelined ones wait in the
// socket. The only user of Beast is serve_h1.cpp. Framing is strict (RFC 9112 6.3): a request with
// both Content-Length and Transfer-Encoding, with any coding but a single "chunked", with folded
// lines or without exactly one Host is refused and the connection closed. A head that is refused is
// answered before its body is read.

#include "hub/process/config.hpp"
#include "hub/server/dispatch.hpp"
#include "hub/server/peer.hpp"

namespace hub {

/// Ends when the connection has ended. `peer`, `dispatch` and `config` outlive the task.
pns::Task<void> serve_h1(Peer& peer, Dispatch& dispatch, const Config& config);

/// Reads one request from a client that speaks HTTP to the port of HTTPS, and says so.
pns::Task<void> refuse_plain_h1(Peer& peer, Dispatch& dispatch, const Config& config);

}  // namespace hub
