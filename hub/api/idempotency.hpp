#pragma once

// Idempotency keys: a request that creates something and carries `Idempotency-Key` creates it once,
// however often the client sends it. The first answer is kept (registry/idempotency.hpp) in the
// same batch as what the request created, and every repeat gets it. A key that was used for another
// request is refused with 422, and a key whose request is still at work with 409.
//
// Keys belong to a hub and the name of the rule that signed. Refusals are not kept: they created
// nothing, and a repeat may succeed. Any thread.

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "hub/api/handlers.hpp"
#include "hub/http/idempotency_key.hpp"
#include "registry/registry.hpp"

namespace hub {

/// A request with a key, at work.
class Once {
  public:
    Once(registry::KeptAnswer answer, std::string planned)
        : answer_(std::move(answer)), planned_(std::move(planned)) {}

    /// `response` as it is to be kept; the handler gives it to the registry with what it creates.
    registry::KeptAnswer answer(const Response& response) const;
    /// The handler has put answer() into the batch of what it created, and it is on disk.
    void kept() { kept_ = true; }
    bool is_kept() const { return kept_; }

    /// For what is created outside the registry: the id an earlier attempt chose before it broke
    /// off, or empty. plan() gives what keeps a fresh choice, to be on disk before it is used.
    const std::string& planned() const { return planned_; }
    registry::KeptAnswer plan(std::string id) const;

  private:
    registry::KeptAnswer answer_;
    std::string planned_;
    bool kept_ = false;
};

/// Keys whose first request is at work, of all lanes.
class Idempotency {
  public:
    /// Holds a key while it lives; false: another request holds it.
    class Claim {
      public:
        Claim(Idempotency& owner, std::string name);
        ~Claim();
        Claim(const Claim&) = delete;
        Claim& operator=(const Claim&) = delete;
        explicit operator bool() const { return held_; }

      private:
        Idempotency& owner_;
        const std::string name_;
        bool held_ = false;
    };

    std::size_t at_work() const;

  private:
    mutable std::mutex mutex_;
    std::set<std::string> names_;  // guarded by mutex_
};

/// Runs the handler of a request with a key, or answers in its place.
pns::Task<Response> answer_once(Call call, Handler handler);

}  // namespace hub
