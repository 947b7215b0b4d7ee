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
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "registry/errc.hpp"
#include "registry/registration.hpp"
#include "registry/send.hpp"
#include "tagexpr/expression.hpp"

namespace rocksdb {
class Env;
}

namespace registry {

template <class T>
using Done = std::function<void(Result<T>)>;

struct Options {
    std::filesystem::path directory;
    std::size_t posting_cache_bytes_max = 256u << 20;
    std::size_t block_cache_bytes = 256u << 20;
    std::size_t write_queue_changes_max =
        65'536;                             ///< beyond it a write answers errc::overloaded at once
    std::size_t batch_changes_max = 2'048;  ///< changes folded into one synced batch
    bool sync = true;                       ///< false only in tests that do not crash
    rocksdb::Env* env = nullptr;            ///< tests inject faults here; not owned
    /// Called on the writer thread when writes begin to fail, and without an error when they can
    /// succeed again. Must only hand it on. May be empty.
    std::function<void(boost::system::error_code)> on_writable;
    /// Called on the writer thread, with true before the answers of a batch are given and with
    /// false after them. May be empty.
    std::function<void(bool begins)> on_answering;
};

/// A hub as stored. `description` is opaque here (hub/ keeps JSON in it).
struct HubRow {
    std::string name;              ///< as written; looked up ignoring ASCII case
    std::uint32_t number = 0;      ///< assigned by the registry, never reused
    std::uint16_t partitions = 8;  ///< fixed at creation
    std::string description;
    std::uint64_t etag = 0;
};

/// If-Match of a registration write.
struct Precondition {
    enum class Kind : std::uint8_t { none, any, etag } kind = Kind::none;  ///< any: must exist
    std::uint64_t etag = 0;
};

/// Which registrations a send may address at all; the universe of NOT.
struct Universe {
    enum class Kind : std::uint8_t { any, native, templated } kind = Kind::any;
    std::vector<std::string> platforms;  ///< stored names; empty = all
};

/// One row as the fan-out reads it: views into the DeviceChunk that holds it.
struct Device {
    std::uint32_t number = 0;
    bool present =
        false;  ///< false: deleted since the selection was frozen; nothing else is set then
    bool channel_expired = false;
    /// Another row with the same handle is native as this one, or has a template as this one: one
    /// send may find both. Sometimes true without need: platforms are not compared.
    bool shares_handle = false;
    std::string_view platform;
    std::string_view handle;
    std::string_view template_bytes;   ///< empty = native; decode_template() reads it
    std::uint64_t template_hash = 0;   ///< equal bytes, equal hash, across partitions and restarts
    std::string_view variables_bytes;  ///< empty = none; decode_variables() reads it
    std::string_view registration_id;  ///< of a plain registration; see id_of()
    std::string_view installation_id;  ///< empty: a plain registration
    std::string_view part;             ///< which part of the installation
    std::uint64_t generation = 0;      ///< changes whenever handle or owner of this number changes
    /// This time or an earlier one than the true one: an installation may have been presented again
    /// since.
    std::int64_t registered_at_ms = 0;
    std::int64_t expires_at_ms = never_ms;  ///< exact where it is over at the time of the load
    /// When its tags, its user among them, last changed, and when its user did: the times that the
    /// writes brought along, never going back. 0: not since the row was created.
    std::int64_t audience_at_ms = 0, user_at_ms = 0;
};

/// The id under which the registration of a device of this partition is found.
std::string id_of(const Device& device, std::uint16_t partition);

/// Owns the bytes of the devices it holds. Reused from chunk to chunk to keep its buffers.
struct DeviceChunk {
    std::vector<Device> devices;
    std::vector<std::string> bytes;
};

Result<Template> decode_template(std::string_view bytes);
Result<std::map<std::string, std::string>> decode_variables(std::string_view bytes);

/// Where a row lies.
struct Place {
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    bool templated = false;
    friend bool operator==(const Place&, const Place&) = default;
};

/// Compare-and-delete of a handle that a provider called dead (docs/contracts/pns.md 0: PRUNE,
/// PRUNE-IF-OLDER). The row that the push went to must still be that device with that handle. Every
/// other row of the hub with this handle and platform follows, each unless its own app has
/// presented the handle since.
struct Retirement {
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    std::uint64_t generation = 0;  ///< as read when the push was sent
    std::string handle;
    std::int64_t dead_since_ms = 0;  ///< retire only if the handle was presented before
    std::string reason;              ///< the provider's word
    std::int64_t at_ms = 0;          ///< now, for the record
    /// When the push was made: an app that presented the handle later keeps it. 0 = not compared.
    std::int64_t asked_at_ms = 0;
    std::string send_id{}, installation_id{}, registration_id{};  ///< for the record only
    std::uint64_t ticket = 0;  ///< of the gate that holds it; 0 = none
};

/// A channel that was retired: a registration, or all parts of an installation with this channel.
struct Retired {
    std::size_t index = 0;  ///< in what retire() was given; the same for all that share the handle
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    std::string registration_id;
    std::string installation_id;  ///< empty: a plain registration
    std::int64_t registered_at_ms = 0;
};

/// A provider named a new handle for the old one (ADM): replaced only if generation and handle
/// still match. Every other live row of the hub with this handle and platform follows.
struct Rotation {
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    std::uint64_t generation = 0;
    std::string old_handle;
    std::string new_handle;
    std::int64_t at_ms = 0;
};

/// Registrations of one page, ordered by id, and where the next page starts.
struct Page {
    std::vector<Registration> registrations;
    std::string next;  ///< opaque; empty = last page
};

/// Whom a send would reach, and why.
struct AudienceQuery {
    tagexpr::Plan plan;
    Universe universe;
    std::vector<std::string> platforms;  ///< stored names to count by
    /// Set: measures each node of the plan with this clock, in nanoseconds.
    std::function<std::int64_t()> clock_ns;
};
struct Audience {
    struct ByPlatform {
        std::string platform;
        std::uint64_t native = 0;
        std::uint64_t templated = 0;
    };
    struct Node {
        std::uint64_t devices = 0;
        std::int64_t spent_ns = 0;
    };
    Selection selection;
    std::vector<ByPlatform> platforms;  ///< as asked for
    std::vector<Node> nodes;            ///< of the plan; empty without a clock
};

/// What a search for devices asks for; all that is set must hold for one part of a device.
struct DeviceQuery {
    enum class State : std::uint8_t { any, active, expired };
    tagexpr::Plan plan;                  ///< over the tags a send would see
    std::vector<std::string> platforms;  ///< stored names; empty = all
    std::string handle_prefix;
    State state = State::any;
    std::string after;  ///< DevicePage::next of the page before, or empty
    std::size_t count_max = 100;
    std::size_t reads_max = 50'000;  ///< entries looked at for one page
};
struct FoundDevice {
    std::optional<Installation> installation;
    std::optional<Registration> registration;  ///< one that belongs to no installation
    std::size_t parts = 0;                     ///< registrations it stands for
};
/// May hold fewer devices than asked for, or none, and still have a next page.
struct DevicePage {
    std::vector<FoundDevice> devices;
    std::string next;  ///< empty = last page
};

struct ErasedInstallation {
    std::string id;
    std::size_t parts = 0;
    std::vector<std::string> handles;
};

/// What was answered to a request whose client may repeat it under the same key. `status` 0: the
/// request was begun, and `body` is the id chosen for what it creates.
struct KeptAnswer {
    std::string scope;        ///< who asked: keys of different callers never meet
    std::string key;          ///< as the client chose it
    std::string fingerprint;  ///< hash of the request
    std::int64_t kept_at_ms = 0;
    std::int64_t expires_at_ms = 0;
    std::uint16_t status = 0;
    Headers headers;
    std::string body;
    friend bool operator==(const KeptAnswer&, const KeptAnswer&) = default;
};

/// What a sweep over expiry times did.
struct Swept {
    std::size_t seen = 0, removed = 0;
};

/// A send that was not final when the process stopped.
struct OpenSend {
    HubRow hub;
    Send send;
    Selection selection;
    Progress progress;
};

class Registry {
  public:
    /// Opens or creates the store. A store that fails its checks is refused and left untouched;
    /// `why` then says what was wrong, where, and what the operator can do. When the
    /// store opens, `why` says what the operator should know, if anything.
    static Result<std::unique_ptr<Registry>> open(const Options& options, std::string& why);
    virtual ~Registry() = default;

    // --- hubs ---
    virtual void create_hub(HubRow hub, Done<HubRow> done) = 0;  ///< errc::exists
    virtual void update_hub(HubRow hub,
                            Done<HubRow> done) = 0;  ///< replaces `description`; errc::not_found
    /// Removes the hub; rows and postings are freed by range deletes in the same batch.
    virtual void erase_hub(std::string name, Done<void> done) = 0;
    virtual std::vector<HubRow> hubs() const = 0;  ///< from memory, ordered by name

    // --- registrations and installations of hub number `hub` ---
    virtual void put_registration(std::uint32_t hub, Registration value, Precondition match,
                                  Done<Registration> done) = 0;
    virtual void erase_registration(std::uint32_t hub, std::string id, Precondition match,
                                    Done<void> done) = 0;
    /// `expected_version`: write only if the stored version is this one (0 = must not exist);
    /// absent = always.
    virtual void put_installation(std::uint32_t hub, Installation value,
                                  std::optional<std::uint64_t> expected_version,
                                  Done<Installation> done) = 0;
    virtual void erase_installation(std::uint32_t hub, std::string id,
                                    Done<bool> done) = 0;  ///< true = it existed
    virtual Result<Registration> registration(std::uint32_t hub, std::string_view id) const = 0;
    virtual Result<Installation> installation(std::uint32_t hub, std::string_view id) const = 0;
    /// A page in the order of ids; `tag` empty = all. `after` is Page::next of the page before, or
    /// empty.
    virtual Result<Page> list(std::uint32_t hub, std::string_view tag, std::string_view after,
                              std::size_t count_max) const = 0;
    virtual Result<std::vector<Registration>> with_handle(std::uint32_t hub,
                                                          std::string_view handle,
                                                          std::size_t count_max) const = 0;

    /// All rows that hold the handle, whatever the state of their channel, ascending by partition
    /// and number; the first `count_max`. Blocks on disk.
    virtual Result<std::vector<Place>> places_of_handle(std::uint32_t hub,
                                                        std::string_view platform,
                                                        std::string_view handle,
                                                        std::size_t count_max) const = 0;

    /// Installations by id, then registrations by id (devices.hpp).
    virtual Result<DevicePage> devices(std::uint32_t hub, const DeviceQuery& query) const = 0;
    /// Ids of the installations of a user, live or expired.
    virtual Result<std::vector<std::string>> installations_of_user(std::uint32_t hub,
                                                                   std::string_view user_id,
                                                                   std::size_t count_max) const = 0;
    /// Erases those of `ids` that are the user's when the change is made.
    virtual void erase_user(std::uint32_t hub, std::string user_id, std::vector<std::string> ids,
                            Done<std::vector<ErasedInstallation>> done) = 0;

    // --- selection and load ---
    /// The registrations that match, under one snapshot per partition; those whose channel has
    /// expired excluded, those whose time is over not until they are removed.
    virtual Result<Selection> select(std::uint32_t hub, const tagexpr::Plan& plan,
                                     const Universe& universe) const = 0;
    /// As select(), without blocking: only where the plan asks for one user's or one installation's
    /// devices and what it needs is in memory, else errc::not_in_memory.
    virtual Result<Selection> select_at_once(std::uint32_t hub, const tagexpr::Plan& plan,
                                             const Universe& universe) const = 0;
    /// Would select() find this row as it is now? False: there is no such row. Blocks on disk.
    virtual Result<bool> matches(std::uint32_t hub, std::uint16_t partition, std::uint32_t number,
                                 const tagexpr::Plan& plan, const Universe& universe) const = 0;
    /// The same selection, counted by platform and by native and template.
    virtual Result<Audience> audience(std::uint32_t hub, const AudienceQuery& query) const = 0;
    /// Reads the rows of `numbers` (ascending) of one partition, in order, one Device each.
    virtual Result<void> load(std::uint32_t hub, std::uint16_t partition,
                              std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                              DeviceChunk& chunk) const = 0;
    /// As load(), without blocking: only a few numbers whose rows are in memory, else
    /// errc::not_in_memory.
    virtual Result<void> load_at_once(std::uint32_t hub, std::uint16_t partition,
                                      std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                                      DeviceChunk& chunk) const = 0;

    /// For may_have_changed(). Any thread, from memory, without a lock.
    virtual std::uint64_t stamp() const = 0;
    /// True if a batch that became visible after `stamp` was taken erased this row, or changed its
    /// handle, user, tags, template, or the state of its channel; new times are no change. Known
    /// before the client of the change is answered. May be true without need, never false without
    /// right. Stamps of another process mean nothing. Any thread, from memory, without a lock.
    virtual bool may_have_changed(std::uint32_t hub, std::uint16_t partition, std::uint32_t number,
                                  std::uint64_t stamp) const = 0;

    // --- life and death of handles ---
    virtual void retire(std::uint32_t hub, std::vector<Retirement> dead,
                        Done<std::vector<Retired>> done) = 0;  ///< those that were retired
    virtual void rotate(std::uint32_t hub, std::vector<Rotation> moved,
                        Done<std::size_t> done) = 0;  ///< channels that moved
    /// Removes registrations and installations whose time is over. Looks at `count_max` entries at
    /// most: as many seen means that there may be more.
    virtual void expire(std::int64_t now_ms, std::size_t count_max, Done<Swept> done) = 0;

    // --- ledger ---
    /// Durable acceptance. Device numbers in `selection` are not reused until the send is final. A
    /// send that is stored as scheduled is accepted again under its id when it fires; errc::exists
    /// if it is final, and for any id that is open. Else the id must be new: it is not looked up.
    virtual void accept(std::uint32_t hub, std::shared_ptr<const AcceptedSend> accepted,
                        Progress progress, Done<void> done) = 0;
    /// Replaces the progress of an open send; a final state releases its device numbers and its
    /// selection. A send that is final or unknown is errc::not_found.
    virtual void checkpoint(std::uint32_t hub, std::string send_id, Progress progress,
                            Done<void> done) = 0;
    virtual Result<std::pair<Send, Progress>> send(
        std::uint32_t hub, std::string_view id) const = 0;  ///< Progress::done left empty
    virtual Result<std::vector<OpenSend>> open_sends() const = 0;
    virtual Result<SendPage> list_sends(std::uint32_t hub, const SendQuery& query) const = 0;

    // --- answers kept for a repeated request (idempotency.hpp) ---
    /// As the call without `_once`, and the answer in the same batch. errc::exists, and nothing is
    /// changed, if an answer that has not expired is kept under this scope and key.
    virtual void accept_once(std::uint32_t hub, std::shared_ptr<const AcceptedSend> accepted,
                             Progress progress, KeptAnswer answer, Done<void> done) = 0;
    virtual void put_registration_once(std::uint32_t hub, Registration value, KeptAnswer answer,
                                       Done<Registration> done) = 0;
    /// Keeps an answer in place of one that may be there.
    virtual void keep_answer(std::uint32_t hub, KeptAnswer answer, Done<void> done) = 0;
    /// errc::not_found: none. The caller looks at its time.
    virtual Result<KeptAnswer> kept_answer(std::uint32_t hub, std::string_view scope,
                                           std::string_view key) const = 0;
    virtual std::uint64_t kept_answers() const = 0;  ///< how many; from memory
    /// Removes answers whose time is over, at most `count_max`; how many entries were looked at.
    virtual void expire_answers(std::int64_t now_ms, std::size_t count_max,
                                Done<std::size_t> done) = 0;

    // --- checks and figures ---
    struct Figures {
        std::uint64_t registrations = 0, installations = 0, disk_bytes = 0, posting_cache_bytes = 0,
                      block_cache_bytes = 0, write_queue_changes = 0, batches = 0, changes = 0;
    };
    virtual Figures figures() const = 0;
    /// Compares every posting, user, id and handle index with a rebuild from rows; the differences
    /// as text, empty = sound.
    virtual std::vector<std::string> verify(std::uint32_t hub) const = 0;
    /// Finishes what is queued, then stops the writer and closes RocksDB. Later writes answer
    /// errc::closed.
    virtual void close() = 0;
};

}  // namespace registry
