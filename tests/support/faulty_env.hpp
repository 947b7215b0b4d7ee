#pragma once

// A disk under RocksDB that fails, or answers no read, when told to. Any thread.

#include <rocksdb/env.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

namespace registry_test {

enum class Fault { none, no_space, io };

/// Lets writes to the files of a store fail as a full or broken disk does.
class FaultyEnv final : public rocksdb::EnvWrapper {
  public:
    FaultyEnv() : EnvWrapper(rocksdb::Env::Default()) {}
    std::atomic<Fault> fault = Fault::none;
    std::atomic<bool> only_sync = false;
    /// A disk that has room while it is tried, and none a moment later.
    std::atomic<bool> probes_work = false;

    rocksdb::Status NewWritableFile(const std::string& path,
                                    std::unique_ptr<rocksdb::WritableFile>* file,
                                    const rocksdb::EnvOptions& options) override {
        std::unique_ptr<rocksdb::WritableFile> real;
        auto status = EnvWrapper::NewWritableFile(path, &real, options);
        const bool spared = probes_work && path.ends_with("probe");
        if (status.ok() && spared) {
            *file = std::move(real);
        } else if (status.ok()) {
            *file = std::make_unique<File>(std::move(real), *this);
        }
        return status;
    }

  private:
    class File final : public rocksdb::WritableFileWrapper {
      public:
        File(std::unique_ptr<rocksdb::WritableFile> real, FaultyEnv& env)
            : WritableFileWrapper(real.get()), real_(std::move(real)), env_(env) {}
        rocksdb::Status Append(const rocksdb::Slice& bytes) override {
            if (env_.fault != Fault::none && !env_.only_sync) return env_.failure();
            return WritableFileWrapper::Append(bytes);
        }
        rocksdb::Status Append(const rocksdb::Slice& bytes,
                               const rocksdb::DataVerificationInfo&) override {
            return Append(bytes);
        }
        rocksdb::Status Sync() override {
            return env_.fault != Fault::none ? env_.failure() : WritableFileWrapper::Sync();
        }
        rocksdb::Status Fsync() override { return Sync(); }

      private:
        std::unique_ptr<rocksdb::WritableFile> real_;
        FaultyEnv& env_;
    };
    rocksdb::Status failure() const {
        return fault == Fault::no_space ? rocksdb::Status::NoSpace("the test says so")
                                        : rocksdb::Status::IOError("the test says so");
    }
};

/// Reads of tables wait while they are held.
class SlowEnv final : public rocksdb::EnvWrapper {
  public:
    SlowEnv() : EnvWrapper(rocksdb::Env::Default()) {}

    void hold() {
        const std::lock_guard lock(mutex_);
        held_ = true;
    }
    void release() {
        const std::lock_guard lock(mutex_);
        held_ = false;
        changed_.notify_all();
    }
    /// Returns when a read waits.
    void await_stuck() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return waiting_ > 0; });
    }

    rocksdb::Status NewRandomAccessFile(const std::string& path,
                                        std::unique_ptr<rocksdb::RandomAccessFile>* file,
                                        const rocksdb::EnvOptions& options) override {
        std::unique_ptr<rocksdb::RandomAccessFile> real;
        auto status = EnvWrapper::NewRandomAccessFile(path, &real, options);
        if (status.ok()) *file = std::make_unique<File>(std::move(real), *this);
        return status;
    }

  private:
    class File final : public rocksdb::RandomAccessFile {
      public:
        File(std::unique_ptr<rocksdb::RandomAccessFile> real, SlowEnv& env)
            : real_(std::move(real)), env_(env) {}
        rocksdb::Status Read(std::uint64_t offset, std::size_t bytes, rocksdb::Slice* result,
                             char* scratch) const override {
            env_.pass();
            return real_->Read(offset, bytes, result, scratch);
        }

      private:
        std::unique_ptr<rocksdb::RandomAccessFile> real_;
        SlowEnv& env_;
    };
    void pass() {
        std::unique_lock lock(mutex_);
        ++waiting_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return !held_; });
        --waiting_;
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    bool held_ = false;
    int waiting_ = 0;
};

}  // namespace registry_test
