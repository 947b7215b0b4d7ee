#pragma once

// TLS servers that no client should talk to (F27): made when first needed, kept for the run. Any
// thread.

#include <map>
#include <mutex>
#include <string>

#include "pns/sim/simulator.hpp"
#include "pns/tls.hpp"

namespace pns::sim {

class WrongTls {
  public:
    explicit WrongTls(const SimOptions& options) : options_(options) {}
    /// The context for a variant of F27; null for variants that need none of their own.
    TlsContext get(std::string_view variant);

  private:
    TlsContext make(std::string_view variant) const;

    const SimOptions& options_;
    std::mutex mutex_;
    std::map<std::string, TlsContext, std::less<>> made_;
};

}  // namespace pns::sim
