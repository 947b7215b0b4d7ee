#pragma once

// Who may pass to a handler: SAS against the rules of the hub and of the namespace, then the
// route's right, then whether the hub is enabled (contracts/anh.md 1.2 to 1.4). The reason of a
// refusal is logged, without secrets.

#include "hub/dispatch.hpp"

namespace hub {

/// `parts` outlives the gate.
Gate make_gate(Parts& parts);

}  // namespace hub
