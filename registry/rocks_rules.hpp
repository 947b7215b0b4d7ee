#pragma once

// What RocksDB has to know about keys and values: how operands of postings fold into chunks, that
// an empty chunk is as good as none, and which part of a key lookups share.

#include <memory>

namespace rocksdb {
class CompactionFilter;
class MergeOperator;
class SliceTransform;
}  // namespace rocksdb

namespace registry {

std::shared_ptr<rocksdb::MergeOperator> posting_merge_operator();
std::shared_ptr<const rocksdb::SliceTransform> posting_prefix_extractor();
std::shared_ptr<const rocksdb::SliceTransform> installation_prefix_extractor();
const rocksdb::CompactionFilter* empty_chunk_filter();  ///< lives as long as the process

}  // namespace registry
