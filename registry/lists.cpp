// Pages of registrations, by id. Tested by tests/registry_model_test.cpp.
//
// Ids of plain registrations lie in a family of their own; ids of parts follow from their numbers.
// A page merges both streams, one for the plain ones and one for each partition, behind the last
// id of the page before. A short list of candidates is sorted instead of walked. Reads one view;
// blocks on disk; any thread.

#include <algorithm>
#include <string>
#include <vector>

#include "registry/page_fill.hpp"
#include "registry/partition.hpp"
#include "registry/reader.hpp"

namespace registry {
namespace {

constexpr std::size_t listed_by_rows_max = 10'000;

/// One more row than fits shows that there is a next page.
class PageBuilder {
  public:
    explicit PageBuilder(std::size_t count_max) : fill_(count_max) {}
    bool full() const { return more_; }
    Result<void> add(const View& view, std::uint32_t hub, const Row& row) {
        if (fill_.full()) {
            more_ = true;
            page_.next = page_.registrations.back().id;
            return {};
        }
        auto value = read_registration(view, hub, row);
        if (!value) return value.error();
        fill_.add(bytes_of(*value));
        page_.registrations.push_back(std::move(*value));
        return {};
    }
    Page take() { return std::move(page_); }

  private:
    PageFill fill_;
    bool more_ = false;
    Page page_;
};

/// Few enough to look at each: their rows say the ids, which are then put in order.
Result<Page> list_few(const View& view, std::uint32_t hub, const std::vector<Bitmap>& wanted,
                      std::string_view after, std::size_t count_max) {
    std::vector<std::pair<std::string, Address>> ids;
    for (std::size_t p = 0; p < wanted.size(); ++p) {
        for (const std::uint32_t number : wanted[p]) {
            const Address address{static_cast<std::uint16_t>(p), number};
            auto row = read_row(view, hub, address);
            if (!row) return row.error();
            if (row->registration_id > after) {
                ids.emplace_back(std::move(row->registration_id), address);
            }
        }
    }
    std::sort(ids.begin(), ids.end());
    PageBuilder page(count_max);
    for (const auto& [id, address] : ids) {
        const auto row = read_row(view, hub, address);
        if (!row) return row.error();
        if (auto added = page.add(view, hub, *row); !added) return added.error();
        if (page.full()) break;
    }
    return page.take();
}

/// Rows in the order of their ids.
class RowStream {
  public:
    virtual ~RowStream() = default;
    /// The next row; null at the end. The pointer is good until the next call.
    virtual Result<const Row*> next() = 0;
};

/// Rows that no installation owns: their ids have a family of their own.
class PlainRows final : public RowStream {
  public:
    PlainRows(const View& view, std::uint32_t hub, const std::vector<Bitmap>* wanted,
              std::string_view after)
        : view_(view),
          hub_(hub),
          wanted_(wanted),
          prefix_(hub_prefix(hub)),
          cursor_(view.snapshot->cursor(Family::ids)) {
        const std::string start = id_key(hub, after);
        cursor_->seek(start);
        if (!after.empty() && cursor_->valid() && cursor_->key() == start) cursor_->next();
    }

    Result<const Row*> next() override {
        for (; cursor_->valid(); cursor_->next()) {
            if (!cursor_->key().starts_with(prefix_)) break;
            const auto entry = decode_id(cursor_->value());
            if (!entry) return entry.error();
            if (entry->gone) continue;
            if (wanted_ != nullptr) {
                if (entry->partition >= wanted_->size()) return make_error_code(errc::corrupt);
                if (!(*wanted_)[entry->partition].contains(entry->number)) continue;
            }
            auto row = read_row(view_, hub_, {entry->partition, entry->number});
            if (!row) return row.error();
            row_ = std::move(*row);
            cursor_->next();
            return &row_;
        }
        if (auto status = cursor_->status(); !status) return status.error();
        return nullptr;
    }

  private:
    const View& view_;
    const std::uint32_t hub_;
    const std::vector<Bitmap>* wanted_;
    const std::string prefix_;
    const std::unique_ptr<Cursor> cursor_;
    Row row_;
};

/// The first device number whose part may have an id behind `after`.
std::uint64_t first_number(std::string_view after) {
    constexpr std::uint64_t numbers = std::uint64_t{1} << 32;
    constexpr char above_all = '~';
    std::uint64_t from = 0;
    for (std::uint64_t step = numbers; step > 0; step /= 2) {
        const std::string highest = std::to_string(part_ids_from + from + step - 1) + above_all;
        if (from + step <= numbers && highest <= after) from += step;
    }
    return from;
}

/// The parts of one partition: their ids go by their numbers.
class PartRows final : public RowStream {
  public:
    PartRows(const View& view, std::uint32_t hub, std::uint16_t partition, const Bitmap* wanted,
             std::string_view after)
        : view_(view),
          hub_(hub),
          partition_(partition),
          wanted_(wanted),
          after_(after),
          from_(first_number(after)),
          prefix_(internal_prefix(hub, partition, parts_name)),
          cursor_(view.snapshot->cursor(Family::postings, true)) {}

    Result<const Row*> next() override {
        for (;;) {
            for (; next_ != chunk_.end(); ++next_) {
                auto row = read_row(view_, hub_, {partition_, *next_});
                if (!row) return row.error();
                if (row->registration_id <= after_) continue;
                row_ = std::move(*row);
                ++next_;
                return &row_;
            }
            const auto more = read_chunk();
            if (!more) return more.error();
            if (!*more) return nullptr;
        }
    }

  private:
    /// The next numbers into chunk_; false at the end.
    Result<bool> read_chunk() {
        if (!placed_) {
            if (from_ > 0xffff'ffff) return false;
            cursor_->seek(chunk_key(prefix_, static_cast<std::uint16_t>(from_ >> 16)));
        } else {
            cursor_->next();
        }
        if (!cursor_->valid() || !cursor_->key().starts_with(prefix_)) {
            if (auto status = cursor_->status(); !status)
                return {boost::system::in_place_error, status.error()};
            return false;
        }
        BitmapBuilder builder;
        if (!builder.add(posting_place(cursor_->key()).chunk, cursor_->value()))
            return {boost::system::in_place_error, make_error_code(errc::corrupt)};
        chunk_ = builder.finish();
        if (!placed_) {
            Bitmap before;
            before.addRange(0, from_);
            chunk_ -= before;
        }
        placed_ = true;
        if (wanted_ != nullptr) chunk_ &= *wanted_;
        next_ = chunk_.begin();
        return true;
    }

    const View& view_;
    const std::uint32_t hub_;
    const std::uint16_t partition_;
    const Bitmap* const wanted_;
    const std::string_view after_;
    const std::uint64_t from_;
    const std::string prefix_;
    const std::unique_ptr<Cursor> cursor_;
    bool placed_ = false;
    Bitmap chunk_;
    Bitmap::const_iterator next_ = chunk_.begin();
    Row row_;
};

/// All, or so many that walking meets them soon. `wanted` null: all.
Result<Page> list_many(const View& view, const HubRow& hub, const std::vector<Bitmap>* wanted,
                       std::string_view after, std::size_t count_max) {
    std::vector<std::unique_ptr<RowStream>> streams;
    streams.push_back(std::make_unique<PlainRows>(view, hub.number, wanted, after));
    for (std::uint16_t p = 0; p < hub.partitions; ++p) {
        const Bitmap* const mine = wanted == nullptr ? nullptr : &(*wanted)[p];
        streams.push_back(std::make_unique<PartRows>(view, hub.number, p, mine, after));
    }
    std::vector<const Row*> heads;
    for (const auto& stream : streams) {
        const auto row = stream->next();
        if (!row) return row.error();
        heads.push_back(*row);
    }
    const auto later = [](const Row* a, const Row* b) {
        if (a == nullptr || b == nullptr) return a == nullptr && b != nullptr;
        return a->registration_id > b->registration_id;
    };
    PageBuilder page(count_max);
    while (!page.full()) {
        const auto first = std::min_element(
            heads.begin(), heads.end(), [&](const Row* a, const Row* b) { return later(b, a); });
        if (*first == nullptr) break;
        if (auto added = page.add(view, hub.number, **first); !added) return added.error();
        const auto row = streams[static_cast<std::size_t>(first - heads.begin())]->next();
        if (!row) return row.error();
        *first = *row;
    }
    return page.take();
}

}  // namespace

Result<Page> list_registrations(const View& view, std::uint32_t hub, std::string_view tag,
                                std::string_view after, std::size_t count_max) {
    const HubRow* const row = view.hubs->find(hub);
    if (row == nullptr) return make_error_code(errc::not_found);
    if (tag.empty()) return list_many(view, *row, nullptr, after, count_max);
    std::vector<Bitmap> wanted(row->partitions);
    std::uint64_t total = 0;
    auto carriers = read_tag(view, hub, tag, Reach::disk);
    if (!carriers) return carriers.error();
    for (auto& [p, bitmap] : *carriers) {
        if (p >= wanted.size()) return make_error_code(errc::corrupt);
        total += bitmap.cardinality();
        wanted[p] = std::move(bitmap);
    }
    if (total <= listed_by_rows_max) return list_few(view, hub, wanted, after, count_max);
    return list_many(view, *row, &wanted, after, count_max);
}

}  // namespace registry
