// Rebuilds from rows and installations what is kept beside them, and reports every difference.
// Reads the whole hub and holds its rebuilt postings in memory: for tests and for operators in
// doubt, not for the data path.

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "registry/partition.hpp"
#include "registry/reader.hpp"
#include "registry/transaction.hpp"

namespace registry {
namespace {

constexpr std::size_t differences_max = 100;

class Verification {
  public:
    Verification(const Views& views, const View& view, std::uint32_t hub)
        : views_(views), view_(view), hub_(hub), prefix_(hub_prefix(hub)) {}

    std::vector<std::string> run() {
        installations();
        rows();
        share_handles();
        ids();
        handles();
        users();
        postings();
        ends();
        sends();
        return std::move(differences_);
    }

  private:
    void differs(std::string what) {
        if (differences_.size() < differences_max) differences_.push_back(std::move(what));
    }
    static std::string place(Address at) {
        return "row " + std::to_string(at.partition) + "/" + std::to_string(at.number);
    }

    template <class Each>
    void scan(Family family, Each&& each) {
        const auto cursor = view_.snapshot->cursor(family);
        for (cursor->seek(prefix_); cursor->valid(); cursor->next()) {
            if (!cursor->key().starts_with(prefix_)) break;
            each(cursor->key(), cursor->value());
        }
        if (auto status = cursor->status(); !status) {
            differs("reading stopped: " + status.error().message());
        }
    }

    void installations() {
        const std::uint16_t partitions = view_.hubs->find(hub_)->partitions;
        scan(Family::installations, [&](std::string_view key, std::string_view value) {
            if (installation_prefix_size(key) == 0) return differs("an installation has no id");
            const std::string id = installation_id(key);
            auto record = decode_installation(id, value);
            if (!record) return differs("installation '" + id + "' cannot be decoded");
            if (installation_key(hub_, id) != key)
                differs("installation '" + id + "' lies under another id");
            const std::uint16_t partition = partition_of(id, partitions);
            for (const auto& [part, number] : record->parts) {
                const Address address{partition, number};
                const bool fresh = owned_.emplace(address, std::pair{id, part}).second;
                if (!fresh) differs(place(address) + " belongs to two installations");
            }
        });
    }

    void rows() {
        std::string owner_id;
        std::vector<Part> parts;
        scan(Family::rows, [&](std::string_view key, std::string_view value) {
            const auto at = address_at_end(key);
            const auto row = decode_row(value, at ? *at : Address());
            if (!at || !row) return differs("a row cannot be decoded");
            const Address address = *at;
            if (row->generation > view_.position) differs(place(address) + " is from the future");
            TaggedRow tagged{*row, row->tags};
            if (!row->installation_id.empty()) {
                if (owner_id != row->installation_id) {
                    const auto owner = read_installation(view_, hub_, row->installation_id);
                    parts = owner ? expand(*owner) : std::vector<Part>();
                    owner_id = row->installation_id;
                }
                take_part(address, parts, tagged);
            } else {
                if (part_place(row->registration_id))
                    differs(place(address) + " has the id of a part");
                ids_.emplace(row->registration_id, address);
            }
            if (row->expires_at_ms != never_ms) ends_[address] = row->expires_at_ms;
            for (const std::string& prefix : postings_of(hub_, address.partition, tagged)) {
                postings_[prefix].add(address.number);
            }
            for (const std::string& tag : user_tags_of(tagged)) users_[tag].insert(address);
            if (row->shares_handle) sharing_.insert(address);
            const bool native = row->template_bytes.empty();
            handles_.emplace(handle_key(hub_, row->handle, native, address), native);
            holders_[handle_prefix(hub_, row->handle, native)].push_back(address);
        });
        for (const auto& [at, owner] : owned_) {
            differs("installation '" + owner.first + "' names " + place(at) +
                    ", which is not there");
        }
    }

    /// Compares a part with what its installation says and gives it its tags.
    void take_part(Address address, const std::vector<Part>& parts, TaggedRow& tagged) {
        Row& row = tagged.row;
        const auto owned = owned_.find(address);
        if (owned == owned_.end() || owned->second != std::pair{row.installation_id, row.part}) {
            return differs(place(address) + " is not a part of the installation it names");
        }
        owned_.erase(owned);
        const auto part = std::find_if(parts.begin(), parts.end(),
                                       [&](const Part& p) { return p.name == row.part; });
        if (part == parts.end()) return differs(place(address) + " is no part any more");
        Row said = part->tagged.row;
        // Rows may lag behind with the times, never be ahead.
        const bool behind = row.registered_at_ms <= said.registered_at_ms &&
                            row.expires_at_ms <= said.expires_at_ms;
        if (!behind) differs(place(address) + " is ahead of its installation");
        said.registered_at_ms = row.registered_at_ms;
        said.expires_at_ms = row.expires_at_ms;
        said.generation = row.generation;
        said.registration_id = row.registration_id;
        said.shares_handle = row.shares_handle;
        said.audience_at = row.audience_at;
        said.user_at = row.user_at;
        if (said != row) differs(place(address) + " differs from its installation");
        tagged.tags = part->tagged.tags;
    }

    void share_handles() {
        for (const auto& [prefix, addresses] : holders_) {
            if (addresses.size() < 2) continue;
            for (const Address address : addresses) {
                if (sharing_.erase(address) == 0)
                    differs(place(address) + " is not marked as sharing its handle");
            }
        }
        for (const Address address : sharing_)
            differs(place(address) + " is marked as sharing its handle");
    }

    void ids() {
        scan(Family::ids, [&](std::string_view key, std::string_view value) {
            const std::string id(key.substr(prefix_.size()));
            const auto entry = decode_id(value);
            if (!entry) return differs("id '" + id + "' cannot be decoded");
            const auto row = ids_.find(id);
            if (entry->gone) {
                if (row != ids_.end()) differs("id '" + id + "' is gone but has a row");
                return;
            }
            if (row == ids_.end() || row->second != Address{entry->partition, entry->number}) {
                return differs("id '" + id + "' leads to a row that does not carry it");
            }
            ids_.erase(row);
        });
        for (const auto& [id, address] : ids_) differs(place(address) + " has no id entry");
    }

    void handles() {
        scan(Family::handles, [&](std::string_view key, std::string_view value) {
            const auto row = handles_.find(std::string(key));
            const auto native = decode_handle_entry(value);
            if (row == handles_.end() || !native || *native != row->second) {
                return differs("a handle entry has no such row");
            }
            handles_.erase(row);
        });
        for (const auto& [key, native] : handles_) {
            differs(place(*address_at_end(key)) + " has no handle entry");
        }
    }

    void users() {
        scan(Family::users, [&](std::string_view key, std::string_view value) {
            const std::string tag = "$userid:{" + std::string(key.substr(prefix_.size())) + "}";
            const auto stored = decode_user_rows(value);
            if (!stored) return differs("the rows of " + tag + " cannot be decoded");
            const auto rebuilt = std::exchange(users_[tag], {});
            users_.erase(tag);
            if (stored->many) {
                for (const Address row : rebuilt)
                    postings_[tag_prefix(hub_, row.partition, tag)].add(row.number);
            } else if (!std::equal(stored->rows.begin(), stored->rows.end(), rebuilt.begin(),
                                   rebuilt.end())) {
                differs(tag + " differs from its rows");
            }
        });
        for (const auto& [tag, rows] : users_) differs(tag + " is missing");
    }

    void postings() {
        std::map<std::string, BitmapBuilder> stored;
        scan(Family::postings, [&](std::string_view key, std::string_view value) {
            const std::size_t size = posting_name_size(key);
            if (size == 0 || key.size() != size + 4) return differs("a posting key is malformed");
            if (const auto minute = minute_in(key)) return take_ends(*minute, key, value);
            const std::uint16_t chunk = posting_place(key).chunk;
            if (!stored[std::string(key.substr(0, size + 2))].add(chunk, value)) {
                differs("a chunk of " + posting_name(key) + " cannot be decoded");
            }
        });
        for (auto& [prefix, builder] : stored) {
            const Bitmap found = builder.finish();
            const auto expected = postings_.find(prefix);
            const Bitmap rebuilt = expected == postings_.end() ? Bitmap() : expected->second;
            if (!(found == rebuilt)) differs(posting_name(prefix) + " differs from its rows");
            const auto cached = views_.cache.find(prefix, view_.position);
            if (cached && !(*cached == rebuilt)) {
                differs(posting_name(prefix) + " differs from its rows in the cache");
            }
            if (expected != postings_.end()) postings_.erase(expected);
        }
        for (const auto& [prefix, bitmap] : postings_)
            differs(posting_name(prefix) + " is missing");
    }

    /// A place after the end of a row, or of nothing that is there, goes when the sweep comes to
    /// it.
    void take_ends(std::uint64_t minute, std::string_view key, std::string_view value) {
        const auto [partition, chunk] = posting_place(key);
        BitmapBuilder builder;
        if (!builder.add(chunk, value)) return differs("ends of rows cannot be decoded");
        for (const std::uint32_t number : builder.finish()) {
            const auto row = ends_.find({partition, number});
            if (row == ends_.end()) continue;
            const std::uint64_t swept = swept_minute();
            if (minute >= swept && minute <= std::max(minute_of(row->second), swept))
                ends_.erase(row);
        }
    }
    void ends() {
        for (const auto& [address, ends_ms] : ends_)
            differs(place(address) + " has no place at or before its end");
    }
    template <class Each>
    void scan_ledger(const std::string& prefix, Each&& each) {
        const auto cursor = view_.snapshot->cursor(Family::ledger);
        for (cursor->seek(prefix); cursor->valid(); cursor->next()) {
            if (!cursor->key().starts_with(prefix)) break;
            each(cursor->key(), cursor->value());
        }
        if (auto status = cursor->status(); !status)
            differs("reading stopped: " + status.error().message());
    }

    /// Whatever is kept of a send belongs to one that is there, and what serves open ones to one
    /// that is open. Final ones have an end, which says what they take.
    void sends() {
        std::map<std::string, std::uint64_t> progress_bytes;
        scan_ledger(ledger_hub_prefix(LedgerKind::progress, hub_),
                    [&](std::string_view key, std::string_view value) {
                        const auto place = decode_ledger_key(key);
                        if (!place) return differs("a progress has no id");
                        progress_bytes[place->second] = key.size() + value.size();
                    });
        std::set<std::string> open;
        std::map<std::string, std::uint64_t> final_bytes;  // by the key of its end
        scan_ledger(ledger_hub_prefix(LedgerKind::send, hub_),
                    [&](std::string_view key, std::string_view value) {
                        const auto record = decode_send(value);
                        if (!record) return differs("a send cannot be decoded");
                        const std::string& id = record->send.id;
                        const auto read = read_send(view_, hub_, id);
                        if (!read) return differs("send '" + id + "' cannot be read");
                        std::uint64_t bytes = key.size() + value.size();
                        if (const auto told = progress_bytes.extract(id)) bytes += told.mapped();
                        const Progress& progress = read->second;
                        if (!is_final(progress.state)) {
                            open.insert(id);
                            return;
                        }
                        const auto at_ms = std::max<std::int64_t>(progress.ended_at_ms, 0);
                        final_bytes[ended_key({at_ms, hub_, id})] = bytes;
                    });
        for (const auto& [id, bytes] : progress_bytes)
            differs("the progress of send '" + id + "' is left over");
        for (const LedgerKind kind :
             {LedgerKind::selection, LedgerKind::finished, LedgerKind::failures}) {
            scan_ledger(ledger_hub_prefix(kind, hub_), [&](std::string_view key, std::string_view) {
                const auto place = decode_ledger_key(key);
                if (!place || !open.contains(place->second))
                    differs("devices of a send that is not open are left over");
            });
        }
        send_ends(std::move(final_bytes));
    }
    void send_ends(std::map<std::string, std::uint64_t> expected) {
        std::string bytes;
        const auto stored = view_.snapshot->get(Family::meta, sweep_key, bytes);
        const auto sweep = stored && *stored ? decode_sweep(bytes) : SweepState();
        if (!sweep) differs("how far the upkeep of sends came cannot be decoded");
        std::uint64_t total = 0;
        scan_ledger(std::string(1, static_cast<char>(LedgerKind::ended)),
                    [&](std::string_view key, std::string_view value) {
                        const auto at = decode_ended_key(key);
                        const auto taken = decode_count(value);
                        if (!at || !taken) return differs("an end cannot be decoded");
                        if (at->hub != hub_) return;
                        total += *taken;
                        const auto send = expected.find(std::string(key));
                        if (send == expected.end() || send->second != *taken)
                            return differs("the end of send '" + at->send_id + "' is wrong");
                        expected.erase(send);
                    });
        if (sweep && sweep->indexed && !expected.empty())
            differs(std::to_string(expected.size()) + " final sends have no end");
        const auto counted = view_.snapshot->get(Family::meta, ended_bytes_key(hub_), bytes);
        const auto count = counted && *counted ? decode_count(bytes) : Result<std::uint64_t>(0);
        if (!count || *count != total) differs("the bytes of ended sends are counted wrong");
    }
    std::uint64_t swept_minute() const {
        std::string bytes;
        const auto found = view_.snapshot->get(Family::meta, state_key, bytes);
        if (!found || !*found) return 0;
        const auto state = decode_state(bytes);
        return state ? state->swept_minute : 0;
    }

    const Views& views_;
    const View& view_;
    const std::uint32_t hub_;
    const std::string prefix_;
    std::map<Address, std::pair<std::string, std::string>> owned_;
    std::map<std::string, Address> ids_;
    std::map<std::string, bool> handles_;
    std::map<std::string, std::vector<Address>> holders_;  ///< by kind and handle
    std::map<std::string, Bitmap> postings_;
    std::map<Address, std::int64_t> ends_;
    std::set<Address> sharing_;
    std::map<std::string, std::set<Address>> users_;  ///< by tag
    std::vector<std::string> differences_;
};

}  // namespace

std::vector<std::string> verify_hub(const Views& views, std::uint32_t hub) {
    const auto view = views.current();
    if (!view) return {"the store is closed"};
    if (view->hubs->find(hub) == nullptr) return {"no such hub"};
    return Verification(views, *view, hub).run();
}

}  // namespace registry
