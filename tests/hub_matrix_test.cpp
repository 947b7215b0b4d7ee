// Delivery modes and pruning of the whole hub under faults (docs/contracts/pns.md 8.9): a few cells
// and one mixture with all tests, all of them by scripts/fault-matrix.

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>

#include "tests/support/mixture.hpp"
#include "tests/support/world.hpp"

namespace {

using pns::sim::FaultEffect;
using support::handle_of;
using support::id_of;
using support::World;

constexpr int devices = 30;

struct Cell {
    std::string platform;
    int number;
    std::string_view variant;
    bool at_least_once;
};

std::vector<Cell> all_cells() {
    std::vector<Cell> out;
    const std::vector<std::pair<int, std::string_view>> faults = {
        {1, ""},      {2, ""},  {3, ""},  {7, ""},         {8, ""},      {8, "cancel"}, {9, ""},
        {10, ""},     {15, ""}, {16, ""}, {16, "headers"}, {17, ""},     {21, ""},      {24, ""},
        {30, "push"}, {36, ""}, {32, ""}, {33, ""},        {33, "after"}};
    for (const auto& platform : support::all_platforms) {
        const bool h2 = platform == "apns" || platform == "fcmv1";
        for (const auto& [number, variant] : faults) {
            const auto* row = pns::sim::fault_row(number, variant);
            if (!h2 && !row->h1) continue;
            if (number == 33 && platform != "apns") continue;
            for (const bool at_least_once : {true, false})
                out.push_back({platform, number, variant, at_least_once});
        }
    }
    return out;
}

std::string name_of(const Cell& cell) {
    return cell.platform + ", " +
           pns::sim::fault_name(*pns::sim::fault_row(cell.number, cell.variant)) +
           (cell.at_least_once ? ", at-least-once" : ", at-most-once");
}

std::string format_of(const std::string& platform) {
    if (platform == "apns") return "apple";
    return platform == "wns" ? "windows" : platform;
}

std::string body_of(const std::string& platform) {
    if (platform == "apns") return support::apple_body;
    if (platform == "fcmv1") return R"({"message":{"data":{"a":"b"}}})";
    return platform == "wns" ? "<toast/>" : R"({"data":{"a":"b"}})";
}

/// A token that the hub itself signed minutes ago cannot have expired: Apple's word that it has is
/// told as a fault of the credential, which then rests.
bool distrusts_the_clock(const Cell& cell) {
    return cell.number == 24 && cell.platform == "apns";
}

std::string send(World& world, const Cell& cell) {
    std::vector<std::pair<std::string, std::string>> headers{
        {"servicebusnotification-format", format_of(cell.platform)},
        {"servicebusnotification-tags", cell.platform},
        {"pushhub-delivery", cell.at_least_once ? "at-least-once" : "at-most-once"}};
    if (cell.platform == "wns") headers.emplace_back("x-wns-type", "wns/toast");
    // A refused credential is waited out, and this one will be refused for 20 minutes.
    if (distrusts_the_clock(cell)) headers.emplace_back("pushhub-deadline", "PT5S");
    const auto reply = world.call("POST", "/app/messages", body_of(cell.platform), headers);
    INFO(reply.body);
    REQUIRE(reply.status == 201);
    std::string id(reply.header("location"));
    id = id.substr(0, id.find('?'));
    return id.substr(id.rfind('/') + 1);
}

void install(World& world, const std::string& platform) {
    for (int i = 0; i < devices; ++i)
        world.install(id_of(platform, i), platform, handle_of(platform, i),
                      R"("tags":[")" + platform + "\"]");
}

struct CellResult {
    std::vector<std::string> problems;
    std::uint64_t success = 0, unknown = 0, other = 0, struck = 0, doubles = 0, received = 0;
    int pruned = 0;
};

CellResult run(World& world, const Cell& cell, std::uint64_t seed) {
    CellResult result;
    const auto need = [&](bool good, const char* otherwise) {
        if (!good) result.problems.emplace_back(otherwise);
    };
    auto& sim = world.sim(cell.platform);
    sim.reset();
    pns::sim::Fault fault;
    fault.row = pns::sim::fault_row(cell.number, cell.variant);
    fault.share = 0.3;
    fault.times = cell.number == 24 ? 1 : 3;
    const bool one_dead = cell.number == 33;
    if (cell.number == 32 || one_dead) {
        fault.share = 1;
        fault.times = 0;
    }
    if (one_dead) fault.prefix = handle_of(cell.platform, 3);
    std::vector<pns::sim::Fault> faults(1, fault);
    sim.set_faults(std::move(faults), seed);
    const auto told = world.finish(send(world, cell));
    sim.set_faults({});

    result.success = static_cast<std::uint64_t>(told.devices("Success"));
    result.unknown = static_cast<std::uint64_t>(told.devices("Unknown"));
    result.other = static_cast<std::uint64_t>(told.devices()) - result.success - result.unknown;
    const auto counters = sim.counters();
    result.struck = counters.faults_total;
    result.doubles = counters.doubles;
    result.received = counters.received;
    std::map<std::string, int> taken;
    for (const auto& entry : sim.entries(true)) ++taken[entry.handle];
    for (int i = 0; i < devices; ++i) result.pruned += world.expired(id_of(cell.platform, i));

    need(told.devices() == devices, "not every device has an outcome");
    need(counters.above_limit == 0 && counters.after_goaway == 0, "streams where none may be");
    const bool ambiguous = fault.row->effect == FaultEffect::ambiguous;
    if (distrusts_the_clock(cell)) {
        need(result.success + result.other == devices, "neither delivered nor refused");
        need(result.success == counters.accepted && counters.doubles == 0, "not what was taken");
        need(result.pruned == 0, "pruned for a fault of the credential");
    } else if (cell.number == 32) {
        need(result.pruned == 0, "pruned although every handle was called dead");
        need(result.success == 0, "success although every handle was called dead");
    } else if (one_dead) {
        need(result.success == devices - 1, "the living were not all reached");
        need(result.pruned == (cell.variant == "after" ? 1 : 0), "pruned is not the truth");
    } else {
        need(result.pruned == 0, "a living handle was pruned");
        need(result.success + result.unknown == devices, "neither delivered nor unknown");
        if (cell.at_least_once) need(result.success == devices, "a loss in at-least-once");
        if (!cell.at_least_once || !ambiguous) need(counters.doubles == 0, "doubles");
        if (!ambiguous) need(result.unknown == 0, "doubt without reason");
        if (result.unknown == 0) need(taken.size() == devices, "called delivered, never taken");
    }
    if (one_dead && result.pruned > 0) install(world, cell.platform);
    return result;
}

/// Earlier successes of a credential speak for it: F32 is about one that has none. One that rests
/// would spoil the cells that follow.
CellResult run_alone_if_needed(World& shared, const Cell& cell, std::uint64_t seed) {
    if (cell.number != 32 && !distrusts_the_clock(cell)) return run(shared, cell, seed);
    World fresh;
    install(fresh, cell.platform);
    return run(fresh, cell, seed);
}

std::uint64_t number_or(const char* name, std::uint64_t otherwise) {
    const char* given = std::getenv(name);
    return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

std::uint64_t seed_or(std::uint64_t otherwise) {
    return number_or("PUSHHUB_MATRIX_SEED", otherwise);
}

std::vector<support::MixtureOrder> all_mixtures(std::uint64_t seed) {
    constexpr std::uint64_t rounds_usual = 12;
    const int rounds = static_cast<int>(number_or("PUSHHUB_MATRIX_ROUNDS", rounds_usual));
    using Faults = std::vector<std::pair<int, std::string_view>>;
    std::vector<support::MixtureOrder> out;
    for (const Faults& faults :
         {Faults{{1, ""}, {2, ""}, {7, ""}, {10, ""}},
          Faults{{8, ""}, {15, ""}, {16, ""}, {36, ""}},
          Faults{{19, ""}, {21, ""}, {22, ""}, {24, ""}},
          Faults{
              {1, ""}, {7, ""}, {8, "cancel"}, {15, ""}, {17, ""}, {19, ""}, {21, ""}, {36, ""}}}) {
        for (const char* platform : {"apns", "wns", "adm"}) {
            support::MixtureOrder order{platform, {}, rounds, seed};
            const bool h1 = std::string_view(platform) != "apns";
            for (const auto& [number, variant] : faults) {
                // Of a token that it signed itself the hub knows better: the credential would rest.
                if (number == 24 && !h1) continue;
                if (!h1 || pns::sim::fault_row(number, variant)->h1)
                    order.faults.emplace_back(number, variant);
            }
            out.push_back(std::move(order));
        }
    }
    return out;
}

std::string joined(const std::vector<std::string>& problems) {
    std::string out;
    for (const auto& problem : problems) out += (out.empty() ? "" : "; ") + problem;
    return out;
}

}  // namespace

TEST_CASE("a hub keeps its delivery modes under faults", "[hub]") {
    World shared;
    install(shared, "apns");
    const std::vector<Cell> cells = {{"apns", 2, "", true},   {"apns", 8, "", true},
                                     {"apns", 15, "", false}, {"apns", 32, "", true},
                                     {"apns", 33, "", true},  {"apns", 33, "after", true}};
    for (const Cell& cell : cells) {
        const CellResult result = run_alone_if_needed(shared, cell, seed_or(1));
        for (const std::string& problem : result.problems) {
            INFO(name_of(cell) << ": " << problem << " (success " << result.success << ", unknown "
                               << result.unknown << ", other " << result.other << ", pruned "
                               << result.pruned << ")");
            CHECK(problem.empty());
        }
    }
}

TEST_CASE("a hub keeps its promises in a mixture of faults, bad pushes and changing devices",
          "[hub]") {
    support::MixtureOrder order{"apns", {{1, ""}, {7, ""}, {15, ""}, {21, ""}}, 2, seed_or(1)};
    support::Mixture mixture(order);
    const auto result = mixture.run();
    CHECK(joined(result.problems) == "");
    CHECK(result.sends == 10);
    CHECK(result.changes == 16);
    CHECK(result.pruned == 3);
}

TEST_CASE("a hub keeps its promises under every fault", "[.matrix]") {
    const std::uint64_t seed = seed_or(1);
    const char* path = std::getenv("PUSHHUB_MATRIX_REPORT");
    std::ofstream report(path ? path : "/dev/null");
    report
        << "| provider | fault | mode | struck | success | unknown | other | pruned | received | "
           "doubles | verdict |\n|---|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n";
    std::size_t good = 0, bad = 0;
    World world;
    for (const auto& platform : support::all_platforms) install(world, platform);
    for (const Cell& cell : all_cells()) {
        const CellResult r = run_alone_if_needed(world, cell, seed);
        (r.problems.empty() ? good : bad) += 1;
        const std::string problems = joined(r.problems);
        report << "| " << cell.platform << " | "
               << pns::sim::fault_name(*pns::sim::fault_row(cell.number, cell.variant)) << " | "
               << (cell.at_least_once ? "at-least-once" : "at-most-once") << " | " << r.struck
               << " | " << r.success << " | " << r.unknown << " | " << r.other << " | " << r.pruned
               << " | " << r.received << " | " << r.doubles << " | "
               << (problems.empty() ? "ok" : "**" + problems + "**") << " |\n"
               << std::flush;
        if (!problems.empty()) std::cout << name_of(cell) << ": " << problems << std::endl;
        INFO(name_of(cell) << ": " << problems);
        CHECK(problems.empty());
    }
    for (const auto& order : all_mixtures(seed)) {
        support::Mixture mixture(order);
        const auto r = mixture.run();
        (r.problems.empty() ? good : bad) += 1;
        const std::string problems = joined(r.problems);
        report << "| " << order.platform << " | " << name_of(order) << " | both | " << r.struck
               << " | " << r.success << " | " << r.unknown << " | " << r.other << " | " << r.pruned
               << " | " << r.received << " | " << r.doubles << " | "
               << (problems.empty() ? "ok" : "**" + problems + "**") << " |\n"
               << std::flush;
        if (!problems.empty())
            std::cout << order.platform << ", " << name_of(order) << ": " << problems << std::endl;
        CHECK(problems.empty());
    }
    std::cout << "seed " << seed << ": " << good << " cells kept every promise, " << bad
              << " did not" << std::endl;
}
