// Tested by tests/hub_devices_test.cpp.
//
// Postings give the candidates of a query, a superset of what matches; each candidate is then
// looked at. Few candidates are loaded and sorted. Many are met by walking the ids in order, with
// a bound on how many are looked at for one page, so no query takes the store for long. Reads one
// view; blocks on disk; any thread.

#include "registry/devices.hpp"

#include <algorithm>
#include <set>

#include "registry/match.hpp"
#include "registry/page_fill.hpp"
#include "registry/partition.hpp"
#include "registry/reader.hpp"
#include "registry/select.hpp"

namespace registry {
namespace {

constexpr std::size_t listed_by_rows_max = 10'000;
constexpr char installations_first = 'i', registrations_then = 'r';

bool row_fits(const DeviceQuery& query, const Row& row) {
    if (query.state == DeviceQuery::State::active && row.channel_expired) return false;
    if (query.state == DeviceQuery::State::expired && !row.channel_expired) return false;
    if (!query.platforms.empty() && std::find(query.platforms.begin(), query.platforms.end(),
                                              row.platform) == query.platforms.end()) {
        return false;
    }
    return row.handle.starts_with(query.handle_prefix);
}

/// Does a part that exists match?
bool installation_matches(const DeviceQuery& query, const InstallationRecord& record) {
    for (const Part& part : expand(record.value)) {
        const bool exists =
            std::any_of(record.parts.begin(), record.parts.end(),
                        [&](const auto& known) { return known.first == part.name; });
        if (exists && row_fits(query, part.tagged.row) &&
            tags_match(query.plan, part.tagged.tags)) {
            return true;
        }
    }
    return false;
}

/// Rows that may match, by partition: those that are addressed, and those whose channel expired,
/// which no tag leads to.
struct Candidates {
    std::vector<Bitmap> rows;
    std::uint64_t count = 0;
    bool contains(std::uint16_t partition, std::uint32_t number) const {
        return partition < rows.size() && rows[partition].contains(number);
    }
};

PostingSet expired_rows(Postings& postings) {
    PostingSet rows = postings.internal(alive_name);
    rows -= postings.internal(native_name);
    rows -= postings.internal(templated_name);
    return rows;
}

/// `matches(postings, p)` gives the candidates of a partition.
template <class Matches>
Result<Candidates> gather(const Views& views, std::uint32_t hub, Matches&& matches) {
    const auto first = views.current();
    if (!first) return make_error_code(errc::closed);
    const HubRow* const row = first->hubs->find(hub);
    if (row == nullptr) return make_error_code(errc::not_found);
    Candidates all;
    Postings::Reads reads{Reach::disk, nullptr, nullptr};
    for (std::uint16_t p = 0; p < row->partitions; ++p) {
        if (!reads.renew(views)) return make_error_code(errc::closed);
        Postings postings(views, hub, p, reads);
        all.rows.push_back(matches(postings).take());
        if (postings.error()) return postings.error();
        all.count += all.rows.back().cardinality();
    }
    return all;
}

Result<Candidates> candidates_of(const Views& views, std::uint32_t hub, const DeviceQuery& query) {
    Universe universe;
    universe.platforms = query.platforms;
    return gather(views, hub, [&](Postings& postings) {
        PostingSet rows;
        if (query.state != DeviceQuery::State::expired) {
            rows = tagexpr::evaluate<PostingSet>(
                query.plan, [&](std::string_view tag) { return postings.tag(tag); },
                [&] { return postings.addressable(universe); });
            if (!unrestricted(universe) && !rows.empty()) rows &= postings.addressable(universe);
        }
        if (query.state != DeviceQuery::State::active) rows |= expired_rows(postings);
        return rows;
    });
}

/// One page under construction. Each add is told whether to go on.
class DeviceList {
  public:
    DeviceList(const View& view, std::uint32_t hub, const DeviceQuery& query)
        : view_(view), hub_(hub), query_(query), fill_(query.count_max) {}

    bool full() const { return fill_.full(); }
    /// The page ends behind `place`.
    void end_at(const std::string& place) { page_.next = place; }
    DevicePage take() { return std::move(page_); }

    void offer(InstallationRecord record) {
        if (!installation_matches(query_, record)) return;
        fill_.add(bytes_of(record.value));
        FoundDevice device;
        device.parts = record.parts.size();
        device.installation = std::move(record.value);
        page_.devices.push_back(std::move(device));
    }
    /// `key` of the family of installations.
    Result<void> offer_installation(std::string_view key) {
        std::string bytes;
        const auto found = view_.snapshot->get(Family::installations, key, bytes);
        if (!found) return found.error();
        if (!*found) return {};
        auto record = decode_installation(installation_id(key), bytes);
        if (!record) return record.error();
        offer(std::move(*record));
        return {};
    }
    Result<void> offer_row(Address address) {
        const auto row = find_row(view_, hub_, address);
        if (!row) return row.error();
        if (!*row || !(*row)->installation_id.empty() || !row_fits(query_, **row) ||
            !tags_match(query_.plan, (*row)->tags)) {
            return {};
        }
        auto value = to_registration(**row, nullptr);
        if (!value) return value.error();
        fill_.add(bytes_of(*value));
        FoundDevice device;
        device.parts = 1;
        device.registration = std::move(*value);
        page_.devices.push_back(std::move(device));
        return {};
    }

  private:
    const View& view_;
    const std::uint32_t hub_;
    const DeviceQuery& query_;
    PageFill fill_;
    DevicePage page_;
};

/// Few enough to look at each: their rows say whose they are, which is then put in order.
Result<DevicePage> list_few(const View& view, std::uint32_t hub, const DeviceQuery& query,
                            const Candidates& candidates) {
    std::map<std::string, Address> places;
    for (std::size_t p = 0; p < candidates.rows.size(); ++p) {
        const auto partition = static_cast<std::uint16_t>(p);
        for (const std::uint32_t number : candidates.rows[p]) {
            const Address address{partition, number};
            const auto row = find_row(view, hub, address);
            if (!row) return row.error();
            if (!*row || !row_fits(query, **row)) continue;
            const bool owned = !(*row)->installation_id.empty();
            std::string place(1, owned ? installations_first : registrations_then);
            place += owned ? installation_key(hub, (*row)->installation_id)
                           : id_key(hub, (*row)->registration_id);
            if (place > query.after) places.emplace(std::move(place), address);
        }
    }
    DeviceList list(view, hub, query);
    const std::string* last = nullptr;
    for (const auto& [place, address] : places) {
        if (list.full()) {
            list.end_at(*last);
            break;
        }
        const auto added = place[0] == installations_first
                               ? list.offer_installation(std::string_view(place).substr(1))
                               : list.offer_row(address);
        if (!added) return added.error();
        last = &place;
    }
    return list.take();
}

/// Walks ids and keeps what is a candidate; looks at a bounded number of them.
class Walk {
  public:
    Walk(const View& view, std::uint32_t hub, const DeviceQuery& query,
         const Candidates& candidates, std::uint16_t partitions)
        : view_(view),
          hub_(hub),
          query_(query),
          candidates_(candidates),
          partitions_(partitions),
          list_(view, hub, query) {}

    Result<DevicePage> run() {
        const char phase = query_.after.empty() ? installations_first : query_.after[0];
        if (phase == installations_first) {
            const auto walked = walk(installations_first,
                                     query_.after.empty() ? std::string() : query_.after.substr(1));
            if (!walked) return walked.error();
            if (!*walked) return list_.take();
        }
        const auto walked =
            walk(registrations_then,
                 phase == registrations_then ? query_.after.substr(1) : std::string());
        if (!walked) return walked.error();
        return list_.take();
    }

  private:
    /// From the key `after` on. True: came to the end of this kind.
    Result<bool> walk(char kind, const std::string& after) {
        const auto family = kind == installations_first ? Family::installations : Family::ids;
        const std::string prefix = hub_prefix(hub_);
        const auto cursor = view_.snapshot->cursor(family);
        std::string last = after;
        for (cursor->seek(after.empty() ? prefix : after); cursor->valid(); cursor->next()) {
            if (!cursor->key().starts_with(prefix)) break;
            if (cursor->key() == after) continue;
            if (list_.full() || reads_ >= query_.reads_max) {
                list_.end_at(kind + last);
                return false;
            }
            ++reads_;
            last = cursor->key();
            const auto added = kind == installations_first ? add_installation(last, cursor->value())
                                                           : add_id(cursor->value());
            if (!added) return {boost::system::in_place_error, added.error()};
        }
        if (auto status = cursor->status(); !status)
            return {boost::system::in_place_error, status.error()};
        return true;
    }
    Result<void> add_installation(std::string_view key, std::string_view bytes) {
        auto record = decode_installation(installation_id(key), bytes);
        if (!record) return record.error();
        const std::uint16_t partition = partition_of(record->value.id, partitions_);
        const bool candidate = std::any_of(
            record->parts.begin(), record->parts.end(),
            [&](const auto& part) { return candidates_.contains(partition, part.second); });
        if (candidate) list_.offer(std::move(*record));
        return {};
    }
    Result<void> add_id(std::string_view bytes) {
        const auto entry = decode_id(bytes);
        if (!entry) return entry.error();
        if (entry->gone || !candidates_.contains(entry->partition, entry->number)) return {};
        return list_.offer_row({entry->partition, entry->number});
    }

    const View& view_;
    const std::uint32_t hub_;
    const DeviceQuery& query_;
    const Candidates& candidates_;
    const std::uint16_t partitions_;
    DeviceList list_;
    std::size_t reads_ = 0;
};

}  // namespace

Result<DevicePage> find_devices(const Views& views, std::uint32_t hub, const DeviceQuery& query) {
    const auto candidates = candidates_of(views, hub, query);
    if (!candidates) return candidates.error();
    const auto view = views.current();
    if (!view) return make_error_code(errc::closed);
    const HubRow* const row = view->hubs->find(hub);
    if (row == nullptr) return make_error_code(errc::not_found);
    if (candidates->count <= std::min(query.reads_max, listed_by_rows_max))
        return list_few(*view, hub, query, *candidates);
    return Walk(*view, hub, query, *candidates, row->partitions).run();
}

Result<std::vector<std::string>> installations_of_user(const Views& views, std::uint32_t hub,
                                                       std::string_view user_id,
                                                       std::size_t count_max) {
    const std::string tag = "$UserId:{" + std::string(user_id) + "}";
    const auto candidates = gather(views, hub, [&](Postings& postings) {
        PostingSet rows = postings.tag(tag);
        rows |= postings.internal(expired_name(user_id));
        return rows;
    });
    if (!candidates) return candidates.error();
    const auto view = views.current();
    if (!view) return make_error_code(errc::closed);
    std::set<std::string> ids;
    for (std::size_t p = 0; p < candidates->rows.size() && ids.size() < count_max; ++p) {
        for (const std::uint32_t number : candidates->rows[p]) {
            if (ids.size() >= count_max) break;
            const auto row = find_row(*view, hub, {static_cast<std::uint16_t>(p), number});
            if (!row) return row.error();
            if (!*row || (*row)->installation_id.empty()) continue;
            const std::string& id = (*row)->installation_id;
            if (ids.contains(id)) continue;
            const auto owner = read_installation(*view, hub, id);
            if (!owner) return owner.error();
            if (owner->user_id == user_id) ids.insert(id);
        }
    }
    return std::vector<std::string>(ids.begin(), ids.end());
}

}  // namespace registry
