#pragma once

// The rules of the namespace. Replaced whole when the root key is read again; any thread may take
// what is in force.

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "hub/access/sas.hpp"

namespace hub {

class NamespaceRules {
  public:
    using Rules = std::shared_ptr<const std::vector<Rule>>;

    explicit NamespaceRules(Rule root) { put(std::move(root)); }
    Rules now() const {
        const std::lock_guard lock(mutex_);
        return rules_;
    }
    Rule front() const { return now()->front(); }
    void put(Rule root) {
        auto rules = std::make_shared<const std::vector<Rule>>(1, std::move(root));
        const std::lock_guard lock(mutex_);
        rules_.swap(rules);
    }

  private:
    mutable std::mutex mutex_;
    Rules rules_;
};

}  // namespace hub
