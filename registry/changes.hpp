#pragma once

// The changes a store can undergo: apply(transaction, record). Each reads only its record and the
// store as the transaction shows it; it checks everything before it changes anything, so an error
// leaves no trace. A fault of the transaction on return means the store could not be read: the
// batch is given up then.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "registry/handle_life.hpp"
#include "registry/registration.hpp"
#include "registry/transaction.hpp"

namespace registry {

// hubs.cpp
Result<HubRow> create_hub(Transaction& tx, HubRow hub);
Result<HubRow> update_hub(Transaction& tx, HubRow hub);
Result<void> erase_hub(Transaction& tx, const std::string& name);

// registrations.cpp
/// A plain registration to write: what does not depend on the store is made on the caller's thread.
struct RegistrationPut {
    RegistrationPut(std::uint32_t hub, Registration value, const Precondition& match);
    std::uint32_t hub;
    Registration value;
    Precondition match;
    TaggedRow row;
    std::string id_key;
    LookedUp looked_up;
};
/// Finds out for each what its row needs to know of the store, where that spares the writer a look.
/// Blocks on disk; any thread.
void look_up(const View& view, std::span<RegistrationPut> puts);
/// Writes the row in `put`, and completes it; `put.value` gets the new etag.
Result<void> put_registration(Transaction& tx, RegistrationPut& put);
Result<void> erase_registration(Transaction& tx, std::uint32_t hub, const std::string& id,
                                const Precondition& match);
Result<void> check_match(const Precondition& match, std::uint64_t etag);
/// Removes a plain row that is over. An id that was issued is used up: its device takes a new one.
/// One that a client chose may come again.
void use_up_plain(Transaction& tx, std::uint32_t hub, Address address, const Row& row);

// installations.cpp
/// `value` gets the new version.
Result<void> put_installation(Transaction& tx, std::uint32_t hub, Installation& value,
                              std::optional<std::uint64_t> expected_version);
Result<bool> erase_installation(Transaction& tx, std::uint32_t hub, const std::string& id);
/// Removes one part: a template from its installation, or the native part until the next full
/// write.
Result<void> erase_part(Transaction& tx, std::uint32_t hub, const Row& row,
                        const Precondition& match);
/// Rewrites an installation after one of its channels changed; its set of parts stays.
void rewrite_installation(Transaction& tx, std::uint32_t hub, const InstallationRecord& before,
                          Installation after);
/// Gives the rows the times of their installation.
void catch_up_rows(Transaction& tx, std::uint32_t hub, const InstallationRecord& record);

// life.cpp
Result<std::vector<Retired>> retire(Transaction& tx, std::uint32_t hub,
                                    const std::vector<Retirement>& dead);
Result<std::size_t> rotate(Transaction& tx, std::uint32_t hub, const std::vector<Rotation>& moved);
Result<Swept> expire(Transaction& tx, std::int64_t now_ms, std::size_t count_max);

// ledger.cpp
Result<void> accept(Transaction& tx, std::uint32_t hub,
                    const std::shared_ptr<const FrozenSend>& frozen, const Progress& progress);
Result<void> checkpoint(Transaction& tx, std::uint32_t hub, const std::string& send_id,
                        const Progress& progress);
/// A final send enters the index of ends: `bytes` is what it takes.
void index_end(Transaction& tx, EndedKey end, std::uint64_t bytes);

// send_sweep.cpp
Result<SweptSends> sweep_sends(Transaction& tx, const SendRetention& keep, std::int64_t now_ms,
                               std::size_t count_max);

}  // namespace registry
