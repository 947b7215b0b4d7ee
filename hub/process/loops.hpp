#pragma once

// Lanes: one thread with one io_context each, shared-nothing; and the pool of threads on which
// blocking reads run. Values move between lanes by post(); sockets and sessions never do.

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "hub/process/mailbox.hpp"
#include "pns/task.hpp"

namespace hub {

class Loops {
  public:
    explicit Loops(unsigned count);
    ~Loops();  ///< stop() and join
    std::size_t size() const { return lanes_.size(); }
    boost::asio::io_context& lane(std::size_t i) { return lanes_[i]->io; }
    Mailbox& mailbox(std::size_t i) { return lanes_[i]->mailbox; }
    void run();   ///< starts the threads
    void stop();  ///< lets loops end when their work is done, then joins

  private:
    struct Lane {
        boost::asio::io_context io{1};
        Mailbox mailbox{io};
        boost::asio::executor_work_guard<pns::Executor> work{io.get_executor()};
        std::thread thread;
    };
    std::vector<std::unique_ptr<Lane>> lanes_;
};

using StorePool = boost::asio::thread_pool;

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
