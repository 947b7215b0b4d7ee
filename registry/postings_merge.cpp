#include "registry/postings_merge.hpp"

#include <rocksdb/compaction_filter.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/slice_transform.h>

#include <vector>

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
        std::vector<std::string_view> operands;
        operands.reserve(in.operand_list.size());
        for (const rocksdb::Slice& bytes : in.operand_list) operands.push_back(view(bytes));
        const auto value = in.existing_value == nullptr ? "" : view(*in.existing_value);
        return merge_chunk(value, operands, out->new_value);
    }

    bool PartialMergeMulti(const rocksdb::Slice&, const std::deque<rocksdb::Slice>& slices,
                           std::string* merged, rocksdb::Logger*) const override {
        std::vector<std::string_view> operands;
        operands.reserve(slices.size());
        for (const rocksdb::Slice& bytes : slices) operands.push_back(view(bytes));
        return merge_operands(operands, *merged);
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
