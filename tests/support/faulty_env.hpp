#pragma once

// A disk under RocksDB that fails when told to. Any thread.

#include <rocksdb/env.h>

#include <atomic>
#include <memory>
#include <string>

namespace registry_test {

enum class Fault { none, no_space, io };

/// Lets writes to the files of a store fail as a full or broken disk does.
class FaultyEnv final : public rocksdb::EnvWrapper {
  public:
    FaultyEnv() : EnvWrapper(rocksdb::Env::Default()) {}
    std::atomic<Fault> fault = Fault::none;
    std::atomic<bool> only_sync = false;

    rocksdb::Status NewWritableFile(const std::string& path,
                                    std::unique_ptr<rocksdb::WritableFile>* file,
                                    const rocksdb::EnvOptions& options) override {
        std::unique_ptr<rocksdb::WritableFile> real;
        auto status = EnvWrapper::NewWritableFile(path, &real, options);
        if (status.ok()) *file = std::make_unique<File>(std::move(real), *this);
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

}  // namespace registry_test
