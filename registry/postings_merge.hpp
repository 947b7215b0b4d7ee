#pragma once

// What RocksDB has to know about postings: how operands fold into chunks, that an empty chunk is as
// good as none, and which part of a key names the posting.

#include <memory>

namespace rocksdb {
class CompactionFilter;
class MergeOperator;
class SliceTransform;
}  // namespace rocksdb

namespace registry {

std::shared_ptr<rocksdb::MergeOperator> posting_merge_operator();
std::shared_ptr<const rocksdb::SliceTransform> posting_prefix_extractor();
const rocksdb::CompactionFilter* empty_chunk_filter();  ///< lives as long as the process

}  // namespace registry
