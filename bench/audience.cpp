// A hub process makes the hub and ends; then the store is filled directly with generated devices.
// Each question is asked cold (files forgotten by the system), warm, and by hand on bitmaps in
// memory, and all three must count the same. The asking runs in this process and on one thread.
#include "bench/audience.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <stdexcept>
#include <variant>
#include <vector>

#include "bench/crowd.hpp"
#include "bench/experiment.hpp"
#include "bench/hub_process.hpp"
#include "bench/store_fill.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"
#include "registry/bitmap.hpp"
#include "tagexpr/expression.hpp"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* hub_name = "audience";
constexpr std::uint32_t users_asked = 500;
constexpr unsigned warm_rounds = 15;

enum Kind : std::size_t {
    half,
    third,
    lang,
    country,
    sport,
    athlete,
    version,
    topic,
    city,
    store,
    user,  ///< unique: the device's number is the value
};
static_assert(user == tag_kinds.size());

std::string text_of(std::size_t kind, std::uint32_t value) {
    return kind == user ? "$UserId:{" + user_of(value) + "}" : tag_text(kind, value);
}

std::uint32_t value_of(std::uint32_t device, std::size_t kind) {
    return kind == user ? device : tag_value(device, kind);
}

/// `every tag of `all`, any tag of `any` (if there is one), no tag of `none`.
struct Question {
    const char* name;
    std::vector<std::pair<std::size_t, std::uint32_t>> all, any, none;

    std::string text() const {
        std::string out;
        const auto also = [&out](const std::string& part) {
            out += (out.empty() ? "" : " && ") + part;
        };
        for (const auto& [kind, value] : all) also(text_of(kind, value));
        std::string either;
        for (const auto& [kind, value] : any)
            either += (either.empty() ? "" : " || ") + text_of(kind, value);
        if (!either.empty()) also("(" + either + ")");
        for (const auto& [kind, value] : none) also("!" + text_of(kind, value));
        return out;
    }
    bool holds(std::uint32_t device) const {
        const auto has = [device](const auto& tag) {
            return value_of(device, tag.first) == tag.second;
        };
        return std::all_of(all.begin(), all.end(), has) &&
               (any.empty() || std::any_of(any.begin(), any.end(), has)) &&
               std::none_of(none.begin(), none.end(), has);
    }
};

std::vector<Question> questions() {
    std::vector<Question> out{
        {"one_dense", {{half, 0}}, {}, {}},
        {"one_medium", {{lang, 3}}, {}, {}},
        {"one_sparse", {{topic, 7}}, {}, {}},
        {"one_unique", {{user, 77}}, {}, {}},
        {"two_dense_not", {{half, 0}}, {}, {{third, 0}}},
        {"two_medium_not", {{lang, 3}}, {}, {{country, 5}}},
        {"two_sparse_not", {{topic, 7}}, {}, {{half, 0}}},
        {"two_unique_not", {{user, 77}}, {}, {{third, 0}}},
        {"six_tags", {{half, 0}, {third, 1}}, {{lang, 3}, {lang, 4}}, {{country, 5}, {version, 2}}},
        {"six_dense", {{half, 0}}, {{third, 0}, {third, 1}, {version, 3}}, {{lang, 0}, {sport, 0}}},
        {"six_sparse", {}, {{topic, 1}, {topic, 2}, {city, 3}, {store, 4}}, {{half, 1}, {lang, 2}}},
        {"six_unique", {}, {{user, 1}, {user, 2}, {user, 3}, {user, 4}}, {{half, 1}, {lang, 2}}},
    };
    Question fifty{"fifty_tags", {}, {}, {}};
    for (std::uint32_t i = 0; i < 40; ++i)
        fifty.any.emplace_back(i % 2 == 0 ? std::size_t{athlete} : std::size_t{topic}, i);
    for (std::uint32_t i = 0; i < 10; ++i) fifty.none.emplace_back(country, i);
    out.push_back(std::move(fifty));
    return out;
}

tagexpr::Plan plan_of(const std::string& text) {
    const auto parsed = tagexpr::parse(text);
    if (const auto* wrong = std::get_if<tagexpr::ParseError>(&parsed))
        throw std::invalid_argument(wrong->message);
    return tagexpr::simplify(std::get<tagexpr::Expression>(parsed));
}

template <class Work>
double microseconds(const Work& work) {
    const auto begun = Clock::now();
    work();
    return std::chrono::duration<double, std::micro>(Clock::now() - begun).count();
}

/// The same question on bitmaps in memory, in the order a programmer would choose.
class ByHand {
  public:
    /// Bitmaps of the tags that the questions name.
    ByHand(const std::vector<Question>& asked, std::uint32_t devices) {
        for (const Question& question : asked)
            for (const auto* list : {&question.all, &question.any, &question.none})
                for (const auto& tag : *list) bitmaps_[tag];
        for (std::uint32_t i = 0; i < devices; ++i)
            for (std::size_t kind = 0; kind <= user; ++kind)
                if (const auto it = bitmaps_.find({kind, value_of(i, kind)}); it != bitmaps_.end())
                    it->second.add(i);
        for (auto& [tag, bitmap] : bitmaps_) bitmap.runOptimize();
    }
    std::uint64_t count(const Question& question) const {
        std::optional<registry::Bitmap> set;
        for (const auto& tag : question.all) {
            if (set)
                *set &= bitmaps_.at(tag);
            else
                set = bitmaps_.at(tag);
        }
        if (!question.any.empty()) {
            registry::Bitmap either = bitmaps_.at(question.any.front());
            for (std::size_t i = 1; i < question.any.size(); ++i)
                either |= bitmaps_.at(question.any[i]);
            if (set)
                *set &= either;
            else
                set = std::move(either);
        }
        for (const auto& tag : question.none) *set -= bitmaps_.at(tag);
        return set->cardinality();
    }

  private:
    std::map<std::pair<std::size_t, std::uint32_t>, registry::Bitmap> bitmaps_;
};

class Audience {
  public:
    Audience(const std::filesystem::path& data_dir, const std::string& hub)
        : data_dir_(data_dir), hub_(hub) {
        open();
    }

    /// Closes the store, lets the system forget its files, and opens it again.
    void forget_everything() {
        registry_->close();
        registry_.reset();
        drop_from_page_cache(data_dir_ / "store");
        open();
    }
    std::uint64_t count(const tagexpr::Plan& plan) const {
        const auto selection = registry_->select(number_, plan, registry::Universe{});
        if (!selection) throw std::runtime_error("select: " + selection.error().message());
        return selection->count();
    }

  private:
    void open() {
        registry_ = open_store(data_dir_);
        number_ = stored_hub(*registry_, hub_).number;
    }

    std::filesystem::path data_dir_;
    std::string hub_;
    std::unique_ptr<registry::Registry> registry_;
    std::uint32_t number_ = 0;
};

/// Medians over users of a first, cold and a second, warm look.
void measure_users(Audience& audience, std::uint32_t devices, unsigned run,
                   std::vector<double>& cold, std::vector<double>& warm) {
    audience.forget_everything();
    for (const bool second : {false, true}) {
        for (std::uint32_t k = 0; k < users_asked; ++k) {
            const auto number =
                static_cast<std::uint32_t>(mixed(std::uint64_t{run} * users_asked + k) % devices);
            const tagexpr::Plan plan = plan_of(text_of(user, number));
            std::uint64_t found = 0;
            const double us = microseconds([&] { found = audience.count(plan); });
            if (found != 1) throw std::runtime_error("a user has no device");
            (second ? warm : cold).push_back(us);
        }
    }
}

}  // namespace

AudienceFigures measure_audience(const std::filesystem::path& data_dir, const std::string& hub,
                                 std::uint32_t devices, unsigned runs, const std::string& prefix,
                                 Results& results) {
    const std::vector<Question> asked = questions();
    const ByHand by_hand(asked, devices);
    std::vector<std::uint64_t> expected(asked.size());
    for (std::uint32_t i = 0; i < devices; ++i)
        for (std::size_t q = 0; q < asked.size(); ++q) expected[q] += asked[q].holds(i) ? 1 : 0;

    Audience audience(data_dir, hub);
    hub::ProgressBar bar("asking", runs * (asked.size() + 1));
    std::uint64_t done = 0;
    nlohmann::ordered_json drawn = nlohmann::ordered_json::object();
    AudienceFigures out;
    for (unsigned run = 0; run < runs; ++run) {
        for (std::size_t q = 0; q < asked.size(); ++q) {
            const Question& question = asked[q];
            const tagexpr::Plan plan = plan_of(question.text());
            const std::string name = prefix + question.name;
            std::uint64_t found = 0;
            const auto ask = [&] { found = audience.count(plan); };
            const auto ask_by_hand = [&] { found = by_hand.count(question); };
            const auto check = [&](const char* who) {
                if (found == expected[q]) return;
                throw std::runtime_error(std::string(who) + " counts " + hub::grouped(found) +
                                         " for " + question.name + " instead of " +
                                         hub::grouped(expected[q]));
            };
            audience.forget_everything();
            results.add(name + "_cold_us", microseconds(ask));
            check("the registry");
            std::vector<double> warm, hand;
            for (unsigned k = 0; k < warm_rounds; ++k) warm.push_back(microseconds(ask));
            for (unsigned k = 0; k < warm_rounds; ++k) hand.push_back(microseconds(ask_by_hand));
            check("the reference");
            results.add(name + "_warm_us", median(warm));
            results.add(name + "_by_hand_us", median(hand));
            bar.set(++done);
        }
        std::vector<double> cold, warm;
        measure_users(audience, devices, run, cold, warm);
        results.add(prefix + "user_cold_us", median(cold));
        results.add(prefix + "user_warm_us", median(warm));
        bar.set(++done);
    }
    bar.finish();
    for (const Question& question : asked) {
        const std::string name = prefix + question.name;
        drawn[question.name] = {{"warm", results.value(name + "_warm_us")},
                                {"cold", results.value(name + "_cold_us")},
                                {"by hand", results.value(name + "_by_hand_us")}};
    }
    results.plot(prefix + "questions_us", drawn);
    out.six_tag_us = results.value(prefix + "six_tags_warm_us");
    out.six_tag_by_hand_us = results.value(prefix + "six_tags_by_hand_us");
    out.user_cold_us = results.value(prefix + "user_cold_us");
    out.user_warm_us = results.value(prefix + "user_warm_us");
    results.add_ratio(prefix + "six_tag_ratio", prefix + "six_tags_warm_us",
                      prefix + "six_tags_by_hand_us");
    return out;
}

int audience_main(int argc, char** argv) {
    Experiment experiment(
        "audience",
        "Selects and counts the devices of expressions in a registry on disk, cold and warm, "
        "beside set operations written by hand on bitmaps in memory.",
        {3, 20, 1'800});
    std::uint32_t devices = 1'000'000;
    experiment.app()
        .add_option("--devices", devices, "devices with ten tags each and a user of their own")
        ->capture_default_str()
        ->check(CLI::Range(1'000, 20'000'000));
    return experiment.run(argc, argv, [&] {
        experiment.results().option("devices", devices);
        const Sink sink(experiment.dir());
        {
            const HubProcess hub(experiment.dir(), sink);
            hub::HubClient client(hub.connection_string(), hub.ca_file());
            hub::create_hub(client, hub_name, sink.credentials());
        }
        const Crowd crowd(target("apns"), "", false);
        const auto data_dir = experiment.dir() / "hub";
        fill_store(data_dir, hub_name, devices,
                   [&crowd](std::uint32_t i) { return crowd.device(i); });
        measure_audience(data_dir, hub_name, devices, experiment.runs(), "", experiment.results());
    });
}

}  // namespace bench
