// Tested by tests/hub_handle_claims_test.cpp and tests/hub_meant_test.cpp.

#include "hub/send/handle_claims.hpp"

#include "pns/account.hpp"
#include "pns/mixing.hpp"
#include "tagexpr/keyed_hash.hpp"

namespace hub {

namespace {

/// Equal pushes have equal hashes; a secret of the process keeps others apart.
std::uint64_t hash_of(const pns::Prepared& push) {
    std::uint64_t hash = 0;
    const auto add = [&hash](std::string_view part) {
        hash = pns::mixed(hash + tagexpr::keyed_hash(part));
    };
    for (const auto& [name, value] : push.headers) {
        add(name);
        add(value);
    }
    add(push.body ? std::string_view(*push.body) : std::string_view());
    add(push.body_head);
    add(push.body_tail);
    return hash;
}

}  // namespace

HandleClaims::Claims::const_iterator HandleClaims::find(std::uint64_t handle,
                                                        const pns::Prepared& push) const {
    const auto [first, end] = claims_.equal_range(handle);
    if (first == end) return claims_.end();
    const std::uint64_t hash = hash_of(push);
    for (auto claim = first; claim != end; ++claim) {
        if (claim->second.push == hash) return claim;
    }
    return claims_.end();
}

bool HandleClaims::take(std::string_view handle, const pns::Prepared& push, const Holder& device,
                        bool shared) {
    const std::uint64_t hash = tagexpr::keyed_hash(handle);
    const std::lock_guard lock(mutex_);
    const auto claim = find(hash, push);
    if (claim != claims_.end()) return claim->second.device == device;
    if (!shared || claims_.size() >= claims_max) return true;
    claims_.emplace(hash, Claim{hash_of(push), device});
    any_.store(true, std::memory_order_release);
    return true;
}

void HandleClaims::release(std::string_view handle, const pns::Prepared& push,
                           const Holder& device) {
    const std::uint64_t hash = tagexpr::keyed_hash(handle);
    const std::lock_guard lock(mutex_);
    const auto claim = find(hash, push);
    if (claim != claims_.end() && claim->second.device == device) claims_.erase(claim);
}

std::optional<HandleClaims::Holder> HandleClaims::holder(std::string_view handle,
                                                         const pns::Prepared& push) const {
    const std::uint64_t hash = tagexpr::keyed_hash(handle);
    const std::lock_guard lock(mutex_);
    const auto claim = find(hash, push);
    if (claim == claims_.end()) return std::nullopt;
    return claim->second.device;
}

}  // namespace hub
