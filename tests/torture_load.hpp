#pragma once

// What clients do to the hub that torture kills, and the record by which it is judged in the end.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "hub/cli/client.hpp"
#include "tests/torture_hub.hpp"

namespace torture {

/// Counts what held and prints what did not. Any thread.
class Verdict {
  public:
    void expect(bool holds, const std::string& what);
    void wrong(const std::string& what) { expect(false, what); }
    unsigned passed() const { return passed_; }
    unsigned failed() const { return failed_; }

  private:
    std::mutex print_mutex_;
    std::atomic<unsigned> passed_ = 0, failed_ = 0;
};

/// One send that was posted. A send without an id may exist or not: its answer never came, or said
/// that the store failed.
struct Sent {
    std::string id;
    const Provider* provider = nullptr;  ///< null: it was refused before anything was done
    std::string body;
    bool at_most_once = false;
    bool scheduled = false;
    bool mortal = false;  ///< to the devices that die
};

/// What the hub has told about an installation: the last state it acknowledged, and those it may
/// have taken since.
struct Written {
    std::string acknowledged;
    std::set<std::string> doubtful;
};

/// Figures of the end, for the report.
struct Sums {
    std::uint64_t sends = 0, acknowledged_sends = 0, changes = 0, pushes = 0;
    std::uint64_t doubled = 0;       ///< pushes of at-least-once sends beyond the first to a device
    std::uint64_t missed = 0;        ///< devices that an at-most-once send did not reach
    std::uint64_t told_unknown = 0;  ///< devices that such a send does not call reached
    std::uint64_t refusals = 0;      ///< 503 with Retry-After
    std::uint64_t retired_devices = 0;
};

class Load {
  public:
    struct Options {
        std::uint64_t seed = 1;
        int devices = 300;  ///< of each provider, that never change
        double settle_s = 180;
        /// No send that waits for a time, none that a lost checkpoint would double.
        bool lossy = false;
    };
    Load(Hub& hub, Verdict& verdict, const Options& options);
    ~Load() { stop(); }

    void populate();
    void start();
    void stop();  ///< idempotent
    /// Returns once no request of ours is open; until resume(). Throws after settle_s.
    void pause();
    void resume() { paused_ = false; }
    /// pause(), and waits until no send is open or scheduled. Throws after settle_s.
    void quiesce();

    /// Posts a send at least once that takes ten seconds; its body. Throws.
    std::string post_slow();
    std::size_t received(const std::string& body);  ///< pushes of such a send

    std::size_t acknowledged_sends() const;
    std::size_t changes() const { return changes_; }
    std::uint64_t refusals() const { return refused_; }

    /// Everything acknowledged is there, every send has reached whom it had to, and the store is
    /// sound. Stops the hub.
    void check();
    /// For a store that has lost acknowledged writes: every send that it knows of ends with figures
    /// that add up, and the store is sound. Stops the hub.
    void check_lossy();
    const Sums& sums() const { return sums_; }

  private:
    struct Worker {
        std::mt19937_64 random;
        std::unique_ptr<hub::HubClient> client;
    };
    void work(std::uint64_t number, const std::function<void(Worker&)>& step);
    void post_send(Worker& worker, bool scheduled);
    void put_moving(Worker& worker);
    void strike_dead(Worker& worker);
    bool is_refusal(const hub::ClientReply& reply);

    std::size_t add_send(const Sent& sent);
    void set_send(std::size_t slot, const Sent& sent);
    void check_sends(hub::HubClient& client);
    void post_last_mortal(hub::HubClient& client);
    void check_installations(hub::HubClient& client);
    void check_store();

    Hub& hub_;
    Verdict& verdict_;
    const Options options_;
    std::vector<std::thread> workers_;
    std::atomic<bool> stopping_ = false, paused_ = false;
    std::atomic<std::size_t> resting_ = 0;
    std::atomic<std::size_t> changes_ = 0;
    std::atomic<std::uint64_t> refused_ = 0;
    Sums sums_;

    mutable std::mutex mutex_;  ///< guards what follows
    std::vector<Sent> sends_;
    std::map<std::string, Written> moving_;
    std::map<std::string, const Provider*> dead_;
};

// --- requests ---

std::string handle_of(std::string_view platform, std::uint64_t number);
std::string body_of(std::string_view platform, const std::string& mark);
hub::ClientRequest put_installation(const std::string& id, const Provider& provider,
                                    const std::string& handle, const std::string& tag);
hub::ClientRequest message(const Provider& provider, const std::string& tag, std::string body);
hub::ClientReply get_installation(hub::HubClient& client, const std::string& id);
bool has_tag(const hub::ClientReply& reply, const std::string& tag);

}  // namespace torture
