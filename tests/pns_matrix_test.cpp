// The acceptance invariants of docs/contracts/pns.md 8.9 for every provider, fault and delivery
// mode: a seeded part of the cells with all tests, all of them by scripts/fault-matrix.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>

#include "pns/clock.hpp"
#include "tests/support/fault_cell.hpp"

namespace {

using support::Cell;
using support::CellResult;
using support::Mode;

std::vector<Cell> all_cells(std::uint64_t seed) {
    std::vector<Cell> out;
    for (const std::string& platform : pns::sim::sim_platform_names()) {
        const bool h1 = pns::sim::sim_platform(platform)->alpn.front() == "http/1.1";
        for (const auto& row : pns::sim::fault_rows()) {
            if (h1 && !row.h1) continue;
            if (row.number == 28) continue;  // names: see the test of its own
            if (row.point == pns::sim::FaultPoint::token &&
                (platform == "apns" || platform == "browser"))
                continue;
            for (const Mode mode : {Mode::at_least_once, Mode::at_most_once})
                out.push_back({platform, &row, mode, seed, {}});
        }
    }
    return out;
}

/// Several faults at once, with bad pushes among the good ones.
std::vector<Cell> all_mixtures(std::uint64_t seed) {
    using Faults = std::vector<std::pair<int, std::string_view>>;
    std::vector<Cell> out;
    for (const Faults& faults :
         {Faults{{1, ""}, {2, ""}, {7, ""}, {10, ""}, {18, "body"}},
          Faults{{15, ""}, {8, ""}, {16, ""}, {36, ""}},
          Faults{
              {36, ""}, {1, ""}, {3, ""}, {7, ""}, {8, "cancel"}, {9, ""}, {19, ""}, {20, ""}}}) {
        for (const std::string& platform : pns::sim::sim_platform_names()) {
            const bool h1 = pns::sim::sim_platform(platform)->alpn.front() == "http/1.1";
            std::vector<const pns::sim::FaultRow*> rows;
            for (const auto& [number, variant] : faults) {
                const auto* row = pns::sim::fault_row(number, variant);
                // Huawei says in the body whether the push was taken.
                const bool spoils = platform == "hms" && number == 18;
                if ((!h1 || row->h1) && !spoils) rows.push_back(row);
            }
            if (rows.size() < 2) continue;
            const std::vector<const pns::sim::FaultRow*> others(rows.begin() + 1, rows.end());
            for (const Mode mode : {Mode::at_least_once, Mode::at_most_once})
                out.push_back({platform, rows.front(), mode, seed, others});
        }
    }
    return out;
}

std::string faults_of(const Cell& cell) {
    std::string out = pns::sim::fault_name(*cell.row);
    for (const auto* row : cell.others) out += ", " + pns::sim::fault_name(*row);
    return out + (cell.others.empty() ? "" : "; good and bad pushes");
}

std::string name_of(const Cell& cell) {
    return cell.platform + ", " + faults_of(cell) +
           (cell.mode == Mode::at_least_once ? ", at-least-once" : ", at-most-once");
}

std::uint64_t seed_or(std::uint64_t otherwise) {
    const char* given = std::getenv("PUSHHUB_MATRIX_SEED");
    return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

std::string line_of(const Cell& cell, const CellResult& r) {
    std::string problems;
    for (const auto& problem : r.problems) problems += (problems.empty() ? "" : "; ") + problem;
    const auto& c = r.counters;
    std::string out = "| " + cell.platform + " | " + faults_of(cell) + " | " +
                      (cell.mode == Mode::at_least_once ? "at-least-once" : "at-most-once");
    for (const std::uint64_t n :
         {r.struck, static_cast<std::uint64_t>(r.delivered), static_cast<std::uint64_t>(r.dead),
          static_cast<std::uint64_t>(r.refused), static_cast<std::uint64_t>(r.deferred),
          static_cast<std::uint64_t>(r.unknown), c.received, c.doubles, c.streams_peak, c.connects,
          c.tokens_minted})
        out += " | " + std::to_string(n);
    return out + " | " + (problems.empty() ? "ok" : "**" + problems + "**") + " |\n";
}

}  // namespace

TEST_CASE("senders keep their promises under a seeded part of all faults", "[pns]") {
    const std::uint64_t seed = seed_or(1);
    INFO("PUSHHUB_MATRIX_SEED=" << seed);
    std::vector<Cell> cells = all_cells(seed);
    std::mt19937_64 random(seed);
    std::shuffle(cells.begin(), cells.end(), random);
    std::set<int> numbers;
    constexpr std::size_t numbers_min = 12;  // however slow the machine
    const auto until_ms = pns::system_clock().steady_ms() + 5'000;
    for (const Cell& cell : cells) {
        if (numbers.size() >= numbers_min && pns::system_clock().steady_ms() > until_ms) break;
        if (!numbers.insert(cell.row->number).second) continue;
        const CellResult result = support::CellRun(cell).run();
        for (const std::string& problem : result.problems) {
            INFO(name_of(cell) << ": " << problem);
            CHECK(problem.empty());
        }
    }
    CHECK(numbers.size() >= numbers_min);
}

TEST_CASE("a sender keeps its promises under several faults at once", "[pns]") {
    for (const Cell& cell : all_mixtures(seed_or(1))) {
        if (cell.platform != "apns" && cell.platform != "wns") continue;
        const CellResult result = support::CellRun(cell).run();
        for (const std::string& problem : result.problems) {
            INFO(name_of(cell) << ": " << problem);
            CHECK(problem.empty());
        }
        CHECK(result.struck > 0);
    }
}

TEST_CASE("senders keep their promises under every fault", "[.matrix]") {
    const std::uint64_t seed = seed_or(1);
    const char* path = std::getenv("PUSHHUB_MATRIX_REPORT");
    const char* only = std::getenv("PUSHHUB_MATRIX_ONLY");
    std::ofstream report(path ? path : "/dev/null");
    report << "| provider | fault | mode | struck | delivered | dead | refused | deferred | "
              "unknown | received | doubles | streams | connects | tokens | verdict |\n"
              "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n";
    std::size_t good = 0, bad = 0;
    std::vector<Cell> cells = all_cells(seed);
    for (Cell& cell : all_mixtures(seed)) cells.push_back(std::move(cell));
    for (const Cell& cell : cells) {
        if (only && name_of(cell).find(only) == std::string::npos) continue;
        const CellResult result = support::CellRun(cell).run();
        (result.problems.empty() ? good : bad) += 1;
        report << line_of(cell, result) << std::flush;
        for (const std::string& problem : result.problems) {
            std::cout << name_of(cell) << " (" << result.ms << " ms): " << problem << std::endl;
            INFO(name_of(cell) << ": " << problem);
            CHECK(problem.empty());
        }
    }
    std::cout << "seed " << seed << ": " << good << " cells kept every promise, " << bad
              << " did not" << std::endl;
}

TEST_CASE("a name with a dead first address is reached, one without address is reported", "[pns]") {
    const auto sim = support::start_sim("adm");
    const auto outcome = [&](const std::string& target) {
        pns::Network network;
        network.ca_file = support::test_ca_file();
        for (const char* host : {"api.amazon.com"})
            network.connect_to.push_back(std::string(host) + ":443=" + target);
        boost::asio::io_context io{1};
        pns::BearerCache bearers{pns::system_clock()};
        auto settings = pns::default_settings("adm");
        settings.request_timeout_ms = settings.connect_timeout_ms = 400;
        auto sender = pns::Sender::create(io, support::made_credential("adm").credential, settings,
                                          network, bearers);
        struct Owner final : pns::PushOwner {
            void on_verdict(pns::Push&, pns::Verdict&& v) override {
                verdict.emplace(std::move(v));
                done();
            }
            std::optional<pns::Verdict> verdict;
            std::function<void()> done;
        } owner;
        pns::Nursery nursery(io.get_executor());
        owner.done = [&, stopping = false]() mutable {
            if (!std::exchange(stopping, true)) nursery.start(sender->stop(100));
        };
        // Of two pushes to a provider that is not there one comes back, the other is the next
        // probe.
        const auto message = support::cell_message("adm");
        auto prepared = sender->prepare(message);
        std::array<pns::Push, 2> pushes;
        for (pns::Push& push : pushes) {
            push.handle = "handle:1";
            push.prepared = std::get<std::shared_ptr<const pns::Prepared>>(prepared);
            push.owner = &owner;
            sender->submit(push);
        }
        io.run_for(std::chrono::seconds(10));
        return owner.verdict->kind();
    };
    // localhost is ::1 too, where nobody listens.
    CHECK(outcome("localhost:" + std::to_string(sim->port())) == pns::Verdict::Kind::accepted);
    CHECK(outcome("nowhere.invalid:443") == pns::Verdict::Kind::not_sent);
}
