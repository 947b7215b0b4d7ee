#pragma once

// The load of a soak: so much of everything a second, posted when it is due, and the judgement of
// every send once it has ended. Little of it is in memory: the sends that are open. Blocks; one
// thread.

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bench/sink.hpp"
#include "bench/soak_crowd.hpp"
#include "bench/telemetry.hpp"
#include "hub/cli/client.hpp"

namespace bench {

class SoakLoad {
  public:
    struct Figures {
        std::uint64_t sends = 0, pushes = 0, unknown = 0, changes = 0, deletes = 0, commands = 0,
                      faults = 0, busy = 0;
    };

    SoakLoad(hub::HubClient& client, const Sink& sink, std::uint32_t devices, std::uint64_t seed,
             double pace);

    /// Creates the hub and registers all devices, with a progress bar.
    void populate();
    /// Posts what is due at `now_s`, looks after open sends, sets the next fault. With `rest`,
    /// nothing new is sent and nothing goes wrong any more.
    void tick(double now_s, bool rest);
    std::size_t open() const { return open_.size(); }
    /// With nothing open: what the simulators took since the last time must be what was told.
    void compare();

    const Figures& figures() const { return figures_; }
    const std::vector<std::string>& wrong() const { return wrong_; }  ///< the first few
    std::uint64_t wrong_count() const { return wrong_count_; }

  private:
    /// What is posted, and how often a second.
    struct Kind {
        std::string name;
        double per_s;
        std::function<void(SoakLoad&)> post;
        double owed = 0;
    };
    struct Open {
        std::string kind, id;
        std::uint64_t expected = 0;  ///< devices; 0: not known
        bool at_most_once = false, canceled = false;
        double from_s = 0, limit_s = 0, look_at_s = 0;
        std::uint64_t faults_before = 0;
    };
    struct Order {
        std::string kind, format, tags;
        std::uint64_t expected = 0;
        std::vector<std::pair<std::string, std::string>> headers;
        double after_s = 0;   ///< scheduled so much later
        double limit_s = 60;  ///< and then ends within
        bool at_most_once = false, direct = false;
    };
    using Answered = std::function<void(const hub::ClientReply&)>;

    void ask(hub::ClientRequest request, Answered answered);
    void flush();
    void send(Order order);
    void post_single(bool once);
    void post_group(const std::string& kind, std::string_view format, bool at_most_once);
    void post_rated();
    void post_scheduled();
    void post_direct();
    void post_to_all();
    void post_moving();
    void move(std::uint32_t device);
    void remove(std::uint32_t device);
    void refresh();
    void kill_some();
    void command(const std::string& what);
    void look_after_open();
    void judge(const Open& send, const Telemetry& told);
    void go_wrong();
    bool quiet(const Open& send) const;
    void say_wrong(const std::string& what);
    std::uint32_t any_steady() { return below(crowd_.steady()); }
    std::uint32_t any_moving() { return crowd_.steady() + below(crowd_.size() - crowd_.steady()); }
    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>(random_() % bound);
    }

    hub::HubClient& client_;
    const Sink& sink_;
    SoakCrowd crowd_;
    std::mt19937_64 random_;
    std::vector<Kind> kinds_;
    double now_s_ = 0, before_s_ = 0, fault_next_s_ = 5, fault_until_s_ = 0;
    std::size_t fault_turn_ = 0, all_turn_ = 0;
    std::uint64_t number_ = 0;
    std::vector<std::uint32_t> versions_;  ///< by moving device
    std::vector<bool> gone_, busy_;        ///< by moving device: deleted; a change is on its way
    std::unordered_map<std::string, Open> open_;
    std::vector<std::pair<std::string, double>> paused_;  ///< id, when it goes on
    struct Told {
        std::uint64_t success = 0, doubtful = 0;
    };
    std::map<std::string, Told> told_;  ///< by platform, since compare()
    std::vector<std::pair<hub::ClientRequest, Answered>> asked_;
    Figures figures_;
    std::vector<std::string> wrong_;
    std::uint64_t wrong_count_ = 0;
};

}  // namespace bench
