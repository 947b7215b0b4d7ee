#pragma once

// The devices of one send, platform and lane that wait for another attempt, in bounded memory. The
// first ones each have a time of their own. What comes beyond that, and all that waits for a door
// of the sender, is a crowd: bitmaps of devices with the same past, due together. Pure: times are
// passed in, of a clock that does not step; one lane.

#include <cstdint>
#include <map>
#include <vector>

#include "pns/verdict.hpp"
#include "registry/send.hpp"

namespace hub {

struct Waiting {
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    std::uint8_t attempts = 0;  ///< answers and losses so far
    std::uint8_t faults = 0;    ///< of those, by the push's own fault: these are bounded
    std::uint8_t losses = 0;    ///< of those, whose answers were lost: each wait doubles
    /// What the device is counted as if its time runs out.
    pns::Outcome outcome = pns::Outcome::abandoned;
    std::uint32_t door = 0;  ///< what it waits for (pns::NotSent); 0 = for its time only
};

class WaitList {
  public:
    /// A shut door is tried with so many devices so often, whatever it told.
    static constexpr std::size_t sample_devices = 16;
    static constexpr std::int64_t sample_every_ms = 5'000;
    /// Crowds that differ only in the door or in the number of attempts are put together beyond so
    /// many; whether there was an attempt is kept.
    static constexpr std::size_t crowds_max = 64;

    explicit WaitList(std::size_t timed_max) : timed_max_(timed_max) {}

    void add(const Waiting& device, std::int64_t due_ms);
    /// Up to `count_max` devices of one partition whose time has come, by number. Empty: none is
    /// due.
    std::vector<Waiting> take_due(std::int64_t now_ms, std::size_t count_max);
    bool has_due(std::int64_t now_ms) const { return next_due_ms() <= now_ms; }
    /// The largest number if none waits.
    std::int64_t next_due_ms() const;
    /// The door is open: what waits for it is due.
    void open(std::uint32_t door, std::int64_t now_ms);
    /// Everything is due.
    void open_all(std::int64_t now_ms);
    /// Takes everything out, in no order.
    template <class Function>
    void take_all(Function&& function) {
        for (const auto& [due, device] : timed_) function(device);
        for (const auto& [past, crowd] : crowds_) {
            for (std::size_t p = 0; p < crowd.partitions.size(); ++p) {
                for (const std::uint32_t number : crowd.partitions[p])
                    function(device_of(past, static_cast<std::uint16_t>(p), number));
            }
        }
        timed_.clear();
        crowds_.clear();
        size_ = 0;
    }
    std::size_t size() const { return size_; }

  private:
    struct Past {
        std::uint32_t door;
        std::uint8_t attempts, faults, losses;
        pns::Outcome outcome;
        friend auto operator<=>(const Past&, const Past&) = default;
    };
    struct Crowd {
        std::vector<registry::Bitmap> partitions;
        std::uint64_t devices = 0;
        std::int64_t due_ms = 0;
        bool sampled = false;  ///< its door is shut: only a few are due at its time
    };
    using Crowds = std::map<Past, Crowd>;

    static Waiting device_of(const Past& past, std::uint16_t partition, std::uint32_t number) {
        return {partition,   number,       past.attempts, past.faults,
                past.losses, past.outcome, past.door};
    }
    std::vector<Waiting> take_timed(std::int64_t now_ms, std::size_t count_max);
    std::vector<Waiting> take_crowd(Crowds::iterator crowd, std::int64_t now_ms,
                                    std::size_t count_max);

    const std::size_t timed_max_;
    std::multimap<std::int64_t, Waiting> timed_;
    Crowds crowds_;
    std::size_t size_ = 0;
};

}  // namespace hub
