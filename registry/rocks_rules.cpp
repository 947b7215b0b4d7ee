#include "registry/rocks_rules.hpp"

#include <rocksdb/compaction_filter.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/slice_transform.h>

#include <deque>
#include <vector>

#include "registry/keys.hpp"

namespace registry {
namespace {

std::string_view view(const rocksdb::Slice& slice) {
    return {slice.data(), slice.size()};
}

template <class Slices>
std::vector<std::string_view> views(const Slices& slices) {
    std::vector<std::string_view> all;
    all.reserve(slices.size());
    for (const rocksdb::Slice& slice : slices) all.push_back(view(slice));
    return all;
}

class PostingMerge final : public rocksdb::MergeOperator {
  public:
    const char* Name() const override { return "pushhub.posting.1"; }

    bool FullMergeV2(const MergeOperationInput& in, MergeOperationOutput* out) const override {
        const auto value = in.existing_value == nullptr ? "" : view(*in.existing_value);
        return merge_chunk(value, views(in.operand_list), out->new_value);
    }

    bool PartialMergeMulti(const rocksdb::Slice&, const std::deque<rocksdb::Slice>& operands,
                           std::string* merged, rocksdb::Logger*) const override {
        return merge_operands(views(operands), *merged);
    }
};

/// `size_of` gives the bytes of a key that belong to the prefix; 0: it is no such key.
template <std::size_t (*size_of)(std::string_view)>
class Prefix final : public rocksdb::SliceTransform {
  public:
    explicit Prefix(const char* name) : name_(name) {}
    const char* Name() const override { return name_; }
    rocksdb::Slice Transform(const rocksdb::Slice& key) const override {
        return {key.data(), size_of(view(key))};
    }
    bool InDomain(const rocksdb::Slice& key) const override { return size_of(view(key)) != 0; }

  private:
    const char* name_;
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

// Everything before the partition. Names carry their length, so no prefix is the beginning of
// another one.
std::shared_ptr<const rocksdb::SliceTransform> posting_prefix_extractor() {
    return std::make_shared<Prefix<posting_name_size>>("pushhub.posting_name.2");
}

std::shared_ptr<const rocksdb::SliceTransform> installation_prefix_extractor() {
    return std::make_shared<Prefix<installation_prefix_size>>("pushhub.installation.1");
}

const rocksdb::CompactionFilter* empty_chunk_filter() {
    static const EmptyChunks filter;
    return &filter;
}

}  // namespace registry
