// Damages a hub at work and compares in the end what it acknowledged with what the simulated
// providers received: SIGKILL at random moments, the end of its log lost, its disk full or
// read-only.
//
// A program of its own: the hub is another process, the simulators live in this one and survive.
// The last line is `N passed, N failed`; the status is 0 if nothing failed.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/machine.hpp"
#include "tests/support/bad_disk.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/torture_hub.hpp"
#include "tests/torture_load.hpp"

namespace torture {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
    std::string pushhub;
    unsigned kills = 20, tails = 0, full = 0, read_only = 0, cuts = 0;
    std::uint64_t seed = 1;
    int devices = 300;
    double settle_s = 180, minutes = 0;  ///< 0: as long as it takes
    bool keep = false;
    std::string report;
};

/// How many of each there were.
struct Strokes {
    unsigned kills = 0, tails = 0, full = 0, read_only = 0, cuts = 0;
    unsigned all() const { return kills + tails + full + read_only + cuts; }
};

/// What a hub needs to get well while it runs, and what it has to go on with.
constexpr std::uint64_t disk_bytes = 512u << 20, disk_well_bytes = 6u << 20,
                        disk_free_bytes = 30u << 20;
constexpr double refusal_s_max = 20, recovery_s_max = 20, reads_back_s_max = 2;

double seconds_since(Clock::time_point begun) {
    return std::chrono::duration<double>(Clock::now() - begun).count();
}

void sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

/// A directory, a disk if asked for, a hub, its clients: everything that is new for each run.
class Run {
  public:
    Run(const Options& options, Verdict& verdict, bool lossy, bool own_disk)
        : options_(options),
          verdict_(verdict),
          directory_(std::filesystem::temp_directory_path() /
                     ("pushhub-torture-" + std::to_string(::getpid()) + (lossy ? "-cuts" : ""))),
          random_(options.seed) {
        std::filesystem::create_directories(directory_ / "disk");
        if (own_disk) {
            disk_.emplace(directory_ / "disk", disk_bytes);
            disk_->leave_free(disk_free_bytes);
        }
        hub_ = std::make_unique<Hub>(options.pushhub, directory_, directory_ / "disk" / "hub",
                                     options.seed);
        Load::Options load;
        load.seed = options.seed;
        load.devices = options.devices;
        load.settle_s = options.settle_s;
        load.lossy = lossy;
        load_ = std::make_unique<Load>(*hub_, verdict_, load);
    }

    ~Run() {
        load_.reset();
        std::ofstream(directory_ / "hub.txt") << hub_->log().text();
        hub_.reset();
        disk_.reset();
        std::error_code ignored;
        if (options_.keep) {
            std::printf("left behind: %s\n", directory_.c_str());
        } else {
            std::filesystem::remove_all(directory_, ignored);
        }
    }

    /// Kills, lost ends of the log, full and read-only disks, in random order; then the verdict.
    void strike() {
        enum class Stroke { kill, tail, full, read_only };
        std::vector<Stroke> strokes(options_.kills, Stroke::kill);
        strokes.insert(strokes.end(), options_.tails, Stroke::tail);
        if (disk_) {
            strokes.insert(strokes.end(), options_.full, Stroke::full);
            strokes.insert(strokes.end(), options_.read_only, Stroke::read_only);
        }
        std::shuffle(strokes.begin(), strokes.end(), random_);
        begin();
        for (std::size_t i = 0; i < strokes.size() && !late(); ++i) {
            if (strokes[i] == Stroke::kill) {
                sleep_ms(between(20, 1'500));
                hub_->kill();
                restart();
                ++done_.kills;
            } else if (strokes[i] == Stroke::tail) {
                lose_tail();
                ++done_.tails;
            } else {
                const bool full = strokes[i] == Stroke::full;
                starve(full);
                ++(full ? done_.full : done_.read_only);
            }
            if ((i + 1) % 10 == 0 || i + 1 == strokes.size()) progress(i + 1, strokes.size());
        }
        load_->check();
    }

    /// The newest log cut or damaged anywhere, acknowledged writes included.
    void cut() {
        begin();
        for (unsigned i = 1; i <= options_.cuts && !late(); ++i) {
            sleep_ms(between(20, 1'000));
            load_->pause();
            hub_->kill();
            cut_anywhere();
            ++done_.cuts;
            load_->resume();
            if (i % 10 == 0 || i == options_.cuts) progress(i, options_.cuts);
        }
        load_->check_lossy();
    }

    const Sums& sums() const { return load_->sums(); }
    const Strokes& done() const { return done_; }
    double slowest_start_s() const { return slowest_start_s_; }
    double slowest_recovery_s() const { return slowest_recovery_s_; }
    unsigned refused_starts() const { return refused_starts_; }
    unsigned torn() const { return torn_; }

  private:
    bool late() const {
        return options_.minutes > 0 && seconds_since(begun_) > options_.minutes * 60;
    }
    int between(int least, int most) {
        return std::uniform_int_distribution<int>(least, most)(random_);
    }
    std::uint64_t offset(std::uint64_t least, std::uint64_t most) {
        return std::uniform_int_distribution<std::uint64_t>(least, most)(random_);
    }

    void begin() {
        hub_->start();
        load_->populate();
        load_->start();
    }

    void restart() { slowest_start_s_ = std::max(slowest_start_s_, hub_->start()); }

    void progress(std::size_t done, std::size_t all) const {
        std::printf("  %zu of %zu: %zu sends and %zu changes acknowledged, slowest start %.2f s\n",
                    done, all, load_->acknowledged_sends(), load_->changes(), slowest_start_s_);
        std::fflush(stdout);
    }

    /// Nothing in the trace is synced: its log may end anywhere after a power cut.
    void cut_trace() {
        const auto log = newest_log(hub_->trace());
        if (log.empty()) return;
        damage(log, Damage::cut, offset(0, std::filesystem::file_size(log)), random_);
    }

    /// Writes that nobody was told of are lost from a random byte on. What is left must be all
    /// changes up to one of them, and none behind it.
    void lose_tail() {
        sleep_ms(between(20, 500));
        load_->quiesce();
        const auto before = newest_log(hub_->store());
        const std::uint64_t told = std::filesystem::file_size(before);
        std::atomic<bool> stop = false;
        std::thread client([this, &stop] {
            try {
                const auto own = hub_->connect();
                while (!stop) {
                    const std::uint64_t change = ++tail_changes_;
                    own->call(put_tail(change));
                    if (change % 8 != 0) continue;
                    const Provider& provider = providers[change % std::size(providers)];
                    own->call(
                        message(provider, "fixed",
                                body_of(provider.platform, "tail " + std::to_string(change))));
                }
            } catch (const std::exception&) {  // killed
            }
        });
        sleep_ms(between(20, 400));
        hub_->kill();
        stop = true;
        client.join();
        const auto log = newest_log(hub_->store());
        const std::uint64_t from = log == before ? told : 0;
        const std::uint64_t size = std::filesystem::file_size(log);
        constexpr std::array ways{Damage::cut, Damage::zeros, Damage::garbage};
        if (size > from) {
            damage(log, ways[random_() % ways.size()], offset(from, size - 1), random_);
        }
        cut_trace();
        const bool whole = log_ends_whole(log);
        const std::size_t said = hub_->log().size();
        restart();
        if (!whole) expect_notice(said);
        check_tail();
        load_->resume();
    }

    static hub::ClientRequest put_tail(std::uint64_t change) {
        return put_installation("t-" + std::to_string(change % tail_devices), providers[0],
                                handle_of(providers[0].platform, 3'000'000 + change),
                                "change:" + std::to_string(change));
    }

    void check_tail() {
        const auto client = hub_->connect();
        std::array<std::uint64_t, tail_devices> found{};
        std::uint64_t last = 0;
        for (std::uint64_t i = 0; i < tail_devices; ++i) {
            const auto reply = get_installation(*client, "t-" + std::to_string(i));
            constexpr std::string_view name = "\"change:";
            const auto at = reply.body.find(name);
            if (reply.status == 200 && at != std::string::npos)
                found[i] = std::stoull(reply.body.substr(at + name.size()));
            last = std::max(last, found[i]);
        }
        verdict_.expect(last >= tail_kept_, "a change from before the lost tail is missing");
        for (std::uint64_t i = 0; i < tail_devices; ++i) {
            // Changes of one stroke follow each other; those that were lost left a gap.
            std::uint64_t expected = tail_found_[i];
            for (std::uint64_t change = tail_first_; change <= last; ++change) {
                if (change % tail_devices == i) expected = change;
            }
            verdict_.expect(found[i] == expected, "t-" + std::to_string(i) + " has change " +
                                                      std::to_string(found[i]) + ", not " +
                                                      std::to_string(expected));
        }
        tail_found_ = found;
        tail_kept_ = last;
        tail_first_ = tail_changes_ + 1;
    }

    /// A log that does not end with a whole batch is worth a line.
    void expect_notice(std::size_t said) {
        ++torn_;
        verdict_.expect(hub_->log().says("the end of the log was torn", said),
                        "the hub says nothing of a log that ends within a batch");
    }

    void cut_anywhere() {
        const auto log = newest_log(hub_->store());
        const std::uint64_t size = std::filesystem::file_size(log);
        cut_trace();
        if (size == 0) return restart();
        const auto copy = directory_ / "log.copy";
        std::filesystem::copy_file(log, copy, std::filesystem::copy_options::overwrite_existing);
        const auto way = static_cast<Damage>(random_() % 4);
        damage(log, way, offset(0, size - 1), random_);
        const bool whole = log_ends_whole(log);
        const std::size_t said = hub_->log().size();
        const auto begun = Clock::now();
        if (hub_->try_start()) {
            slowest_start_s_ = std::max(slowest_start_s_, seconds_since(begun));
            if (!whole) expect_notice(said);
            return;
        }
        ++refused_starts_;
        verdict_.expect(
            hub_->log().says("cannot be opened: its files are damaged", said),
            "the hub refuses a damaged log without a reason: " + hub_->log().text().substr(said));
        verdict_.expect(way == Damage::flip, "a log that only lacks its end was refused");
        std::filesystem::copy_file(copy, log, std::filesystem::copy_options::overwrite_existing);
        restart();
    }

    /// The disk is full, or read-only, while the load goes on.
    void starve(bool full) {
        sleep_ms(between(20, 800));
        const std::string what = full ? "full: " : "read-only: ";
        const std::string slow = load_->post_slow();
        const std::uint64_t before = load_->refusals();
        if (full) {
            disk_->leave_free(offset(0, 64u << 10));
        } else {
            disk_->make_read_only(hub_->data(), hub_->pid());
        }
        const auto is_refused = [&] { return load_->refusals() > before + 2; };
        bool refused = support::comes_true(is_refused, 2);
        if (!refused && full) disk_->leave_free(0);
        refused = refused || support::comes_true(is_refused, refusal_s_max);
        verdict_.expect(refused, what + "writes are not refused");
        verdict_.expect(support::comes_true([&] { return hub_->plain("/readyz") == 503; }, 5),
                        what + "/readyz does not say so");
        verdict_.expect(hub_->plain("/healthz") == 200, what + "/healthz says no");
        verdict_.expect(hub_->metric("pushhub_store_writable") == 0, what + "the metric says 1");
        check_reads(what);
        check_stalls(what, slow);
        sleep_ms(between(0, 1'000));
        if (random_() % 3 == 0) return kill_starved(full, what);
        if (full) {
            disk_->leave_free(disk_well_bytes);
        } else {
            end_starvation(full);
        }
        const auto begun = Clock::now();
        const bool recovered =
            support::comes_true([this] { return hub_->plain("/readyz") == 200; }, recovery_s_max);
        slowest_recovery_s_ = std::max(slowest_recovery_s_, seconds_since(begun));
        if (full) end_starvation(full);
        verdict_.expect(hub_->running(), what + "the hub ended");
        verdict_.expect(recovered, what + "no recovery without a restart");
        if (!recovered) {
            hub_->kill();
            return restart();
        }
        verdict_.expect(hub_->metric("pushhub_store_writable") == 1, what + "the metric says 0");
        check_writes(what);
    }

    void end_starvation(bool full) {
        if (full) {
            disk_->leave_free(disk_free_bytes);
        } else {
            disk_->make_writable(hub_->running() ? hub_->pid() : 0);
        }
    }

    void kill_starved(bool full, const std::string& what) {
        hub_->kill();
        const std::size_t said = hub_->log().size();
        if (hub_->try_start()) {
            verdict_.expect(full, what + "the hub starts without a disk to write to");
            hub_->kill();
        } else {
            ++refused_starts_;
            verdict_.expect(hub_->log().says("cannot", said),
                            what + "the hub does not say why it does not start: " +
                                hub_->log().text().substr(said));
        }
        end_starvation(full);
        restart();
    }

    /// A hub that opens its store again answers reads 503, for some hundredths of a second.
    void check_reads(const std::string& what) {
        try {
            const auto client = hub_->connect();
            const auto key = std::string("f-") + providers[0].platform + "-0";
            auto reply = get_installation(*client, key);
            const bool says_when = reply.status != 503 || !reply.header("retry-after").empty();
            verdict_.expect(says_when, what + "reading is answered 503 without Retry-After");
            const auto answered = [&] {
                if (reply.status == 503) reply = get_installation(*client, key);
                return reply.status == 200;
            };
            const bool back = support::comes_true(answered, reads_back_s_max);
            verdict_.expect(back, what + "reading is answered " + std::to_string(reply.status));
        } catch (const std::exception& error) {
            verdict_.wrong(what + "reading: " + error.what());
        }
    }

    /// What goes out without progress on disk would go out again after a crash.
    void check_stalls(const std::string& what, const std::string& slow) {
        const auto is_still = [&] {
            const std::size_t before = load_->received(slow);
            sleep_ms(500);
            return load_->received(slow) == before;
        };
        const bool stalls = support::comes_true(is_still, 5);
        const auto all = static_cast<std::size_t>(options_.devices);
        verdict_.expect(stalls && load_->received(slow) < all,
                        what + "a send goes on whose progress cannot be written");
    }

    void check_writes(const std::string& what) {
        const auto client = hub_->connect();
        const auto reply = client->call(put_installation(
            "w-0", providers[0], handle_of(providers[0].platform, 4'000'000), "written"));
        verdict_.expect(reply.status == 200,
                        what + "afterwards a write is answered " + std::to_string(reply.status));
    }

    static constexpr std::uint64_t tail_devices = 10;

    const Options& options_;
    Verdict& verdict_;
    std::filesystem::path directory_;
    std::mt19937_64 random_;
    std::optional<BadDisk> disk_;
    std::unique_ptr<Hub> hub_;
    std::unique_ptr<Load> load_;
    std::uint64_t tail_changes_ = 0, tail_first_ = 1, tail_kept_ = 0;
    std::array<std::uint64_t, tail_devices> tail_found_{};
    const Clock::time_point begun_ = Clock::now();
    Strokes done_;
    double slowest_start_s_ = 0, slowest_recovery_s_ = 0;
    unsigned refused_starts_ = 0, torn_ = 0;
};

std::string fixed(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

std::string today() {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    char text[16];
    std::strftime(text, sizeof text, "%Y-%m-%d", &utc);
    return text;
}

void print_sums(const Run& run) {
    const Sums& sums = run.sums();
    std::printf(
        "%llu sends, %llu pushes; at-least-once doubled %llu (%.1f a stroke); at-most-once missed "
        "%llu, all told as not delivered (%llu in doubt); %llu answers 503; slowest start %.2f s, "
        "slowest recovery %.2f s; %u starts refused, %u torn logs\n",
        static_cast<unsigned long long>(sums.sends), static_cast<unsigned long long>(sums.pushes),
        static_cast<unsigned long long>(sums.doubled),
        static_cast<double>(sums.doubled) / std::max(1U, run.done().all()),
        static_cast<unsigned long long>(sums.missed),
        static_cast<unsigned long long>(sums.told_unknown),
        static_cast<unsigned long long>(sums.refusals), run.slowest_start_s(),
        run.slowest_recovery_s(), run.refused_starts(), run.torn());
}

constexpr const char* report_head = R"(# Crash safety

What a hub keeps when its process is killed, the end of its log is lost, or its disk is full or read-only. Written by
`torture --report`; the figures are those of one run.

)";

constexpr const char* report_tail = R"(
## What is done to the hub

While clients register, send at once and by schedule, and providers call handles dead, in random order:

| Stroke | What happens | What must hold |
|---|---|---|
| kill | SIGKILL, new start | all of the list below |
| lost tail | at rest the size of the newest log is noted; then changes go on one after the other, SIGKILL, and the log is cut, zeroed or overwritten at a random byte behind that size; the trace's log is cut anywhere | what was acknowledged before is there; of the changes behind it all up to one are there and none after it; a log that ends within a batch is told in the hub's log |
| full disk | the disk has 0 to 64 KiB left | writes answer 503 with `Retry-After`, reads answer, `/readyz` 503, `/healthz` 200; a send under way stops; with 6 MiB free the hub goes on by itself |
| read-only disk | opening, creating, renaming fail with EROFS, writing to open files with EFBIG | the same |
| killed starving | a third of the full and read-only disks: SIGKILL before the disk is well | the start is refused with a reason, or works; with a sound disk everything acknowledged is there |
| cut anywhere | the newest log is cut, zeroed, overwritten or flipped at any byte, acknowledged writes included | the hub opens with all batches before the damage and says in its log that the end is torn, or refuses to start and says why; the counts of every send that is left add up |

In the end:

- every registration has the state that was acknowledged last, or a later one whose answer never came or was 503;
- every send answered 201 becomes final and counts each device once; at least once reaches every device; at most once
  reaches none twice, and calls each device that it may not have reached `Unknown`;
- every dead handle is retired, and no other;
- indices, postings and counts of the store agree (`Registry::verify`).

## What a cut log can and cannot tell

Every batch is synced before its answer goes out, so after a power cut only a batch that nobody was told of can be torn. It
is dropped, and the hub logs `the end of the log was torn`. Damage that a sound batch follows lies among acknowledged
writes: the hub refuses to start. A log that is cut exactly between two batches looks like one that ended there: if a disk
loses synced writes in this way no store on that disk can know.

## Full and read-only disks

A write that fails changes nothing that can be read, and its request is answered 503 with `Retry-After: 5`. What it left
in the log is cut off before the hub goes on. Only if the process ends before that, a change whose bytes were written and
whose sync failed may be there afterwards, as after a lost connection: repeat the request, with an `Idempotency-Key` if it
must not be done twice. Sends hand out nothing new while their progress cannot be written. The hub tries the disk at every
write and once a second without one, and needs no restart. 4 MiB of free space are enough for that: the log is not
reserved ahead, and what it holds stays in memory. After a table could not be written as much more is needed as the logs
hold, up to 130 MiB; so it is for a hub that was ended on a full disk. While it opens its store again, some hundredths of
a second, reads answer 503. Where the disk is full once more just then, the store is opened for reading, and reads go on.
A hub does not start on a disk it cannot write to, and says why.
`disk_free_mib_min` (256) refuses sends with 429 long before the disk is full.
)";

void write_report(const Options& options, const std::string& commit, const Run& run,
                  const Run* cuts, const Verdict& verdict, double took_s) {
    const Sums& sums = run.sums();
    const Strokes& done = run.done();
    std::ofstream out(options.report);
    const auto row = [&out](const std::string& name, const std::string& value) {
        out << "| " << name << " | " << value << " |\n";
    };
    const auto number = [](std::uint64_t value) { return std::to_string(value); };
    out << report_head << "| | |\n|---|---|\n";
    row("date", today());
    row("commit", commit);
#ifdef __SANITIZE_ADDRESS__
    row("build", "with address and undefined behaviour sanitizers");
#endif
    row("seed", number(options.seed));
    row("took", fixed(took_s / 60, 1) + " min");
    row("checks", number(verdict.passed() + verdict.failed()));
    row("failures", number(verdict.failed()));
    row("kills", number(done.kills));
    row("lost tails", number(done.tails));
    row("full disks", number(done.full));
    row("read-only disks", number(done.read_only));
    row("logs cut anywhere", cuts != nullptr ? number(cuts->done().cuts) : "0");
    row("sends acknowledged", number(sums.acknowledged_sends));
    row("changes acknowledged", number(sums.changes));
    row("requests answered 503", number(sums.refusals));
    row("pushes, the first to each device", number(sums.pushes));
    row("checkpoint interval", std::to_string(checkpoint_ms) + " ms");
    row("pushes doubled, at least once",
        number(sums.doubled) + ", " +
            fixed(static_cast<double>(sums.doubled) / std::max(1U, run.done().all()), 1) +
            " a stroke");
    row("pushes doubled, at most once", "0 allowed; each is a failure");
    row("devices missed, at most once", number(sums.missed) + ", all told as not delivered");
    row("slowest start after a stroke", fixed(run.slowest_start_s(), 2) + " s");
    row("slowest recovery of a disk", fixed(run.slowest_recovery_s(), 2) + " s");
    if (cuts != nullptr) {
        row("cut logs told as torn", number(cuts->torn()));
        row("damaged logs refused with a reason", number(cuts->refused_starts()));
    }
    out << "\nAgain: `torture --kills " << options.kills << " --tails " << options.tails
        << " --full " << options.full << " --read-only " << options.read_only << " --cuts "
        << options.cuts << " --minutes " << options.minutes << " --devices " << options.devices
        << " --seed " << options.seed
        << "`. Moments are those of the machine: the seed gives the same plan, not the same run.\n"
        << report_tail;
}

int run_all(Options options) {
    std::string why;
    const bool disk = options.full + options.read_only > 0 && BadDisk::allowed(why);
    if (!disk && options.full + options.read_only > 0) {
        std::printf("skipped: full and read-only disks: %s\n", why.c_str());
        options.full = options.read_only = 0;
    }
    // A hub whose files may not grow gets an error, as from any other disk that fails.
    std::signal(SIGXFSZ, SIG_IGN);
    Verdict verdict;
    const std::string commit = bench::commit_description();
    const auto begun = Clock::now();
    std::unique_ptr<Run> run, cuts;
    if (options.kills + options.tails + options.full + options.read_only > 0) {
        run = std::make_unique<Run>(options, verdict, false, disk);
        run->strike();
        print_sums(*run);
    }
    if (options.cuts > 0) {
        cuts = std::make_unique<Run>(options, verdict, true, false);
        cuts->cut();
        std::printf("%u logs cut anywhere: %u told as torn, %u refused with a reason\n",
                    cuts->done().cuts, cuts->torn(), cuts->refused_starts());
    }
    if (!options.report.empty() && run)
        write_report(options, commit, *run, cuts.get(), verdict, seconds_since(begun));
    std::printf("seed %llu: %u passed, %u failed\n", static_cast<unsigned long long>(options.seed),
                verdict.passed(), verdict.failed());
    return verdict.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace torture

int main(int argc, char** argv) {
    CLI::App app("Kills a hub, spoils its disk, and checks that it kept every promise.", "torture");
    torture::Options options;
    options.pushhub = bench::hub_program();
    const auto count = CLI::Range(0, 100'000);
    app.add_option("--kills", options.kills, "how often the hub is killed")->check(count);
    app.add_option("--tails", options.tails, "how often it loses unacknowledged writes as well")
        ->check(count);
    app.add_option("--full", options.full, "how often its disk is full")->check(count);
    app.add_option("--read-only", options.read_only, "how often its disk is read-only")
        ->check(count);
    app.add_option("--cuts", options.cuts,
                   "how often, in a run of its own, its log is cut or damaged anywhere")
        ->check(count);
    app.add_option("--seed", options.seed, "of the moments and of what is posted");
    app.add_option("--devices", options.devices, "that never change, of each provider")
        ->check(CLI::Range(10, 100'000));
    app.add_option("--minutes", options.minutes, "after which no more is done, for each run")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--pushhub", options.pushhub, "the program to kill");
    app.add_option("--report", options.report, "write the figures to this file, as Markdown");
    app.add_flag("--keep", options.keep, "leave the directory for a look");
    CLI11_PARSE(app, argc, argv);
    try {
        return torture::run_all(options);
    } catch (const std::exception& error) {
        std::printf("torture: %s\n0 passed, 1 failed\n", error.what());
        return 1;
    }
}
