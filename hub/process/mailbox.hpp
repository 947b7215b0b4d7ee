#pragma once

// What other threads hand to a lane. The lane opens all letters that lie in its mailbox in one
// turn. A thread that gives many answers at a time wakes the lane once for all of them.

#include <boost/asio/io_context.hpp>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace hub {

/// Something to do on a lane, once.
class Letter {
  public:
    virtual ~Letter() = default;
    virtual void open() = 0;
};

class Mailbox {
  public:
    explicit Mailbox(boost::asio::io_context& lane) : lane_(lane) {}
    Mailbox(const Mailbox&) = delete;
    Mailbox& operator=(const Mailbox&) = delete;

    /// Any thread. Letters are opened on the lane, in their order.
    void put(std::shared_ptr<Letter> letter);
    template <class Function>
    void put_call(Function function) {
        struct Order final : Letter {
            explicit Order(Function what) : function(std::move(what)) {}
            void open() override { function(); }
            Function function;
        };
        put(std::make_shared<Order>(std::move(function)));
    }

    /// The one of the lane that this thread runs; null on other threads.
    static Mailbox* here();
    /// Tells this thread which lane it runs.
    static void set_here(Mailbox* mailbox);

    /// Letters of this thread wait from now on, until deliver() sends all of them on their way.
    static void collect();
    static void deliver();

  private:
    void send_off();
    void open_all();

    boost::asio::io_context& lane_;
    std::mutex mutex_;
    std::vector<std::shared_ptr<Letter>> letters_;  // guarded by mutex_
};

}  // namespace hub
