#pragma once

// Huawei's side of API v3, which takes a service account instead of an app's secret.

#include "pns/sim/credentials.hpp"

namespace pns::sim {

/// A Simulator of "hms" whose Trust comes from it speaks v3.
MadeCredential make_hms_service_credential();

}  // namespace pns::sim
