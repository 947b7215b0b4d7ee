#pragma once

// Hears from RocksDB which of its writes failed.
//
// RocksDB 7.8 says that it has recovered from a failed write of its log, and goes on with the same
// file: its next batch fails, or ends the process where assertions are on, and a record whose sync
// failed stays in the log with the sequence numbers of the next one (facebook/rocksdb issues 11643,
// 12873). Therefore that recovery is switched off, and the database has to be opened again.

#include <rocksdb/listener.h>

#include <atomic>

namespace registry {

class RocksWatch final : public rocksdb::EventListener {
  public:
    /// A batch could not be written to the log, or not synced. Any thread.
    bool log_failed() const { return log_failed_; }

    void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status*) override {
        if (is_log(reason)) log_failed_ = true;
    }
    void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason reason, rocksdb::Status,
                              bool* auto_recovery) override {
        if (is_log(reason)) *auto_recovery = false;
    }

  private:
    static bool is_log(rocksdb::BackgroundErrorReason reason) {
        return reason == rocksdb::BackgroundErrorReason::kWriteCallback ||
               reason == rocksdb::BackgroundErrorReason::kMemTable;
    }
    std::atomic<bool> log_failed_ = false;
};

}  // namespace registry
