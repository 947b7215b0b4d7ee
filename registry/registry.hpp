#pragma once

// The one durable store of a process: hubs, registrations with their postings, and the ledger of
// sends.
//
// Writes are queued to one writer thread. It takes everything that waits (bounded), applies it in
// order to one RocksDB batch, syncs once, makes the result visible to selections, and then runs
// each `done` callback, on the writer thread: callbacks must only hand the value on. When `done`
// reports success the change survives kill -9 and power loss, and every read or selection that
// starts afterwards sees it. Nothing of a failed batch is visible.
//
// Reads block on disk and belong on a store thread; any thread may call them at once. All hubs
// share one instance. The registry reads no clock and draws no random numbers: times and ids come
// in with the change, so that the same changes in the same order always give the same store.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "registry/audience.hpp"
#include "registry/device.hpp"
#include "registry/device_query.hpp"
#include "registry/errc.hpp"
#include "registry/handle_life.hpp"
#include "registry/hub_row.hpp"
#include "registry/kept_answer.hpp"
#include "registry/options.hpp"
#include "registry/registration.hpp"
#include "registry/send.hpp"
#include "registry/universe.hpp"
#include "tagexpr/expression.hpp"

namespace registry {

class Registry {
  public:
    /// Opens or creates the store. A store that fails its checks is refused and left untouched;
    /// `why` then says what was wrong, where, and what the operator can do. When the
    /// store opens, `why` says what the operator should know, if anything.
    static Result<std::unique_ptr<Registry>> open(const Options& options, std::string& why);
    ~Registry();
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    // --- hubs ---
    void create_hub(HubRow hub, Done<HubRow> done);  ///< errc::exists
    void update_hub(HubRow hub,
                    Done<HubRow> done);  ///< replaces `description`; errc::not_found
    /// Removes the hub; rows and postings are freed by range deletes in the same batch.
    void erase_hub(std::string name, Done<void> done);
    std::vector<HubRow> hubs() const;  ///< from memory, ordered by name

    // --- registrations and installations of hub number `hub` ---
    void put_registration(std::uint32_t hub, Registration value, Precondition match,
                          Done<Registration> done);
    struct PutOfMany {
        Registration value;
        Done<Registration> done;
    };
    /// Each as by put_registration(), one after the other. Looks up ahead what the writer would
    /// have to: blocks on disk.
    void put_registrations(std::uint32_t hub, std::vector<PutOfMany> many, Precondition match);
    void erase_registration(std::uint32_t hub, std::string id, Precondition match, Done<void> done);
    /// `expected_version`: write only if the stored version is this one (0 = must not exist);
    /// absent = always.
    void put_installation(std::uint32_t hub, Installation value,
                          std::optional<std::uint64_t> expected_version, Done<Installation> done);
    void erase_installation(std::uint32_t hub, std::string id,
                            Done<bool> done);  ///< true = it existed
    Result<Registration> registration(std::uint32_t hub, std::string_view id) const;
    Result<Installation> installation(std::uint32_t hub, std::string_view id) const;
    /// By id; `tag` empty = all. `after` is Page::next of the page before, or empty. A page has up
    /// to `count_max` registrations, and fewer if they hold more than a mebibyte.
    Result<Page> list(std::uint32_t hub, std::string_view tag, std::string_view after,
                      std::size_t count_max) const;
    /// The same of those with that handle; by id within a page.
    Result<Page> with_handle(std::uint32_t hub, std::string_view handle, std::string_view after,
                             std::size_t count_max) const;

    /// All rows that hold the handle, whatever the state of their channel, ascending by partition
    /// and number; the first `count_max`. Blocks on disk.
    Result<std::vector<Place>> places_of_handle(std::uint32_t hub, std::string_view platform,
                                                std::string_view handle,
                                                std::size_t count_max) const;

    /// Installations by id, then registrations by id (devices.hpp).
    Result<DevicePage> devices(std::uint32_t hub, const DeviceQuery& query) const;
    /// Ids of the installations of a user, live or expired.
    Result<std::vector<std::string>> installations_of_user(std::uint32_t hub,
                                                           std::string_view user_id,
                                                           std::size_t count_max) const;
    /// Erases those of `ids` that are the user's when the change is made.
    void erase_user(std::uint32_t hub, std::string user_id, std::vector<std::string> ids,
                    Done<std::vector<ErasedInstallation>> done);

    // --- selection and load ---
    /// The registrations that match, under one snapshot per partition; those whose channel has
    /// expired excluded, those whose time is over not until they are removed.
    Result<Selection> select(std::uint32_t hub, const tagexpr::Plan& plan,
                             const Universe& universe) const;
    /// As select(), without blocking: only where the plan asks for one user's or one installation's
    /// devices and what it needs is in memory, else errc::not_in_memory.
    Result<Selection> try_select(std::uint32_t hub, const tagexpr::Plan& plan,
                                 const Universe& universe) const;
    /// Would select() find this row as it is now? False: there is no such row. Blocks on disk.
    Result<bool> matches(std::uint32_t hub, std::uint16_t partition, std::uint32_t number,
                         const tagexpr::Plan& plan, const Universe& universe) const;
    /// The same selection, counted by platform and by native and template.
    Result<Audience> audience(std::uint32_t hub, const AudienceQuery& query) const;
    /// Reads the rows of `numbers` (ascending) of one partition, in order, one Device each.
    Result<void> load(std::uint32_t hub, std::uint16_t partition,
                      std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                      DeviceChunk& chunk) const;
    /// As load(), without blocking: only a few numbers whose rows are in memory, else
    /// errc::not_in_memory.
    Result<void> try_load(std::uint32_t hub, std::uint16_t partition,
                          std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                          DeviceChunk& chunk) const;

    /// For may_have_changed(). Any thread, from memory, without a lock.
    std::uint64_t stamp() const;
    /// True if a batch that became visible after `stamp` was taken erased this row, or changed its
    /// handle, user, tags, template, or the state of its channel; new times are no change. Known
    /// before the client of the change is answered. May be true without need, never false without
    /// right. Stamps of another process mean nothing. Any thread, from memory, without a lock.
    bool may_have_changed(std::uint32_t hub, std::uint16_t partition, std::uint32_t number,
                          std::uint64_t stamp) const;

    // --- life and death of handles ---
    void retire(std::uint32_t hub, std::vector<Retirement> dead,
                Done<std::vector<Retired>> done);  ///< those that were retired
    void rotate(std::uint32_t hub, std::vector<Rotation> moved,
                Done<std::size_t> done);  ///< channels that moved
    /// Removes registrations and installations whose time is over. Looks at `count_max` entries at
    /// most: as many seen means that there may be more.
    void expire(std::int64_t now_ms, std::size_t count_max, Done<Swept> done);

    // --- ledger ---
    /// Durable acceptance. Device numbers in `selection` are not reused until the send is final. A
    /// send that is stored as scheduled is accepted again under its id when it fires; errc::exists
    /// if it is final, and for any id that is open. Else the id must be new: it is not looked up.
    void accept(std::uint32_t hub, std::shared_ptr<const FrozenSend> frozen, Progress progress,
                Done<void> done);
    /// Replaces the progress of an open send; a final state releases its device numbers and its
    /// selection. A send that is final or unknown is errc::not_found.
    void checkpoint(std::uint32_t hub, std::string send_id, Progress progress, Done<void> done);
    Result<std::pair<Send, Progress>> send(
        std::uint32_t hub, std::string_view id) const;  ///< Progress::done left empty
    Result<std::vector<OpenSend>> open_sends() const;
    Result<SendPage> list_sends(std::uint32_t hub, const SendQuery& query) const;

    /// Removes sends that ended long ago or are too much, those that ended first before others, and
    /// bodies before them. Never one that is not final. A step looks at `count_max` entries at
    /// most, and takes all of a send or nothing.
    void sweep_sends(SendRetention keep, std::int64_t now_ms, std::size_t count_max,
                     Done<SweptSends> done);

    // --- answers kept for a repeated request (idempotency.hpp) ---
    /// As the call without `_once`, and the answer in the same batch. errc::exists, and nothing is
    /// changed, if an answer that has not expired is kept under this scope and key.
    void accept_once(std::uint32_t hub, std::shared_ptr<const FrozenSend> frozen, Progress progress,
                     KeptAnswer answer, Done<void> done);
    void put_registration_once(std::uint32_t hub, Registration value, KeptAnswer answer,
                               Done<Registration> done);
    /// Keeps an answer in place of one that may be there.
    void keep_answer(std::uint32_t hub, KeptAnswer answer, Done<void> done);
    /// errc::not_found: none. The caller looks at its time.
    Result<KeptAnswer> kept_answer(std::uint32_t hub, std::string_view scope,
                                   std::string_view key) const;
    std::uint64_t kept_answers() const;  ///< how many; from memory
    /// In units of answer_units(); from memory.
    AnswerUse answer_use(std::uint32_t hub, std::string_view scope) const;
    std::map<std::uint32_t, std::uint64_t> answer_units() const;  ///< by hub
    /// Removes answers whose time is over, at most `count_max`; how many entries were looked at.
    void expire_answers(std::int64_t now_ms, std::size_t count_max, Done<std::size_t> done);

    // --- checks and figures ---
    struct Figures {
        std::uint64_t registrations = 0, installations = 0, disk_bytes = 0, posting_cache_bytes = 0,
                      block_cache_bytes = 0, write_queue_changes = 0, batches = 0, changes = 0,
                      ended_sends_bytes = 0;
    };
    Figures figures() const;
    /// Compares every posting, user, id and handle index with a rebuild from rows; the differences
    /// as text, empty = sound.
    std::vector<std::string> verify(std::uint32_t hub) const;
    /// Finishes what is queued, then stops the writer and closes RocksDB. Later writes answer
    /// errc::closed.
    void close();

  private:
    struct Parts;
    explicit Registry(std::unique_ptr<Parts> parts);
    template <class T, class Apply>
    void submit(Apply apply, Done<T> done);
    std::unique_ptr<Parts> parts_;
};

}  // namespace registry
