#pragma once

// One at a time: requests that read something and write it back, whatever lane they are on, take
// turns by the key of what they change, in the order in which they came.

#include <boost/system/result.hpp>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "pns/task.hpp"

namespace hub {

class Turns {
  public:
    /// The turn of a key, until it is destroyed; any thread. Its Turns must outlive it.
    class Turn {
      public:
        Turn(Turns& turns, std::string key) : turns_(&turns), key_(std::move(key)) {}
        Turn(Turn&& other) noexcept
            : turns_(std::exchange(other.turns_, nullptr)), key_(std::move(other.key_)) {}
        Turn& operator=(Turn&&) = delete;
        ~Turn() {
            if (turns_ != nullptr) turns_->leave(key_);
        }

      private:
        Turns* turns_;
        std::string key_;
    };

    /// So many may wait for one key, besides the one whose turn it is.
    explicit Turns(std::size_t waiting_max) : waiting_max_(waiting_max) {}

    /// Waits on a lane for the turn of `key`; nothing: too many wait already.
    pns::Task<std::optional<Turn>> enter(std::string key);

  private:
    using Entered = std::function<void(boost::system::result<Turn>)>;
    void ask(std::string key, Entered entered);
    void leave(const std::string& key);

    const std::size_t waiting_max_;
    std::mutex mutex_;
    std::map<std::string, std::deque<Entered>>
        waiting_;  // guarded by mutex_; here: somebody's turn
};

}  // namespace hub
