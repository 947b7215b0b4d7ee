#pragma once

// `pushhub bench wire`: what the senders of pns/ do on the wire, without a hub: the rate of one
// connection over distance, what a stalled provider costs another, memory while a provider is down,
// and CPU per push of each sender.

namespace bench {

/// argv[0] is the verb "wire". 0 when every part ran.
int wire_main(int argc, char** argv);

}  // namespace bench
