#include <catch2/catch.hpp>
#include <fstream>
#include <random>

#include "tests/support/registry_model.hpp"

using namespace registry;
using namespace registry_test;

namespace {

std::set<std::string> names(const Named& all) {
    std::set<std::string> only;
    for (const auto& [name, value] : all) only.insert(name);
    return only;
}

std::set<std::string> selected(const Opened& registry, std::uint32_t hub,
                               const std::string& expression, const Universe& universe) {
    std::set<std::string> found;
    for (const std::string& id : registry.select(hub, expression, universe)) {
        found.insert(name_of(registry->registration(hub, id).value()));
    }
    return found;
}

std::set<std::string> expected(const Named& all, const std::string& expression,
                               const Universe& universe) {
    const auto parsed = std::get<tagexpr::Expression>(tagexpr::parse(expression));
    std::set<std::string> found;
    for (const auto& [name, value] : all) {
        const bool native = !value.body;
        if (value.channel_expired) continue;
        if (universe.kind == Universe::Kind::native && !native) continue;
        if (universe.kind == Universe::Kind::templated && native) continue;
        if (!universe.platforms.empty() && universe.platforms.front() != value.platform) continue;
        if (matches(value, parsed)) found.insert(name);
    }
    return found;
}

/// Everything there is to see of a hub equals the model.
void compare(const Opened& registry, std::uint32_t hub, const Model& model) {
    REQUIRE(registry->verify(hub) == std::vector<std::string>());
    const Named all = model.all();
    REQUIRE(listed(*registry, hub) == all);
    REQUIRE(registry->figures().registrations == all.size());
    REQUIRE(registry->figures().installations == model.installations.size());
    for (const auto& [id, value] : model.plain) {
        REQUIRE(registry->registration(hub, id).value() == value);
    }
    for (const auto& [id, value] : model.installations) {
        REQUIRE(registry->installation(hub, id).value() == value);
    }
}

void compare_handles(const Opened& registry, std::uint32_t hub, const Model& model) {
    std::map<std::string, std::set<std::string>> by_handle;
    std::map<std::pair<std::string, bool>, int> holders;  // by handle and kind
    std::map<std::pair<std::string, std::string>, std::size_t> places;
    for (const auto& [name, value] : model.all()) {
        by_handle[value.handle].insert(name);
        ++holders[{value.handle, !value.body}];
        ++places[{value.platform, value.handle}];
    }
    for (const auto& [handle, owners] : by_handle) {
        std::set<std::string> found;
        for (const Registration& value :
             registry->with_handle(hub, handle, {}, 1'000).value().registrations) {
            found.insert(name_of(value));
        }
        REQUIRE(found == owners);
    }
    for (const std::string& id : registry.select(hub, "")) {
        const Located at = locate(*registry, hub, id);
        const bool native = at.device.template_bytes.empty();
        REQUIRE(at.device.shares_handle ==
                (holders.at({std::string(at.device.handle), native}) > 1));
        const auto known =
            registry->places_of_handle(hub, at.device.platform, at.device.handle, 99);
        REQUIRE(known.value().size() ==
                places.at({std::string(at.device.platform), std::string(at.device.handle)}));
        REQUIRE(std::count(known->begin(), known->end(),
                           Place{at.partition, at.device.number, !native}) == 1);
    }
}

/// A selection and who its numbers were.
struct Frozen {
    std::string send_id;  ///< empty: only held in memory
    Selection selection;
    std::map<std::pair<std::uint16_t, std::uint32_t>, std::string> ids;
};

Frozen freeze(const Opened& registry, std::uint32_t hub, const std::string& expression) {
    Frozen frozen;
    frozen.selection = registry->select(hub, plan_of(expression), {}).value();
    DeviceChunk chunk;
    for (std::uint16_t p = 0; p < frozen.selection.partitions.size(); ++p) {
        for (const std::uint32_t number : frozen.selection.partitions[p]) {
            registry->load(hub, p, {&number, 1}, 0, chunk).value();
            frozen.ids[{p, number}] = id_of(chunk.devices.front(), p);
        }
    }
    return frozen;
}

/// What is over at the time of a load is seen to be over, and nothing else is.
void check_times(const Opened& registry, std::uint32_t hub, std::int64_t now_ms) {
    const Selection all = registry->select(hub, plan_of(""), {}).value();
    for (std::uint16_t p = 0; p < all.partitions.size(); ++p) {
        const std::vector<std::uint32_t> numbers(all.partitions[p].begin(),
                                                 all.partitions[p].end());
        DeviceChunk chunk;
        registry->load(hub, p, numbers, now_ms, chunk).value();
        for (const Device& device : chunk.devices) {
            const auto shown = registry->registration(hub, id_of(device, p)).value();
            REQUIRE((device.expires_at_ms <= now_ms) == (shown.expires_at_ms <= now_ms));
            REQUIRE(device.registered_at_ms <= shown.registered_at_ms);
        }
    }
}

/// A number of a frozen selection is the device it was, or nobody.
void check_frozen(const Opened& registry, std::uint32_t hub, const Frozen& frozen) {
    DeviceChunk chunk;
    for (const auto& [at, id] : frozen.ids) {
        registry->load(hub, at.first, {&at.second, 1}, 0, chunk).value();
        const Device& device = chunk.devices.front();
        REQUIRE((!device.present || id_of(device, at.first) == id));
    }
}

void check_open_sends(const Opened& registry, const std::vector<Frozen>& frozen) {
    std::map<std::string, OpenSend> open;
    for (OpenSend& send : registry->open_sends().value()) open.emplace(send.send.id, send);
    std::size_t count = 0;
    for (const Frozen& one : frozen) {
        if (one.send_id.empty()) continue;
        ++count;
        REQUIRE(open.at(one.send_id).selection.partitions == one.selection.partitions);
    }
    REQUIRE(open.size() == count);
}

}  // namespace

TEST_CASE("random changes leave what a map would hold", "[registry]") {
    for (const std::uint32_t seed : {1u, 2u, 3u, 4u}) {
        INFO("seed " << seed);
        const TempDirectory directory;
        Options options = options_in(directory.path());
        RandomChanges changes(seed);
        Model model;
        auto registry = std::make_unique<Opened>(options);
        const std::uint32_t hub = registry->hub("Orders", 3);
        std::vector<Frozen> frozen;
        for (int step = 0; step < 350; ++step) {
            INFO("step " << step);
            changes.change(*registry, hub, model);
            for (const Frozen& one : frozen) check_frozen(*registry, hub, one);
            if (step % 3 == 0) check_times(*registry, hub, changes.now());
            if (changes.below(12) == 0) {
                frozen.push_back(freeze(*registry, hub, changes.expression()));
                if (changes.below(2) == 0) {
                    frozen.back().send_id = "s" + std::to_string(step);
                    Send send;
                    send.id = frozen.back().send_id;
                    REQUIRE(registry->accept(hub, send, frozen.back().selection).has_value());
                }
            }
            if (frozen.size() > 3) {
                if (!frozen.front().send_id.empty()) {
                    Progress progress;
                    progress.state = SendState::completed;
                    progress.finished = frozen.front().selection.partitions;
                    REQUIRE(
                        registry->checkpoint(hub, frozen.front().send_id, progress).has_value());
                }
                frozen.erase(frozen.begin());
            }
            if (step % 5 == 0) {
                const Named all = model.all();
                for (int i = 0; i < 4; ++i) {
                    const std::string expression = changes.expression();
                    const Universe universe = changes.universe();
                    INFO(expression);
                    REQUIRE(selected(*registry, hub, expression, universe) ==
                            expected(all, expression, universe));
                }
                REQUIRE(names(listed(**registry, hub, "RED")) == expected(all, "red", {}));
            }
            if (step % 25 == 0) {
                compare(*registry, hub, model);
                compare_handles(*registry, hub, model);
            }
            if (changes.below(60) == 0) {
                std::erase_if(frozen, [](const Frozen& one) { return one.send_id.empty(); });
                registry.reset();
                registry = std::make_unique<Opened>(options);
                compare(*registry, hub, model);
                check_open_sends(*registry, frozen);
            }
        }
    }
}

TEST_CASE("a cut after any write leaves every write before it", "[registry]") {
    const std::uint32_t seed = 5;
    INFO("seed " << seed);
    const TempDirectory directory;
    const Options options = options_in(directory.path() / "live");
    RandomChanges changes(seed);
    std::vector<Model> models;         // after each change
    std::vector<std::uintmax_t> ends;  // bytes of the log then
    std::uint32_t hub = 0;
    { hub = Opened(options).hub("Orders", 2); }
    const auto log_of = [](const std::filesystem::path& store) {
        std::filesystem::path newest;
        for (const auto& entry : std::filesystem::directory_iterator(store / "store")) {
            if (entry.path().extension() == ".log" && entry.path() > newest) newest = entry.path();
        }
        return newest;
    };
    const std::filesystem::path copy = directory.path() / "copy";
    {
        Opened registry(options);
        const auto log = log_of(options.directory);
        models.emplace_back();
        ends.push_back(std::filesystem::file_size(log));
        for (int step = 0; step < 150; ++step) {
            Model model = models.back();
            changes.change(registry, hub, model);
            const auto size = std::filesystem::file_size(log);
            if (size == ends.back()) {
                REQUIRE(model == models.back());
                continue;
            }
            models.push_back(model);
            ends.push_back(size);
        }
        std::filesystem::copy(options.directory, copy, std::filesystem::copy_options::recursive);
    }
    const auto full = std::filesystem::file_size(log_of(copy));
    REQUIRE(full == ends.back());
    std::vector<std::uintmax_t> cuts(ends.end() - 10, ends.end());
    for (int i = 0; i < 60; ++i) {
        cuts.push_back(ends.front() +
                       changes.below(static_cast<std::uint32_t>(full - ends.front())));
    }
    for (const std::uintmax_t cut : cuts) {
        INFO("cut at " << cut << " of " << full);
        const std::filesystem::path broken = directory.path() / "broken";
        std::filesystem::remove_all(broken);
        std::filesystem::copy(copy, broken, std::filesystem::copy_options::recursive);
        std::filesystem::resize_file(log_of(broken), cut);
        const auto last = std::upper_bound(ends.begin(), ends.end(), cut) - ends.begin() - 1;
        Opened registry(options_in(broken));
        compare(registry, hub, models[static_cast<std::size_t>(last)]);
        // And it goes on from there.
        REQUIRE(registry.put(hub, registration("9-9-1", "new", {"red"})).has_value());
        REQUIRE(registry->verify(hub).empty());
    }
}
