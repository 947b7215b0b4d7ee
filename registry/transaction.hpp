#pragma once

// One batch under construction: the store with the changes made so far, and the tools that keep
// rows, ids, handle index, users and postings in step. Writer thread only.
//
// A read that fails leaves a fault: the change that met the fault must return, and the writer gives
// up the batch.

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "registry/arrivals.hpp"
#include "registry/kept_answer.hpp"
#include "registry/partition.hpp"
#include "registry/row_changes.hpp"
#include "registry/view.hpp"

namespace registry {

/// A send that is not final. `frozen` holds device numbers that must not be reused, by partition;
/// null for direct sends.
struct OpenEntry {
    std::shared_ptr<const std::vector<Bitmap>> frozen;
    Bitmap selection_stored,
        finished_stored;  ///< partitions that have a bitmap under a key of its own
    SendState state = SendState::enqueued;
    std::uint16_t failures_stored = 0;  ///< pieces
    bool progress_stored = false;       ///< under a key of its own, beside the one in the send
    std::uint64_t mark = 0;             ///< position of the mark that lists it
    std::uint64_t bytes = 0;            ///< of the send as it was accepted, with its key
};
using OpenSends = std::map<std::pair<std::uint32_t, std::string>, OpenEntry>;  ///< by hub and id

/// What the writer knows without reading: rebuilt from the store at open and after a failed batch.
struct Memory {
    State state;
    std::shared_ptr<const Hubs> hubs = std::make_shared<Hubs>();
    std::map<std::pair<std::uint32_t, std::uint16_t>, Numbers> numbers;
    OpenSends open;
    std::map<std::uint64_t, std::size_t> marks;            ///< position -> how many of it are open
    std::map<std::uint32_t, std::uint64_t> installations;  ///< by hub
    std::map<std::uint32_t, std::uint64_t> registrations;  ///< by hub
    std::map<std::uint32_t, AnswerCounts> answers;         ///< kept, by hub
    std::set<std::uint32_t> answers_changed;               ///< hubs, since they were last told
    bool answers_anew = true;                              ///< all have to be told
    std::map<std::uint32_t, std::uint64_t> ended_bytes;    ///< of ended sends, by hub
    SweepState sweep;
    std::string ended_from;  ///< no key of LedgerKind::ended lies before it
    Arrivals arrivals;       ///< of ids and of handles by kind

    /// `before`: the memory of the same process that this one replaces, or null.
    static Result<Memory> load(const Store& store, const Memory* before);
};

class Transaction {
  public:
    /// Numbers freed at or before `reusable_position` may be given away.
    Transaction(const Store& store, Memory& memory, std::uint64_t reusable_position);

    boost::system::error_code fault() const { return fault_; }
    void set_fault(boost::system::error_code code) {
        if (!fault_) fault_ = code;
    }
    /// Every change has its own position, whether it succeeds or not.
    void next_position() { ++memory_.state.applied; }
    std::uint64_t position() const { return memory_.state.applied; }
    Memory& memory() { return memory_; }
    Batch& batch() { return batch_; }

    // --- reads; absent after a fault ---
    const HubRow* hub(std::uint32_t number) const { return memory_.hubs->find(number); }
    std::optional<std::string> get(Family family, std::string_view key);
    std::optional<IdEntry> id(std::uint32_t hub, std::string_view id);
    /// The entry of an id that is not one of a part; `key` is id_key() of it.
    std::optional<IdEntry> id_entry(const std::string& key, const LookedUp& looked_up);
    std::optional<Row> row(std::uint32_t hub, Address address);
    std::optional<InstallationRecord> installation(std::uint32_t hub, std::string_view id);
    /// The rows of one kind that may hold a handle: its hash is theirs. Ascending.
    std::vector<Address> rows_with(std::uint32_t hub, const std::string& handle, bool native,
                                   std::size_t count_max);
    /// Rows of this kind beside `but`, two at most: none, one or more is all that marks depend on.
    std::vector<Address> others_with(std::uint32_t hub, const std::string& handle, bool native,
                                     Address but);

    // --- writes ---
    void put_id(std::string key, const IdEntry& entry);
    std::optional<std::uint32_t> take_number(std::uint32_t hub, std::uint16_t partition);
    /// Creates (`before` null), replaces, or removes (`after` null) the row at `address` with its
    /// handle entry, its postings and its end. Whether it shares its handle is set here; ids are
    /// the caller's.
    void replace_row(std::uint32_t hub, Address address, const TaggedRow* before, TaggedRow* after,
                     const LookedUp& looked_up = {});
    /// The sweep looks at the row once this time is over. Ends that move on are not written: the
    /// sweep gives the row a new place when it comes to the old one.
    void put_end(std::uint32_t hub, Address address, std::int64_t ends_ms);
    /// The sweep has looked at the row that lay in this posting.
    void drop_end(const std::string& prefix, Address address) {
        deltas_.remove(prefix, address.number);
    }
    /// The first minute that this batch has given to put_end().
    std::uint64_t earliest_end() const { return earliest_end_; }
    // What replace_row() does beside the row, for those who mend it alone:
    /// The canonical tag of a user leads to the row from now on, or no longer.
    void move_user(std::uint32_t hub, const std::string& tag, Address address, bool carries);
    /// A row that is there gets the postings that it should be in, as if it were new.
    void add_postings(std::uint32_t hub, Address address, const TaggedRow& row);
    /// The row has this mark.
    void mark_shared(std::uint32_t hub, Address address, bool shared);
    void count_installation(std::uint32_t hub, bool created);
    void erase_hub(std::uint32_t hub);
    /// The send is open from now on: the mark of this batch will list it. Known already: as it was.
    OpenEntry& open_send(std::uint32_t hub, const std::string& id);
    /// The send is not open any more; the next one.
    OpenSends::iterator close_send(OpenSends::iterator open);

    /// Rows that were there and are gone, or are now another push: another handle, user, tag,
    /// template or state of the channel. Those that only moved their times are not among them.
    const std::vector<ChangedRow>& changed_rows() const { return changed_rows_; }
    bool erases_hub() const { return !erased_hubs_.empty(); }

    /// Completes the batch with postings and state; the deltas are what the cache has to learn
    /// after the commit.
    std::vector<PostingDelta> finish(PostingFolder& folder);

  private:
    void move_postings(std::uint32_t hub, Address address, const TaggedRow* before,
                       const TaggedRow* after);
    // The same under a prefix of `handles`.
    std::vector<Address> rows_under(const std::string& prefix, std::size_t count_max);
    std::vector<Address> others_under(const std::string& prefix, Address but);
    /// True: another row of its kind has the handle.
    bool index_handle(std::uint32_t hub, Address address, const std::string& handle, bool native,
                      const LookedUp& looked_up);
    void unindex_handle(std::uint32_t hub, Address address, const std::string& handle, bool native);

    Memory& memory_;
    const std::uint64_t reusable_position_;
    Batch batch_;
    std::unique_ptr<Cursor> handles_;
    /// Rows whose mark this batch has changed, and to what: rows read before may be older.
    std::map<std::pair<std::uint32_t, Address>, bool> shares_changed_;
    PostingDeltas deltas_;
    std::uint64_t earliest_end_ = std::numeric_limits<std::uint64_t>::max();
    std::vector<std::uint32_t> erased_hubs_;
    std::vector<ChangedRow> changed_rows_;
    std::optional<std::uint64_t> mark_;  ///< of the sends that this batch opens
    Mark opened_;
    boost::system::error_code fault_;
};

/// Where tags and user of `before` last changed, or `position` if they change now.
void set_audience_positions(const TaggedRow& before, TaggedRow& after, std::uint64_t position);

/// The postings a row belongs in, as prefixes, ascending. Tags of users are left out.
std::vector<std::string> postings_of(std::uint32_t hub, std::uint16_t partition,
                                     const TaggedRow& row);
/// The tags of users that a row is found by, canonical, ascending.
std::vector<std::string> user_tags_of(const TaggedRow& row);

}  // namespace registry
