#pragma once

// A send and how it goes, as JSON (docs/control.md). At every moment the counts of all outcomes
// plus `pending` are the audience. Pure, any thread.

#include <cstdint>
#include <string>

#include "hub/send/fanout.hpp"
#include "registry/send.hpp"

namespace hub {

/// One line of a list, or all of a send with `whole`. `live`: it is open here; its figures are
/// fresher than `progress`, the ledger's.
std::string send_json(const registry::Send& send, const registry::Progress& progress,
                      const Fanout::Watched* live, bool whole);

}  // namespace hub
