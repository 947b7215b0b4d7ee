#pragma once

// Lanes: one thread with one io_context each, shared-nothing; and the pool of threads on which
// blocking reads run. Values move between lanes by post(); sockets and sessions never do.

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "hub/process/mailbox.hpp"
#include "pns/task.hpp"

namespace hub {

class Loops {
  public:
    /// Has all its threads when it is made, or throws; they wait for run().
    explicit Loops(unsigned count);
    ~Loops();  ///< stop() and join
    std::size_t size() const { return lanes_.size(); }
    boost::asio::io_context& lane(std::size_t i) { return lanes_[i]->io; }
    Mailbox& mailbox(std::size_t i) { return lanes_[i]->mailbox; }
    void run();   ///< lets the threads begin; again: nothing
    void stop();  ///< lets loops end when their work is done, then joins; not run: at once

  private:
    struct Lane {
        boost::asio::io_context io{1};
        Mailbox mailbox{io};
        boost::asio::executor_work_guard<pns::Executor> work{io.get_executor()};
        std::thread thread;
    };
    enum class Go : std::uint8_t { wait, run, end };
    std::vector<std::unique_ptr<Lane>> lanes_;
    std::atomic<Go> go_ = Go::wait;
};

/// In place of boost::asio::thread_pool, whose constructor never returns if a thread cannot be had.
class StorePool {
  public:
    explicit StorePool(std::size_t threads);
    ~StorePool() { join(); }
    boost::asio::io_context& io() { return io_; }
    void join();  ///< when all that was posted is done; again: nothing

  private:
    boost::asio::io_context io_;
    boost::asio::executor_work_guard<pns::Executor> work_{io_.get_executor()};
    std::vector<std::thread> threads_;
};

/// Runs `function` on the pool and resumes the calling coroutine on its own loop with the result.
/// `function` is named on an earlier line and moved in (compiler rule); its result type must be
/// movable.
template <class Function>
pns::Task<std::invoke_result_t<Function>> on_store(StorePool& pool, Function function);

/// Starts a registry write and resumes the calling coroutine on its own loop with its result.
/// `start(done)` must call `done(Result<T>)` exactly once, from any thread.
template <class T, class Start>
pns::Task<boost::system::result<T>> committed(Start start);

}  // namespace hub

#include "hub/process/loops_impl.hpp"
