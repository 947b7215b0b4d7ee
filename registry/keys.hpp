#pragma once

// Every byte the registry stores: keys, values, posting chunks. Nothing else knows a layout.
//
// Notation: u8 u16 u32 u64 are big-endian, le16 and le64 little-endian, varint is base 128 with the
// low group first, zigzag a varint of a signed number, text = varint length, bytes. Every value
// starts with a version byte (u8 version: value_version, also in chunks and operands); a decoder
// refuses versions it does not know, bytes left over and lists that are out of order
// (errc::corrupt).
//
//   meta           "version" -> u8 format_version
//                  "migration" -> u8 version, u8 step, text key: what the migration to this format
//                               has done so far (migrate.hpp); absent: all of it
//                  "state"   -> u8 version, varint applied position, varint next hub number,
//                               varint minute up to which ends were looked at
//                  "h" u32 hub -> u8 version, text name, varint partitions,
//                                  text description, varint etag
//                  "c" u32 hub -> u8 version, varint installations
//                  "k" u32 hub -> u8 version, varint kept answers
//                  "r" u32 hub -> u8 version, varint kept answers, list of (text scope, varint
//                                 units), scopes ascending; absent or not of as many answers as
//                                 "k": counted anew (kept_answer.hpp)
//                  "l" u32 hub -> u8 version, varint bytes of its ended sends
//                  "sweep"   -> u8 version, u8 all ends are there, text key of the last send that
//                  was
//                               looked at for that, text key of the first end whose send may
//                               have its body
//   rows           u32 hub, u16 partition, u32 number -> row
//     row          u8 version, varint flags, varint generation, zigzag registered_at, end,
//                  text platform, text handle
//                  text installation id, text part        flag 1: a part of an installation
//                  text registration id, varint etag      else
//                  [text tile]                            flag 2
//                  [u64 template hash, text template]     flag 4
//                  [text variables]                       flag 8
//                  [zigzag audience time, zigzag user time]  flag 256: tags or user have changed
//                  [list of text tags]                    flag 16, only rows without installation
//                  flag 32: channel expired; flag 128: see Row::shares_handle
//                  flag 64: the handle is the bytes that its upper-case hexadecimal digits say
//     end          varint: 0 never, else milliseconds since 1970 and one
//     part         ["s" text tile] ["t" template name]; both absent = the native part
//     list         varint count, then the elements
//     template     u8 version, text name, text body, list of (text name, text value) headers,
//                  text expiry, text priority, list of text tags (none in rows of installations)
//     variables    u8 version, list of (text name, text value), names ascending
//   ids            u32 hub, registration id -> u8 version, u8 0 live, varint partition,
//                                              varint number
//                                            | u8 version, u8 1: used up, expired or retired
//                  of rows without installation; ids of parts say where they lie
//   installations  u32 hub, installation id in lower case, u8 0, the id itself unless the same:
//                  ids are exact, and lists of them ignore case
//                  -> u8 version, u8 flags (1 channel expired, 2 channel is an object, 4 channel is
//                  the bytes that its hexadecimal digits say, 8 the end has ticks), text user,
//                  text platform, text channel, end, [varint ticks, 1 to 9999] flag 8,
//                  zigzag registered_at, zigzag updated_at, list of text tags,
//                  text variables, list of text templates, list of tiles, varint version,
//                  list of (text part, varint number)
//     tile         text tile id, u8 channel expired, text channel, list of text tags,
//                  list of text templates
//   users          u32 hub, user id -> u8 version, u8 0, (u16 partition, u32 number)*
//                                                    ascending: rows that carry `$UserId:{id}`
//                                                  | u8 version, u8 1: many, in postings
//   handles        u32 hub, u64 hash of handle, u16 partition, u32 number -> u8 version, u8 native
//                  the last bit of the hash is 0 for native rows, 1 for templates
//   postings       u32 hub, u8 space, text name, u16 partition, u16 chunk -> chunk
//     space        0: names of our own (postings.hpp), 1: tags, as tagexpr::canonical_tag() spells
//     them name         of our own, among others: 'e' u64 minute: rows to look at once it is over
//     chunk        u8 version, u8 0, le16 ascending                 array
//                | u8 version, u8 1, 1024 le64                      bits
//                | u8 version, u8 2, (le16 first, le16 last)*       runs, ascending, with gaps
//     operand      u8 version, varint n, n le16 added ascending, le16 removed ascending
//   ledger         u8 'm', u64 position -> u8 version, list of (u32 hub, text send id)
//                                          sends of one batch; some of them are open
//                  u8 's', u32 hub, text send id -> send
//                  u8 'p', u32 hub, text send id -> progress; absent: as it was accepted
//                  u8 'a', u32 hub, text send id, u16 partition -> bitmap    selection (audience)
//                  u8 'd', u32 hub, text send id, u16 partition -> bitmap    finished
//                  u8 'f', u32 hub, text send id, u16 piece -> failures     of an open send; pieces
//                                                                           from 0 on, no gaps
//                  u8 'e', u64 ended, u32 hub, text send id -> u8 version, varint bytes of its
//                                          's' and 'p'; one for each final send that is kept
//                  u8 'k', u32 hub, text scope, text key -> answer          kept for a repeat
//                  u8 'x', u64 time, u32 hub, text scope, text key -> u8 version  when it goes
//     answer       u8 version, text fingerprint, zigzag kept, zigzag expires, varint status,
//                  headers, text body
//     send         u8 version, text id, text format, text expression, text body, headers,
//                  list of text direct handles, u8 delivery, zigzag enqueued, zigzag scheduled,
//                  zigzag deadline, u8 flags (1 deadline given, 2 rate is per minute, 4 per hour;
//                  else per second), varint canary ppm, varint rate,
//                  text progress as accepted, varint partitions of selection, u8 selection apart,
//                  list of (u16 partition, text bitmap) ascending: the selection, unless apart
//     progress     u8 version, u8 state, zigzag started, zigzag ended,
//                  list of (text platform, text outcome, varint count), varint partitions of
//                  finished, varint audience, zigzag first push, zigzag last push, zigzag waits
//                  since, zigzag deadline, u8 flags (1 released, 2 gave up, 4 with never out),
//                  list of (u8 latency bucket, varint count), with 4: varint never out
//     failures     u8 4, list of (u16 partition, varint number, text platform, text outcome,
//                  text handle, text registration id, text installation id, text new handle,
//                  zigzag time, text reason); also u8 3: without reason
//     bitmap       u8 version, list of (u16 chunk ascending, text chunk value)
//
// Tested by tests/registry_keys_test.cpp and tests/fuzz_keys.cpp.

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "registry/bitmap.hpp"
#include "registry/device.hpp"
#include "registry/errc.hpp"
#include "registry/hub_row.hpp"
#include "registry/kept_answer.hpp"
#include "registry/registration.hpp"
#include "registry/send.hpp"

namespace registry {

/// Stable across processes and versions: partitions, part ids and the handle index depend on it.
std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);
/// ASCII letters in lower case, everything else as it is.
std::string fold(std::string_view text);

/// The place of a row in its hub.
struct Address {
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    friend auto operator<=>(const Address&, const Address&) = default;
};

// --- keys ---
constexpr std::string_view version_key = "version";
constexpr std::string_view state_key = "state";
constexpr std::string_view migration_key = "migration";
constexpr std::string_view sweep_key = "sweep";
constexpr std::string_view hub_key_prefix = "h";
std::string hub_key(std::uint32_t hub);
std::string count_key(std::uint32_t hub);
std::string answer_count_key(std::uint32_t hub);
std::string answer_units_key(std::uint32_t hub);
std::string ended_bytes_key(std::uint32_t hub);

std::string hub_prefix(std::uint32_t hub);  ///< of rows, ids, installations, handles, postings
std::string partition_prefix(std::uint32_t hub, std::uint16_t partition);  ///< of rows
std::string row_key(std::uint32_t hub, std::uint16_t partition, std::uint32_t number);
std::string id_key(std::uint32_t hub, std::string_view id);
std::string installation_key(std::uint32_t hub, std::string_view id);
/// Bytes of `key` that ids which differ in case alone share; 0 if it is no key of an installation.
std::size_t installation_prefix_size(std::string_view key);
/// The id in a key of `installations`.
std::string installation_id(std::string_view key);
std::string user_key(std::uint32_t hub, std::string_view user_id);
constexpr std::size_t handle_prefix_bytes = 12;
/// Of the native rows, or of the templates, with a handle: one send goes to the ones or to the
/// others.
std::string handle_prefix(std::uint32_t hub, std::string_view handle, bool native);
std::string handle_key(std::uint32_t hub, std::string_view handle, bool native, Address address);
std::string handle_key(std::string prefix, Address address);
/// As a key of `handles` of format 3, which are not apart by kind, lies now.
std::string handle_key_of_kind(std::string_view key, bool native);
/// The row a key of `rows` or `handles` ends with.
Result<Address> address_at_end(std::string_view key);

enum class PostingSpace : std::uint8_t { internal = 0, tag = 1 };
std::string posting_prefix(std::uint32_t hub, std::uint16_t partition, PostingSpace space,
                           std::string_view name);
/// The same in place of what `key` holds.
void set_posting_prefix(std::string& key, std::uint32_t hub, std::uint16_t partition,
                        PostingSpace space, std::string_view name);
std::string chunk_key(std::string_view prefix, std::uint16_t chunk);
/// The part of a posting's prefix that is the same in all partitions.
std::string posting_name_prefix(std::uint32_t hub, PostingSpace space, std::string_view name);
/// Bytes of `key` that come before the partition; 0 if it is no key of a posting.
std::size_t posting_name_size(std::string_view key);
struct PostingPlace {
    std::uint16_t partition, chunk;
};
/// Where in its name a key of `postings` lies: its last four bytes.
PostingPlace posting_place(std::string_view key);
/// The name inside a key of `postings`, readable, for reports.
std::string posting_name(std::string_view key);

/// Ends are kept by the minute: the one in which a time lies, in minutes since 1970.
std::uint64_t minute_of(std::int64_t time_ms);
/// Our own name of the rows that may end in a minute. Names of later minutes sort behind it.
std::string end_name(std::uint64_t minute);
/// The minute in the key of such a posting; nullopt: it is another one.
std::optional<std::uint64_t> minute_in(std::string_view key);

/// The id of the part of an installation that lies at this place.
std::string part_id(std::string_view installation_id, std::string_view part, Address place);
/// Has it the form of ids that are issued, and not of ids of parts: `<int64>-<int64>-<n>`?
bool is_issued_form(std::string_view id);
/// Where a part with this id would lie; nullopt: it is no id of a part.
std::optional<Address> part_place(std::string_view id);

enum class LedgerKind : char {
    mark = 'm',
    send = 's',
    progress = 'p',
    selection = 'a',
    finished = 'd',
    failures = 'f',
    ended = 'e',
    answer = 'k',
    answer_expiry = 'x',
};
std::string ledger_hub_prefix(LedgerKind kind, std::uint32_t hub);
std::string ledger_key(LedgerKind kind, std::uint32_t hub, std::string_view send_id);
std::string ledger_key(LedgerKind kind, std::uint32_t hub, std::string_view send_id,
                       std::uint16_t partition);  ///< or piece
/// Hub and id in a key of one of these forms.
Result<std::pair<std::uint32_t, std::string>> decode_ledger_key(std::string_view key);
std::string mark_key(std::uint64_t position);
Result<std::uint64_t> decode_mark_key(std::string_view key);

struct EndedKey {
    std::int64_t at_ms = 0;
    std::uint32_t hub = 0;
    std::string send_id;
    friend bool operator==(const EndedKey&, const EndedKey&) = default;
};
std::string ended_key(const EndedKey& key);
Result<EndedKey> decode_ended_key(std::string_view key);

std::string answer_key(std::uint32_t hub, std::string_view scope, std::string_view key);
struct AnswerExpiryKey {
    std::int64_t at_ms = 0;
    std::uint32_t hub = 0;
    std::string scope;
    std::string key;
    friend bool operator==(const AnswerExpiryKey&, const AnswerExpiryKey&) = default;
};
std::string answer_expiry_key(const AnswerExpiryKey& key);
Result<AnswerExpiryKey> decode_answer_expiry_key(std::string_view key);

/// The key after all keys that start with `prefix`.
std::string after_prefix(std::string prefix);

// --- values ---
constexpr std::uint8_t format_version = 6;  ///< of the store as a whole
/// From this one on a store is migrated. In format 3 users ignored case, handles were not apart by
/// kind, and templates that share a handle had no mark. Up to format 4 no posting led from a user
/// to parts whose channel expired.
constexpr std::uint8_t oldest_format_version = 3;
constexpr std::uint8_t value_version = 3;  ///< of each value

std::string encode_version();
Result<std::uint8_t> decode_version(std::string_view bytes);

struct State {
    std::uint64_t applied = 0;
    std::uint32_t next_hub = 1;
    std::uint64_t swept_minute = 0;  ///< rows that end before it were looked at
    friend bool operator==(const State&, const State&) = default;
};
std::string encode_state(const State& state);
Result<State> decode_state(std::string_view bytes);

/// A step, and the last key of its family that was dealt with.
struct MigrationState {
    std::uint8_t step = 0;
    std::string after;
    friend bool operator==(const MigrationState&, const MigrationState&) = default;
};
std::string encode_migration(const MigrationState& state);
Result<MigrationState> decode_migration(std::string_view bytes);

/// How far the upkeep of ended sends came (send_sweep.cpp).
struct SweepState {
    bool indexed = false;     ///< every final send has its key of LedgerKind::ended
    std::string indexed_to;   ///< the last key of LedgerKind::send that was looked at for that
    std::string bodies_from;  ///< the first key of LedgerKind::ended whose send may have its body
    friend bool operator==(const SweepState&, const SweepState&) = default;
};
std::string encode_sweep(const SweepState& state);
Result<SweepState> decode_sweep(std::string_view bytes);

std::string encode_hub(const HubRow& hub);
Result<HubRow> decode_hub(std::string_view bytes);  ///< number left 0: it is in the key

std::string encode_count(std::uint64_t installations);
Result<std::uint64_t> decode_count(std::string_view bytes);

/// A row with owned strings, as writes handle it.
struct Row {
    std::uint64_t etag = 0;  ///< without installation only; parts show their installation's version
    std::uint64_t generation = 0;
    /// The row of a part has times that its installation has or had; see InstallationRecord.
    std::int64_t registered_at_ms = 0;
    std::int64_t expires_at_ms = never_ms;
    bool channel_expired = false;
    bool shares_handle = false;                  ///< see Device
    std::uint64_t audience_at = 0, user_at = 0;  ///< see Device
    std::string platform;
    std::string handle;
    std::string registration_id;  ///< of a part, part_id()
    std::string installation_id;  ///< empty: a plain registration
    std::string part;             ///< which part of the installation
    std::string tile;
    std::string template_bytes;  ///< empty: native
    std::string variables_bytes;
    std::vector<std::string> tags;  ///< plain registrations only
    friend bool operator==(const Row&, const Row&) = default;
};
std::string encode_row(const Row& row);
Result<Row> decode_row(std::string_view bytes, Address place);
/// The fields of `device` that a row holds, as views into `bytes` and `texts`, which must have room
/// for twice the bytes of the row: it must not move.
Result<void> decode_device(std::string_view bytes, Device& device, std::string& texts);

std::string part_name(const std::string* tile, const std::string* template_name);

std::string encode_template(const Template& value);
std::string encode_variables(const std::map<std::string, std::string>& values);

struct IdEntry {
    bool gone = false;  ///< used up; heeded for ids of the issued form only
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    friend bool operator==(const IdEntry&, const IdEntry&) = default;
};
std::string encode_id(const IdEntry& entry);
Result<IdEntry> decode_id(std::string_view bytes);

/// Rows that carry the tag of one user.
struct UserRows {
    bool many = false;          ///< more than user_rows_max at some time: they have postings
    std::vector<Address> rows;  ///< else
    friend bool operator==(const UserRows&, const UserRows&) = default;
};
constexpr std::size_t user_rows_max = 16;
std::string encode_user_rows(const UserRows& rows);
Result<UserRows> decode_user_rows(std::string_view bytes);

std::string encode_handle_entry(bool native);
Result<bool> decode_handle_entry(std::string_view bytes);

/// Its rows may hold earlier times than `value`, never later ones: every start of an app moves
/// them, and no push needs that row written anew. The sweep catches up when a row's time is over.
using PartNumbers = std::vector<std::pair<std::string, std::uint32_t>>;  ///< by part name
struct InstallationRecord {
    Installation value;
    PartNumbers parts;
    friend bool operator==(const InstallationRecord&, const InstallationRecord&) = default;
};
std::string encode_installation(const Installation& value,
                                const PartNumbers& parts);  ///< the id is in the key
inline std::string encode_installation(const InstallationRecord& record) {
    return encode_installation(record.value, record.parts);
}
Result<InstallationRecord> decode_installation(std::string_view id, std::string_view bytes);

/// The selection of a send as it is kept: a small one lies in the send itself, by ascending
/// partition, a larger one under LedgerKind::selection.
struct KeptSelection {
    std::uint16_t partitions = 0;  ///< 0: the send was final when it was accepted
    bool apart = false;
    std::vector<std::pair<std::uint16_t, Bitmap>> here;
};
/// A send as it was accepted; `first` is its progress then, and `first_finished` the partitions of
/// what was finished of it.
struct SendRecord {
    Send send;
    Progress first;
    std::uint16_t first_finished = 0;
    KeptSelection selection;
};
std::string encode_send(const Send& send, const Progress& first, const KeptSelection& selection);
Result<SendRecord> decode_send(std::string_view bytes);
/// Sends of one batch, by hub and id.
using Mark = std::vector<std::pair<std::uint32_t, std::string>>;
std::string encode_mark(const Mark& mark);
Result<Mark> decode_mark(std::string_view bytes);
std::string encode_progress(const Progress& progress);  ///< without the bits of `finished`
Result<std::pair<Progress, std::uint16_t>> decode_progress(std::string_view bytes);

std::string encode_failures(const std::vector<DeviceFailure>& failures);
Result<std::vector<DeviceFailure>> decode_failures(std::string_view bytes);

std::string encode_answer(const KeptAnswer& answer);  ///< scope and key are in the key
Result<KeptAnswer> decode_answer(std::string_view bytes);
std::string encode_answer_counts(const AnswerCounts& counts);
Result<AnswerCounts> decode_answer_counts(std::string_view bytes);
/// The scope in a key of LedgerKind::answer.
Result<std::string> decode_answer_scope(std::string_view key);

// --- posting chunks ---
/// A set of 16-bit numbers as words of a bit set: what merges work on.
struct Chunk {
    std::array<std::uint64_t, 1024> words{};
    void add(std::uint16_t n) { words[n >> 6] |= std::uint64_t{1} << (n & 63); }
    void remove(std::uint16_t n) { words[n >> 6] &= ~(std::uint64_t{1} << (n & 63)); }
    std::size_t count() const;
    bool contains(std::uint16_t n) const { return (words[n >> 6] >> (n & 63) & 1) != 0; }
};
std::string encode_chunk(const Chunk& chunk);
[[nodiscard]] bool decode_chunk(std::string_view bytes, Chunk& chunk);  ///< false: corrupt
bool chunk_is_empty(std::string_view bytes);

/// Added and removed numbers, each ascending, disjoint.
struct Operand {
    std::vector<std::uint16_t> added, removed;
};
std::string encode_operand(const Operand& operand);
[[nodiscard]] bool decode_operand(std::string_view bytes, Operand& operand);
void apply_operand(const Operand& operand, Chunk& chunk);
/// The chunk value (empty text: none yet) with the operands applied in their order. Most postings
/// have a few numbers in a chunk: what is sparse is merged as lists, in time with their length.
[[nodiscard]] bool merge_chunk(std::string_view value, std::span<const std::string_view> operands,
                               std::string& merged);
/// One operand that does what all of them do in their order.
[[nodiscard]] bool merge_operands(std::span<const std::string_view> operands, std::string& merged);

/// Puts a bitmap together from chunk values that arrive in ascending order.
class BitmapBuilder {
  public:
    [[nodiscard]] bool add(std::uint16_t chunk, std::string_view chunk_value);
    Bitmap finish();

  private:
    std::vector<std::pair<std::uint16_t, std::uint32_t>> heads_;  ///< chunk, cardinality
    std::string containers_;
};
std::string encode_bitmap(const Bitmap& bitmap);
Result<Bitmap> decode_bitmap(std::string_view bytes);

}  // namespace registry
