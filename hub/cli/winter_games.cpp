// Tested by tests/hub_winter_games_test.cpp.
//
// Every property of a device is drawn from a hash of (seed, index, which draw), so any device can
// be made alone and in any order. The oracle evaluates expressions over lists of indices and
// shares no code with the registry's bitmaps. Immutable after construction, any thread.
#include "hub/cli/winter_games.hpp"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <unordered_map>
#include <variant>

#include "pns/mixing.hpp"
#include "pns/text.hpp"
#include "tagexpr/evaluate.hpp"
#include "tagexpr/expression.hpp"

namespace hub {
namespace {

/// splitmix64: one independent, well mixed number per (seed, index, draw).
class Draws {
  public:
    Draws(std::uint64_t seed, std::uint32_t index)
        : state_(seed * pns::golden_gap + std::uint64_t{index} * 0xd1342543de82ef95u) {}
    std::uint64_t next() { return pns::mixed(state_ += pns::golden_gap); }
    std::uint32_t below(std::size_t bound) { return static_cast<std::uint32_t>(next() % bound); }
    /// The smaller of two draws: low indices are the popular ones.
    std::uint32_t popular_below(std::size_t bound) {
        const std::uint32_t a = below(bound), b = below(bound), c = below(bound);
        return std::min({a, b, c});
    }

  private:
    std::uint64_t state_;
};

std::string characters(Draws& draws, std::size_t count, std::string_view alphabet) {
    std::string out;
    out.reserve(count);
    for (std::size_t i = 0; i < count; ++i) out += alphabet[draws.below(alphabet.size())];
    return out;
}

constexpr std::string_view hex_digits = "0123456789ABCDEF";
constexpr std::string_view base64url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string handle(std::string_view platform, Draws& draws) {
    if (platform == "apns") return characters(draws, 64, hex_digits);
    if (platform == "fcmv1")
        return characters(draws, 22, base64url) + ":APA91b" + characters(draws, 120, base64url);
    if (platform == "wns")
        return "https://dm3p.notify.windows.com/w/?token=" + characters(draws, 60, base64url);
    return "amzn1.adm-registration.v2." + characters(draws, 80, base64url);
}

/// "Gold for <athlete>" around the name, per language.
struct Phrase {
    std::string_view language, before, after;
};
constexpr std::array<Phrase, 20> phrases{{
    {"en", "Gold for ", "!"},   {"nl", "Goud voor ", "!"},
    {"de", "Gold für ", "!"},   {"fr", "L\xe2\x80\x99or pour ", " !"},
    {"it", "Oro per ", "!"},    {"es", "¡Oro para ", "!"},
    {"pt", "Ouro para ", "!"},  {"sv", "Guld till ", "!"},
    {"no", "Gull til ", "!"},   {"da", "Guld til ", "!"},
    {"fi", "Kultaa: ", "!"},    {"pl", "Złoto dla: ", "!"},
    {"cs", "Zlato pro: ", "!"}, {"sk", "Zlato pre: ", "!"},
    {"sl", "Zlato za: ", "!"},  {"ja", "金メダル: ", "!"},
    {"ko", "금메달: ", "!"},    {"zh", "金牌: ", "!"},
    {"uk", "Золото: ", "!"},    {"lv", "Zelts: ", "!"},
}};

const Phrase& phrase(std::string_view language) {
    return *std::find_if(phrases.begin(), phrases.end(),
                         [&](const Phrase& p) { return p.language == language; });
}

/// GamesDevice indices, ascending: the set type the oracle evaluates with. Shares nothing with the
/// registry's bitmaps.
struct IndexSet {
    std::vector<std::uint32_t> values;
    IndexSet& operator&=(const IndexSet& other) {
        std::vector<std::uint32_t> out;
        std::set_intersection(values.begin(), values.end(), other.values.begin(),
                              other.values.end(), std::back_inserter(out));
        values = std::move(out);
        return *this;
    }
    IndexSet& operator|=(const IndexSet& other) {
        std::vector<std::uint32_t> out;
        std::set_union(values.begin(), values.end(), other.values.begin(), other.values.end(),
                       std::back_inserter(out));
        values = std::move(out);
        return *this;
    }
    IndexSet& operator-=(const IndexSet& other) {
        std::vector<std::uint32_t> out;
        std::set_difference(values.begin(), values.end(), other.values.begin(), other.values.end(),
                            std::back_inserter(out));
        values = std::move(out);
        return *this;
    }
};

}  // namespace

const std::vector<std::string>& WinterGames::countries() {
    static const std::vector<std::string> tags = [] {
        constexpr std::string_view codes =
            "no de us ca nl se at ch fr it jp kr cn fi cz pl gb au si sk lv ua hu be es ro "
            "bg ee lt hr rs kz dk is ie pt gr tr il ge am az md ba me mk al nz ar cl br mx "
            "co in th my ph sg hk za";
        std::vector<std::string> out;
        for (std::size_t i = 0; i < codes.size(); i += 3)
            out.push_back("country:" + std::string(codes.substr(i, 2)));
        return out;
    }();
    return tags;
}

const std::vector<std::string>& WinterGames::sports() {
    static const std::vector<std::string> tags = [] {
        constexpr std::array<std::string_view, 10> names{
            "speedskating", "shorttrack", "figureskating", "biathlon",  "crosscountry",
            "luge",         "skijumping", "snowboard",     "icehockey", "curling"};
        constexpr std::array<std::string_view, 4> kinds{"", ":women", ":men", ":team"};
        std::vector<std::string> out;
        for (const std::string_view kind : kinds)
            for (const std::string_view name : names)
                out.push_back("sport:" + std::string(name) + std::string(kind));
        return out;
    }();
    return tags;
}

const std::vector<std::string>& WinterGames::athletes() {
    static const std::vector<std::string> tags = [] {
        constexpr std::array<std::string_view, 20> names{
            "kramer", "lindqvist", "haugen",   "berger",   "novak",    "moreau", "rossi",
            "tanaka", "kim",       "wang",     "nieminen", "kowalski", "horvat", "ozols",
            "bondar", "meyer",     "tremblay", "jensen",   "garcia",   "schwarz"};
        constexpr std::string_view initials = "abcdefghij";
        std::vector<std::string> out;
        for (const char initial : initials)
            for (const std::string_view name : names)
                out.push_back("athlete:" + std::string(name) +
                              (initial == 'a' ? "" : std::string("-") + initial));
        return out;
    }();
    return tags;
}

const std::vector<std::string_view>& WinterGames::languages() {
    static const std::vector<std::string_view> codes = [] {
        std::vector<std::string_view> out;
        for (const Phrase& phrase : phrases) out.push_back(phrase.language);
        return out;
    }();
    return codes;
}

GamesDevice WinterGames::device(std::uint32_t index) const {
    Draws draws(seed_, index);
    GamesDevice d;
    d.index = index;
    const std::uint32_t share = draws.below(100);
    d.platform = share < 46   ? platform_names[0]
                 : share < 86 ? platform_names[1]
                 : share < 95 ? platform_names[2]
                              : platform_names[3];
    d.handle = handle(d.platform, draws);
    d.dead = draws.below(50) == 0;
    d.installation_id = "dev-" + std::to_string(index);
    // Of ten devices in a row two belong to one user: index ...9 shares the user of ...8.
    d.user_id = "u" + std::to_string(index % 10 == 9 ? index - 1 : index);
    d.language = languages()[draws.popular_below(languages().size())];
    d.tags.push_back("lang:" + std::string(d.language));
    d.tags.push_back(countries()[draws.popular_below(countries().size())]);
    const auto add = [&](const std::vector<std::string>& from, std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::string& tag = from[draws.popular_below(from.size())];
            if (std::find(d.tags.begin(), d.tags.end(), tag) == d.tags.end()) d.tags.push_back(tag);
        }
    };
    add(sports(), 1 + draws.below(3));
    add(athletes(), draws.below(6));
    if (draws.below(10) == 0) d.tags.emplace_back("muted");
    return d;
}

std::string WinterGames::installation_json(const GamesDevice& d) const {
    const Phrase& words = phrase(d.language);
    const std::string text =
        "{'" + std::string(words.before) + "' + $(athlete) + '" + std::string(words.after) + "'}";
    nlohmann::json body;
    nlohmann::json gold;
    if (d.platform == "apns") {
        body["aps"]["alert"] = text;
        body["aps"]["sound"] = "default";
    } else if (d.platform == "fcmv1") {
        body["message"]["notification"]["body"] = text;
    } else if (d.platform == "adm") {
        body["data"]["alert"] = text;
    }
    if (d.platform == "wns") {
        gold["body"] = "<toast><visual><binding template=\"ToastText01\"><text id=\"1\">" + text +
                       "</text></binding></visual></toast>";
        gold["headers"]["X-WNS-Type"] = "wns/toast";
    } else {
        gold["body"] = body.dump();
    }
    nlohmann::json installation;
    installation["installationId"] = d.installation_id;
    installation["userId"] = d.user_id;
    installation["platform"] = d.platform;
    installation["pushChannel"] = d.handle;
    installation["tags"] = d.tags;
    installation["templates"]["gold"] = std::move(gold);
    return installation.dump();
}

std::string WinterGames::greeting(const GamesDevice& d, std::string_view athlete) {
    const Phrase& words = phrase(d.language);
    return std::string(words.before) + std::string(athlete) + std::string(words.after);
}

std::vector<std::uint32_t> WinterGames::audience(std::string_view expression) const {
    const auto parsed = tagexpr::parse(expression);
    if (const auto* wrong = std::get_if<tagexpr::ParseError>(&parsed))
        throw std::invalid_argument(wrong->message);
    const tagexpr::Plan plan = tagexpr::simplify(std::get<tagexpr::Expression>(parsed));
    std::unordered_map<std::string, IndexSet> postings;
    for (const tagexpr::Node& node : plan.nodes)
        if (node.op == tagexpr::Op::tag) postings[tagexpr::canonical_tag(node.tag)];
    IndexSet all;
    for (std::uint32_t i = 0; i < devices_; ++i) {
        all.values.push_back(i);
        if (postings.empty()) continue;
        GamesDevice d = device(i);
        d.tags.push_back("$InstallationId:{" + d.installation_id + "}");
        d.tags.push_back("$UserId:{" + d.user_id + "}");
        for (const std::string& tag : d.tags)
            if (const auto it = postings.find(tagexpr::canonical_tag(tag)); it != postings.end())
                it->second.values.push_back(i);
    }
    return tagexpr::evaluate<IndexSet>(
               plan, [&](std::string_view tag) { return postings[tagexpr::canonical_tag(tag)]; },
               [&] { return all; })
        .values;
}

}  // namespace hub
