// Rebuilds from rows and installations what is kept beside them, and reports every difference.
// Reads the whole hub and holds its rebuilt postings in memory: for tests and for operators in
// doubt, not for the data path.

#include <algorithm>
#include <set>

#include "registry/partition.hpp"
#include "registry/reader.hpp"

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
        postings();
        expiry();
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
            const std::string id(key.substr(prefix_.size()));
            auto record = decode_installation(id, value);
            if (!record) return differs("installation '" + id + "' cannot be decoded");
            if (record->value.expires_at_ms != never_ms) {
                expiries_[{true, id}] = record->value.expires_at_ms;
            }
            const std::uint16_t partition = partition_of(id, partitions);
            for (const auto& [part, number] : record->parts) {
                const bool fresh =
                    owned_.emplace(std::pair{partition, number}, std::pair{id, part}).second;
                if (!fresh) differs(place({partition, number}) + " belongs to two installations");
            }
        });
    }

    void rows() {
        std::string owner_id;
        std::vector<Part> parts;
        scan(Family::rows, [&](std::string_view key, std::string_view value) {
            const auto at = address_at_end(key);
            const auto row = decode_row(value);
            if (!at || !row) return differs("a row cannot be decoded");
            const Address address{at->first, at->second};
            if (row->generation > view_.position) differs(place(address) + " is from the future");
            TaggedRow tagged{*row, row->tags};
            if (!row->installation_id.empty()) {
                if (owner_id != row->installation_id) {
                    const auto owner = read_installation(view_, hub_, row->installation_id);
                    parts = owner ? expand(*owner) : std::vector<Part>();
                    owner_id = row->installation_id;
                }
                take_part(address, parts, tagged);
            } else if (row->expires_at_ms != never_ms) {
                expiries_[{false, row->registration_id}] = row->expires_at_ms;
            }
            for (const std::string& prefix : postings_of(hub_, address.partition, tagged)) {
                postings_[prefix].add(address.number);
            }
            ids_.emplace(row->registration_id, address);
            const bool native = row->template_bytes.empty();
            handles_.emplace(handle_key(hub_, row->handle, address.partition, address.number),
                             native);
            if (native) natives_[handle_prefix(hub_, row->handle)].push_back(address);
        });
        for (const auto& [at, owner] : owned_) {
            differs("installation '" + owner.first + "' names " + place({at.first, at.second}) +
                    ", which is not there");
        }
    }

    /// Compares a part with what its installation says and gives it its tags.
    void take_part(Address address, const std::vector<Part>& parts, TaggedRow& tagged) {
        Row& row = tagged.row;
        const auto owned = owned_.find({address.partition, address.number});
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
        if (said != row) differs(place(address) + " differs from its installation");
        tagged.tags = part->tagged.tags;
    }

    void share_handles() {
        for (const auto& [prefix, addresses] : natives_) {
            if (addresses.size() < 2) continue;
            for (const Address address : addresses) {
                postings_[internal_prefix(hub_, address.partition, shares_name)].add(
                    address.number);
            }
        }
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
            const auto at = address_at_end(key);
            differs(place({at->first, at->second}) + " has no handle entry");
        }
    }

    void postings() {
        std::map<std::string, BitmapBuilder> stored;
        scan(Family::postings, [&](std::string_view key, std::string_view value) {
            const std::size_t size = posting_name_size(key);
            if (size == 0 || key.size() != size + 4) return differs("a posting key is malformed");
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
            const auto cached = views_.cache.find(prefix);
            if (cached && !(*cached == rebuilt)) {
                differs(posting_name(prefix) + " differs from its rows in the cache");
            }
            if (expected != postings_.end()) postings_.erase(expected);
        }
        for (const auto& [prefix, bitmap] : postings_)
            differs(posting_name(prefix) + " is missing");
    }

    void expiry() {
        const auto cursor = view_.snapshot->cursor(Family::expiry);
        for (cursor->seek({}); cursor->valid(); cursor->next()) {
            const auto key = decode_expiry_key(cursor->key());
            if (!key) differs("an expiry key is malformed");
            if (!key || key->hub != hub_) continue;
            // A later entry, or one of nothing that is there, goes when the sweep comes to it.
            const auto ends = expiries_.find({key->installation, key->id});
            if (ends != expiries_.end() && key->at_ms <= ends->second) expiries_.erase(ends);
        }
        for (const auto& [what, at_ms] : expiries_) {
            differs("'" + what.second + "' has no expiry entry at or before its time");
        }
    }

    const Views& views_;
    const View& view_;
    const std::uint32_t hub_;
    const std::string prefix_;
    std::map<std::pair<std::uint16_t, std::uint32_t>, std::pair<std::string, std::string>> owned_;
    std::map<std::string, Address> ids_;
    std::map<std::string, bool> handles_;
    std::map<std::string, std::vector<Address>> natives_;
    std::map<std::string, Bitmap> postings_;
    std::map<std::pair<bool, std::string>, std::int64_t> expiries_;  ///< installation?, id
    std::vector<std::string> differences_;
};

}  // namespace

std::vector<std::string> verify_hub(const Views& views, std::uint32_t hub) {
    const Views::Reading reading(views);  // so that the cache belongs to the view
    const auto view = views.current();
    if (!view) return {"the store is closed"};
    if (view->hubs->find(hub) == nullptr) return {"no such hub"};
    return Verification(views, *view, hub).run();
}

}  // namespace registry
