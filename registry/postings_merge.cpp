#include "registry/postings_merge.hpp"

#include <rocksdb/compaction_filter.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/slice_transform.h>

#include "registry/keys.hpp"

namespace registry {
namespace {

std::string_view view(const rocksdb::Slice& slice) {
    return {slice.data(), slice.size()};
}

class PostingMerge final : public rocksdb::MergeOperator {
  public:
    const char* Name() const override { return "pushhub.posting.1"; }

    bool FullMergeV2(const MergeOperationInput& in, MergeOperationOutput* out) const override {
        Chunk chunk;
        if (in.existing_value != nullptr && !decode_chunk(view(*in.existing_value), chunk)) {
            return false;
        }
        Operand operand;
        for (const rocksdb::Slice& bytes : in.operand_list) {
            if (!decode_operand(view(bytes), operand)) return false;
            apply_operand(operand, chunk);
        }
        out->new_value = encode_chunk(chunk);
        return true;
    }

    bool PartialMerge(const rocksdb::Slice&, const rocksdb::Slice& left,
                      const rocksdb::Slice& right, std::string* merged,
                      rocksdb::Logger*) const override {
        Operand older, newer;
        if (!decode_operand(view(left), older) || !decode_operand(view(right), newer)) return false;
        *merged = encode_operand(compose(older, newer));
        return true;
    }

    bool PartialMergeMulti(const rocksdb::Slice&, const std::deque<rocksdb::Slice>& operands,
                           std::string* merged, rocksdb::Logger*) const override {
        // Two chunks say for every number what the last operand that names it said.
        Chunk added, removed;
        Operand operand;
        for (const rocksdb::Slice& bytes : operands) {
            if (!decode_operand(view(bytes), operand)) return false;
            for (const std::uint16_t n : operand.added) {
                added.add(n);
                removed.remove(n);
            }
            for (const std::uint16_t n : operand.removed) {
                added.remove(n);
                removed.add(n);
            }
        }
        const auto list = [](const Chunk& chunk, std::vector<std::uint16_t>& numbers) {
            numbers.clear();
            for (std::uint32_t n = 0; n < 65'536; ++n) {
                if (n % 64 == 0 && chunk.words[n >> 6] == 0) {
                    n += 63;
                } else if (chunk.contains(static_cast<std::uint16_t>(n))) {
                    numbers.push_back(static_cast<std::uint16_t>(n));
                }
            }
        };
        list(added, operand.added);
        list(removed, operand.removed);
        *merged = encode_operand(operand);
        return true;
    }
};

/// Everything before the partition. Names carry their length, so no prefix is the beginning of
/// another one.
class PostingPrefix final : public rocksdb::SliceTransform {
  public:
    const char* Name() const override { return "pushhub.posting_name.2"; }
    rocksdb::Slice Transform(const rocksdb::Slice& key) const override {
        return {key.data(), posting_name_size(view(key))};
    }
    bool InDomain(const rocksdb::Slice& key) const override {
        return posting_name_size(view(key)) != 0;
    }
};

class EmptyChunks final : public rocksdb::CompactionFilter {
  public:
    const char* Name() const override { return "pushhub.empty_chunks.1"; }
    bool Filter(int, const rocksdb::Slice&, const rocksdb::Slice& value, std::string*,
                bool*) const override {
        return chunk_is_empty(view(value));
    }
};

}  // namespace

std::shared_ptr<rocksdb::MergeOperator> posting_merge_operator() {
    return std::make_shared<PostingMerge>();
}

std::shared_ptr<const rocksdb::SliceTransform> posting_prefix_extractor() {
    return std::make_shared<PostingPrefix>();
}

const rocksdb::CompactionFilter* empty_chunk_filter() {
    static const EmptyChunks filter;
    return &filter;
}

}  // namespace registry
