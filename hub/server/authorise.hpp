#pragma once

// Who may pass to a handler: SAS against the rules of the hub and of the namespace, then the
// route's right, then whether the hub is enabled (docs/contracts/anh.md 1.2 to 1.4). The reason of
// a refusal is logged, without secrets.

#include "hub/server/dispatch.hpp"

namespace hub {

class Hubs;
class NamespaceRules;

/// Checks against the rules of hubs and of the namespace. All arguments outlive the result.
Authoriser make_authoriser(const Config& config, const Hubs& hubs,
                           const NamespaceRules& namespace_rules, Metrics& metrics);

}  // namespace hub
