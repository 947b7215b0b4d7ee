// What a reader cannot see and what corrupts: the include direction, who may start coroutines,
// expressions that g++ 12 compiles wrongly, and leftovers. Taste is for people.

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct Source {
    std::string path;  ///< from the root of the tree, with '/'
    std::string text;
};

bool is_cpp(const std::string& path) {
    return path.ends_with(".cpp") || path.ends_with(".hpp");
}

std::vector<Source> read_tree(std::initializer_list<const char*> roots) {
    const fs::path top = PUSHHUB_SOURCE_DIR;
    std::vector<Source> found;
    for (const char* root : roots) {
        if (!fs::exists(top / root)) continue;
        const auto take = [&](const fs::path& path) {
            std::ifstream in(path, std::ios::binary);
            found.push_back(
                {fs::relative(path, top).generic_string(),
                 {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()}});
        };
        if (fs::is_regular_file(top / root)) {
            take(top / root);
            continue;
        }
        for (fs::recursive_directory_iterator it(top / root), end; it != end; ++it) {
            if (it->path().filename() == "node_modules") it.disable_recursion_pending();
            if (it->is_regular_file()) take(it->path());
        }
    }
    std::sort(found.begin(), found.end(),
              [](const Source& a, const Source& b) { return a.path < b.path; });
    return found;
}

const std::vector<Source>& cpp_sources() {
    static const std::vector<Source> sources = [] {
        std::vector<Source> all =
            read_tree({"tagexpr", "registry", "pns", "hub", "bench", "tests"});
        std::erase_if(all, [](const Source& s) { return !is_cpp(s.path); });
        return all;
    }();
    return sources;
}

/// The text with comments, string and character literals blanked, positions and lines kept.
std::string code_only(std::string_view text) {
    std::string out(text);
    const auto blank = [&](std::size_t from, std::size_t to) {
        for (std::size_t k = from; k < to && k < out.size(); ++k)
            if (out[k] != '\n') out[k] = ' ';
    };
    std::size_t i = 0;
    while (i < text.size()) {
        if (text.compare(i, 2, "//") == 0) {
            const std::size_t end = std::min(text.find('\n', i), text.size());
            blank(i, end);
            i = end;
        } else if (text.compare(i, 2, "/*") == 0) {
            const std::size_t close = text.find("*/", i + 2);
            const std::size_t end = close == std::string_view::npos ? text.size() : close + 2;
            blank(i, end);
            i = end;
        } else if (text.compare(i, 2, "R\"") == 0 &&
                   (i == 0 || !std::isalnum(static_cast<unsigned char>(text[i - 1])))) {
            const std::size_t open = text.find('(', i);
            if (open == std::string_view::npos) break;
            std::string close = ")";
            close += text.substr(i + 2, open - i - 2);
            close += '"';
            const std::size_t found = text.find(close, open);
            const std::size_t end =
                found == std::string_view::npos ? text.size() : found + close.size();
            blank(i + 1, end);
            i = end;
        } else if (text[i] == '"' ||
                   (text[i] == '\'' &&
                    (i == 0 || !std::isxdigit(static_cast<unsigned char>(text[i - 1]))))) {
            std::size_t end = i + 1;
            while (end < text.size() && text[end] != text[i] && text[end] != '\n')
                end += text[end] == '\\' ? 2 : 1;
            blank(i + 1, end);
            i = end + 1;
        } else {
            ++i;
        }
    }
    return out;
}

std::size_t line_of(std::string_view text, std::size_t at) {
    return 1 + static_cast<std::size_t>(
                   std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

std::vector<std::string> includes(const Source& source) {
    static const std::regex include(R"re(^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"])re",
                                    std::regex::multiline);
    std::vector<std::string> names;
    for (std::sregex_iterator it(source.text.begin(), source.text.end(), include), end; it != end;
         ++it)
        names.push_back((*it)[1]);
    return names;
}

/// What a file includes, itself or through headers of the tree.
const std::set<std::string>& reaches(const std::string& path) {
    static std::map<std::string, std::set<std::string>> known;
    const auto [at, is_new] = known.try_emplace(path);
    std::set<std::string>& found = at->second;
    if (!is_new) return found;
    const auto source = std::find_if(cpp_sources().begin(), cpp_sources().end(),
                                     [&](const Source& s) { return s.path == path; });
    if (source == cpp_sources().end()) return found;
    for (const std::string& name : includes(*source)) {
        const std::set<std::string>& further = reaches(name);
        found.insert(further.begin(), further.end());
        found.insert(name);
    }
    return found;
}

bool starts_with_any(std::string_view text, const std::vector<std::string_view>& prefixes) {
    return std::any_of(prefixes.begin(), prefixes.end(),
                       [&](std::string_view p) { return text.starts_with(p); });
}

/// Capture list that copies: `[=`, `[x`, `[x = ...`, `[*this`; not `[]`, `[&...`, `[this]`.
bool captures_by_value(std::string_view list) {
    std::size_t from = 0;
    while (from < list.size()) {
        std::size_t to = list.find(',', from);
        if (to == std::string_view::npos) to = list.size();
        std::string_view item = list.substr(from, to - from);
        while (!item.empty() && std::isspace(static_cast<unsigned char>(item.front())))
            item.remove_prefix(1);
        while (!item.empty() && std::isspace(static_cast<unsigned char>(item.back())))
            item.remove_suffix(1);
        if (!item.empty() && item.front() != '&' && item != "this") return true;
        from = to + 1;
    }
    return false;
}

/// Lines on which g++ 12 may destroy a temporary twice: between co_await and the end of its
/// expression stands a lambda that captures by value, or a braced temporary. Bodies of lambdas are
/// skipped.
std::vector<std::size_t> doubtful_awaits(const std::string& code) {
    std::vector<std::size_t> lines;
    constexpr std::string_view word = "co_await";
    for (std::size_t at = code.find(word); at != std::string::npos;
         at = code.find(word, at + word.size())) {
        int depth = 0;
        for (std::size_t i = at + word.size(); i < code.size(); ++i) {
            const char c = code[i];
            if (c == '(') ++depth;
            if (c == ')' && --depth < 0) break;
            if (c == ';') break;
            if (c == '{') {
                // After the closing parenthesis of if/for/while the expression is over: depth went
                // below zero there.
                lines.push_back(line_of(code, at));
                break;
            }
            if (c != '[') continue;
            std::size_t before = i;
            while (before > 0 && std::isspace(static_cast<unsigned char>(code[before - 1])))
                --before;
            const char left = before > 0 ? code[before - 1] : ' ';
            const std::size_t close = code.find(']', i);
            if (close == std::string::npos) break;
            const bool subscript = std::isalnum(static_cast<unsigned char>(left)) || left == '_' ||
                                   left == ')' || left == ']';
            if (subscript) {
                i = close;
                continue;
            }
            if (captures_by_value(std::string_view(code).substr(i + 1, close - i - 1))) {
                lines.push_back(line_of(code, at));
                break;
            }
            std::size_t body = code.find('{', close);
            if (body == std::string::npos) break;
            int braces = 0;
            for (; body < code.size(); ++body) {
                if (code[body] == '{') ++braces;
                if (code[body] == '}' && --braces == 0) break;
            }
            i = body;
        }
    }
    return lines;
}

/// A page under docs/ that a text names, with the sections that stand behind it.
struct Citation {
    std::string page;
    std::vector<std::string> sections;
    std::size_t line = 0;
};

/// Finds `docs/contracts/anh.md 1.2 to 1.4, 8`, also where the sections stand on the next line of
/// a comment. A page without sections counts, too.
std::vector<Citation> citations(std::string text) {
    const std::string original = text;
    for (std::size_t i = text.find('\n'); i != std::string::npos; i = text.find('\n', i))
        for (text[i++] = ' '; i < text.size() && (text[i] == ' ' || text[i] == '/'); ++i)
            text[i] = ' ';
    static const std::regex page(R"(docs/([A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+\.md)");
    static const std::regex section(R"((,| and| to)? +([0-9]+(\.[0-9]+)*))");
    std::vector<Citation> found;
    for (std::size_t at = text.find("docs/"); at != std::string::npos;
         at = text.find("docs/", at + 1)) {
        // Part of a longer address: somebody else's page.
        if (at > 0 && (std::isalnum(static_cast<unsigned char>(text[at - 1])) ||
                       text[at - 1] == '/' || text[at - 1] == '-'))
            continue;
        constexpr auto here = std::regex_constants::match_continuous;
        std::smatch match;
        auto from = text.cbegin() + static_cast<std::ptrdiff_t>(at);
        if (!std::regex_search(from, text.cend(), match, page, here)) continue;
        found.push_back({match.str(), {}, line_of(original, at)});
        for (from = match[0].second; std::regex_search(from, text.cend(), match, section, here);
             from = match[0].second)
            found.back().sections.push_back(match[2]);
    }
    return found;
}

}  // namespace

TEST_CASE("folders include only what lies below them", "[tree]") {
    struct Rule {
        std::string_view folder;
        std::vector<std::string_view> forbidden;
    };
    const std::vector<Rule> rules{
        {"tagexpr/",
         {"registry/", "hub/", "pns/", "bench/", "boost/", "rocksdb/", "roaring/", "nlohmann/",
          "openssl/", "nghttp2/", "spdlog/", "CLI/", "pugixml", "prometheus/"}},
        {"registry/",
         {"hub/", "pns/", "bench/", "boost/asio", "boost/beast", "openssl/", "nghttp2/", "spdlog/",
          "CLI/", "pugixml", "prometheus/"}},
        {"pns/",
         {"hub/", "registry/", "tagexpr/", "bench/", "rocksdb/", "roaring/", "spdlog/", "CLI/",
          "pugixml", "prometheus/"}},
        {"hub/", {"bench/", "rocksdb/", "nghttp2/"}},
        {"bench/", {"rocksdb/", "nghttp2/"}},
    };
    // Where verbs are read, and where RocksDB is measured by itself.
    const std::set<std::string> exempt{"pns/sim/arguments.hpp", "pns/sim/command.cpp",
                                       "bench/raw_store.cpp"};
    REQUIRE_FALSE(cpp_sources().empty());
    for (const Source& source : cpp_sources()) {
        for (const Rule& rule : rules) {
            if (!source.path.starts_with(rule.folder) || exempt.contains(source.path)) continue;
            for (const std::string& name : includes(source)) {
                INFO(source.path << " includes " << name);
                CHECK_FALSE(starts_with_any(name, rule.forbidden));
            }
        }
    }
}

TEST_CASE("whatever is named of the standard library is included", "[tree]") {
    // Where sources are compiled together, the compiler takes a neighbour's include for one's own.
    struct Home {
        std::vector<std::string> headers;  ///< one of them is enough
        std::vector<std::string_view> names;
    };
    const std::vector<Home> homes{
        {{"algorithm"},
         {"all_of", "any_of", "binary_search", "clamp", "copy", "equal", "fill", "find_if",
          "lower_bound", "max", "min", "sort", "unique", "upper_bound"}},
        {{"array"}, {"array"}},
        {{"atomic"}, {"atomic"}},
        {{"bit"}, {"bit_width", "countr_zero", "popcount"}},
        {{"cctype"}, {"isdigit", "tolower"}},
        {{"charconv"}, {"from_chars", "to_chars"}},
        {{"chrono"}, {"chrono"}},
        {{"condition_variable"}, {"condition_variable"}},
        {{"cstdint"}, {"int32_t", "int64_t", "uint16_t", "uint32_t", "uint64_t", "uint8_t"}},
        {{"cstdio"}, {"fprintf", "printf", "snprintf"}},
        {{"cstdlib"}, {"getenv"}},
        {{"cstring"}, {"memcmp", "memcpy", "strlen"}},
        {{"deque"}, {"deque"}},
        {{"exception", "stdexcept"}, {"exception"}},
        {{"filesystem"}, {"filesystem"}},
        {{"fstream"}, {"ifstream", "ofstream"}},
        {{"functional"}, {"function"}},
        {{"future"}, {"future", "promise"}},
        {{"iostream"}, {"cerr", "cout"}},
        {{"limits"}, {"numeric_limits"}},
        {{"list"}, {"list"}},
        {{"map"}, {"map", "multimap"}},
        {{"memory"}, {"make_shared", "make_unique", "shared_ptr", "unique_ptr"}},
        {{"mutex", "shared_mutex"}, {"lock_guard", "mutex", "unique_lock"}},
        {{"numeric"}, {"accumulate"}},
        {{"optional"}, {"nullopt", "optional"}},
        {{"random"}, {"mt19937_64"}},
        {{"regex"}, {"regex"}},
        {{"set"}, {"set"}},
        {{"span"}, {"span"}},
        {{"sstream"}, {"istringstream", "ostringstream", "stringstream"}},
        {{"stdexcept"}, {"invalid_argument", "runtime_error"}},
        {{"string"}, {"string"}},
        {{"string", "string_view"}, {"string_view"}},
        {{"thread"}, {"thread"}},
        {{"tuple"}, {"tuple"}},
        {{"unordered_map"}, {"unordered_map"}},
        {{"unordered_set"}, {"unordered_set"}},
        {{"variant"}, {"get_if", "holds_alternative", "variant", "visit"}},
        {{"vector"}, {"vector"}},
    };
    std::map<std::string_view, const Home*> home_of;
    for (const Home& home : homes)
        for (const std::string_view name : home.names) home_of[name] = &home;
    constexpr std::string_view space = "std::";
    for (const Source& source : cpp_sources()) {
        const std::string code = code_only(source.text);
        std::set<std::string_view> named;
        for (std::size_t at = code.find(space); at != std::string::npos;
             at = code.find(space, at)) {
            at += space.size();
            std::size_t end = at;
            while (end < code.size() &&
                   (std::isalnum(static_cast<unsigned char>(code[end])) || code[end] == '_'))
                ++end;
            named.insert(std::string_view(code).substr(at, end - at));
        }
        const std::set<std::string>& included = reaches(source.path);
        for (const std::string_view name : named) {
            const auto home = home_of.find(name);
            if (home == home_of.end()) continue;
            const std::vector<std::string>& headers = home->second->headers;
            INFO(source.path << " names std::" << name << ", which is in <" << headers[0] << ">");
            CHECK(std::any_of(headers.begin(), headers.end(), [&](const std::string& header) {
                return included.contains(header);
            }));
        }
    }
}

TEST_CASE("nothing in registry/ stands on the face it shows", "[tree]") {
    for (const Source& source : cpp_sources()) {
        if (!source.path.starts_with("registry/") || source.path == "registry/registry.cpp")
            continue;
        INFO(source.path);
        for (const std::string& name : includes(source)) CHECK(name != "registry/registry.hpp");
    }
}

TEST_CASE("tables whose keys are texts are keyed, so that no stranger can fill one bucket",
          "[tree]") {
    // Names of metrics are ours; what lies in the others comes from who started them.
    const std::set<std::string> exempt{"hub/process/metrics.cpp", "hub/cli/winter_games.cpp"};
    static const std::regex table(R"(unordered_(multi)?(map|set)\s*<\s*std::string)");
    for (const Source& source : cpp_sources()) {
        const bool served = starts_with_any(source.path, {"tagexpr/", "registry/", "pns/", "hub/"});
        if (!served || source.path.starts_with("pns/sim/") || exempt.contains(source.path))
            continue;
        const std::string code = code_only(source.text);
        for (std::sregex_iterator it(code.begin(), code.end(), table), end; it != end; ++it) {
            const auto at = static_cast<std::size_t>(it->position());
            const std::string declaration = code.substr(at, code.find_first_of(";)", at) - at);
            INFO(source.path << ":" << line_of(code, at) << " has " << declaration);
            CHECK(declaration.find("KeyedHash") != std::string::npos);
        }
    }
}

TEST_CASE("rooms include only rooms below them", "[tree]") {
    // Each room with those right below it; what lies below these may be included, too.
    const std::map<std::string, std::vector<std::string>> below{
        {"hub/text", {}},
        {"hub/process", {"hub/text"}},
        {"hub/access", {"hub/text"}},
        {"hub/template", {"hub/text"}},
        {"hub/device", {"hub/access", "hub/template"}},
        {"hub/http", {"hub/process"}},
        {"hub/send", {"hub/http", "hub/device"}},
        {"hub/bulk", {"hub/send"}},
        {"hub/server", {"hub/http", "hub/device"}},
        {"hub/api", {"hub/bulk"}},
        {"hub", {"hub/api", "hub/server"}},
        {"hub/cli", {"hub", "pns/sim"}},
        {"pns", {}},
        {"pns/sim", {"pns"}},
    };
    // The list of verbs names all of them.
    const std::set<std::string> exempt{"hub/main.cpp"};
    // What rooms see of the store that are not linked to it.
    const std::set<std::string> plain_values{"registry/registration.hpp", "registry/durable.hpp"};
    const auto reach = [&](const std::string& room) {
        std::set<std::string> seen{room};
        std::vector<std::string> next{room};
        while (!next.empty()) {
            const std::string one = next.back();
            next.pop_back();
            for (const std::string& lower : below.at(one)) {
                if (seen.insert(lower).second) next.push_back(lower);
            }
        }
        return seen;
    };
    for (const auto& [room, lower] : below) {
        for (const std::string& one : lower) {
            INFO(room << " and " << one);
            CHECK_FALSE(reach(one).contains(room));
        }
    }
    for (const Source& source : cpp_sources()) {
        const std::string room = source.path.substr(0, source.path.rfind('/'));
        if (!room.starts_with("hub") && !room.starts_with("pns")) continue;
        INFO(source.path << " lies in no known room");
        REQUIRE(below.contains(room));
        if (exempt.contains(source.path)) continue;
        const auto known = reach(room);
        for (const std::string& name : includes(source)) {
            const std::string other = name.substr(0, name.find_last_of('/'));
            const bool ours = name.starts_with("hub/") || name.starts_with("pns/sim/");
            INFO(source.path << " includes " << name);
            const bool with_store = known.contains("hub/device") || known.contains("hub/http");
            if (name.starts_with("registry/") && !with_store) CHECK(plain_values.contains(name));
            if (!ours) continue;
            CHECK(known.contains(other));
        }
    }
}

TEST_CASE("heavy libraries stay in the files that own them", "[tree]") {
    struct Owner {
        std::string_view prefix;
        std::set<std::string> files;
    };
    const std::vector<Owner> owners{
        {"nghttp2/", {"pns/h2_session.cpp"}},
        {"curl/", {"hub/process/http_client.cpp"}},
        {"toml++/", {"hub/process/config_file.cpp"}},
        {"boost/beast", {"hub/server/serve_h1.cpp", "pns/h1_codec.cpp"}},
        {"rocksdb/",
         {"registry/store.cpp", "registry/rocks_rules.cpp", "registry/trace_store.cpp",
          "registry/rocks_log.hpp", "registry/rocks_watch.hpp", "bench/raw_store.cpp"}},
    };
    for (const Source& source : cpp_sources()) {
        for (const std::string& name : includes(source)) {
            for (const Owner& owner : owners) {
                if (!name.starts_with(owner.prefix) || source.path.starts_with("tests/")) continue;
                INFO(source.path << " includes " << name);
                CHECK(owner.files.contains(source.path));
            }
        }
    }
}

TEST_CASE("only the nursery starts coroutines", "[tree]") {
    static const std::regex word(R"(\b(co_spawn|detached)\b)");
    for (const Source& source : cpp_sources()) {
        if (source.path.starts_with("tests/") || source.path == "pns/nursery.cpp") continue;
        const std::string code = code_only(source.text);
        for (std::sregex_iterator it(code.begin(), code.end(), word), end; it != end; ++it) {
            INFO(source.path << ":" << line_of(code, static_cast<std::size_t>(it->position())));
            CHECK(it->str().empty());
        }
    }
}

TEST_CASE("no await expression holds a temporary that g++ 12 destroys twice", "[tree]") {
    SECTION("the scan finds what it must and nothing else") {
        const std::vector<std::pair<std::string, bool>> cases{
            {"co_await f([x] { return x; });", true},
            {"co_await f([x = std::move(y)]() mutable {});", true},
            {"co_await f([=] {});", true},
            {"co_await f(Agg{a, b});", true},
            {"co_await f({.a = x});", true},
            {"co_await [x]() -> Task<int> { co_return x; }();", true},
            {"co_await f([&x] { return Agg{1}; });", false},
            {"co_await f([this] { g(); });", false},
            {"co_await f([] { return 1; });", false},
            {"co_await f(v[i], w[j + 1]);", false},
            {"if (co_await f(x)) { y = Agg{1}; }", false},
            {"while (!(co_await f(x))) { g({1}); }", false},
            {"const Agg a{1, 2}; co_await f(std::move(a));", false},
            {"// co_await f(Agg{a})\ng();", false},
            {"log(\"co_await f({\"); g();", false},
        };
        for (const auto& [text, expected] : cases) {
            INFO(text);
            CHECK(doubtful_awaits(code_only(text)).empty() != expected);
        }
    }
    SECTION("the tree is free of them") {
        for (const Source& source : cpp_sources()) {
            for (const std::size_t line : doubtful_awaits(code_only(source.text))) {
                INFO(source.path << ":" << line);
                CHECK(line == 0);
            }
        }
    }
}

TEST_CASE("no condition awaits, which g++ 12 lays out wrongly now and then", "[tree]") {
    static const std::regex doubtful(R"(\b(if|while|switch) \(([^()]|\([^()]*\)|\()*?co_await)");
    CHECK(std::regex_search("if (!co_await f(x)) co_return;", doubtful));
    CHECK(std::regex_search("while ((co_await a.f<int>(std::move(x))).ok) {", doubtful));
    CHECK(std::regex_search("if (!co_await f()) co_return;", doubtful));
    CHECK(std::regex_search("if (a(b) && !co_await f()) co_return x;", doubtful));
    CHECK_FALSE(std::regex_search("if (a(b)) co_await f();", doubtful));
    CHECK_FALSE(std::regex_search("const bool b = co_await f(x); if (b) {}", doubtful));
    for (const Source& source : cpp_sources()) {
        if (source.path == "tests/tree_tidy_test.cpp") continue;
        INFO(source.path);
        CHECK_FALSE(std::regex_search(code_only(source.text), doubtful));
    }
}

TEST_CASE("tests wait with a bound", "[tree]") {
    // A race may take turns that it counts; the torture program paces itself.
    static const std::regex wait(R"(this_thread::(yield|sleep_for|sleep_until))");
    static const std::regex counted(R"(\bfor \(int turn = 0; turn < [^;]+; \+\+turn\))");
    const auto unbounded = [](const std::string& code) {
        std::vector<std::size_t> lines;
        std::istringstream in(code);
        std::size_t number = 0;
        for (std::string line; std::getline(in, line);) {
            ++number;
            if (std::regex_search(line, wait) && !std::regex_search(line, counted))
                lines.push_back(number);
        }
        return lines;
    };
    CHECK(unbounded("while (!ready) std::this_thread::yield();").size() == 1);
    CHECK(unbounded("for (;;) {\n    std::this_thread::sleep_for(ms);\n}").size() == 1);
    CHECK(unbounded("for (int turn = 0; turn < n; ++turn) std::this_thread::yield();").empty());
    for (const Source& source : cpp_sources()) {
        if (!source.path.starts_with("tests/") || source.path.starts_with("tests/torture") ||
            source.path == "tests/support/comes_true.hpp")
            continue;
        for (const std::size_t line : unbounded(code_only(source.text))) {
            INFO(source.path << ":" << line << " waits without support::comes_true()");
            CHECK(line == 0);
        }
    }
}

TEST_CASE("hub/ and pns/ are handed their clock, but for where a process begins", "[tree]") {
    static const std::regex reading(
        R"(\bsystem_clock\(\)|\b\w*clock::now\(|\bClock::now\(|\b(std::|::)?time\((nullptr|NULL|0|&)|\b(gettimeofday|clock_gettime|localtime)\()");
    CHECK(std::regex_search("const auto now = std::chrono::steady_clock::now();", reading));
    CHECK(std::regex_search("send(pns::system_clock().wall_ms());", reading));
    CHECK(std::regex_search("const auto now = std::time(nullptr);", reading));
    CHECK_FALSE(std::regex_search("const auto now = clock_.steady_ms();", reading));
    // The hub as it is started, verbs of the command line, and simulators, which stand for other
    // machines. std::chrono's clock names a type of time, too: only now() reads it.
    const std::set<std::string> exempt{"hub/service.hpp", "pns/clock.hpp", "pns/clock.cpp"};
    for (const Source& source : cpp_sources()) {
        if (!starts_with_any(source.path, {"hub/", "pns/"})) continue;
        if (starts_with_any(source.path, {"hub/cli/", "pns/sim/"})) continue;
        if (exempt.contains(source.path)) continue;
        const std::string code = code_only(source.text);
        for (std::sregex_iterator it(code.begin(), code.end(), reading), end; it != end; ++it) {
            INFO(source.path << ":" << line_of(code, static_cast<std::size_t>(it->position())));
            CHECK(it->str().empty());
        }
    }
}

TEST_CASE("files hold no machine paths, leftover markers or conflict marks", "[tree]") {
    std::vector<Source> all = read_tree(
        {"tagexpr", "registry", "pns", "hub", "bench", "tests", "scripts", "docs", "README.md"});
    // Spelled apart, so that this file passes its own test.
    const std::vector<std::string> markers{
        std::string("TO") + "DO",     std::string("FIX") + "ME",    std::string("XX") + "X:",
        std::string("<<<<") + "<<< ", std::string(">>>>") + ">>> ", std::string("/ho") + "me/",
        std::string("/wo") + "rk/",   std::string("/ro") + "ot/"};
    for (const Source& source : all) {
        if (source.path.ends_with("package-lock.json")) continue;
        for (const std::string& marker : markers) {
            const std::size_t at = source.text.find(marker);
            if (at == std::string::npos) continue;
            INFO(source.path << ":" << line_of(source.text, at) << " holds " << marker);
            CHECK(at == std::string::npos);
        }
    }
}

TEST_CASE("pages, sections and files that are named exist", "[tree]") {
    SECTION("the scan finds what it must") {
        const std::string page = std::string("docs/") + "x/y.md";
        const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
            {page + ": text 3", {}},
            {page + " 2; RFC 8030", {"2"}},
            {page + " 1.2 to 1.4, 11). Pure", {"1.2", "1.4", "11"}},
            {page + " 0 and 9, P-31", {"0", "9"}},
            {"(" + page + "\n    /// 8.9).", {"8.9"}},
        };
        for (const auto& [text, expected] : cases) {
            INFO(text);
            const auto found = citations(text);
            REQUIRE(found.size() == 1);
            CHECK(found[0].page == page);
            CHECK(found[0].sections == expected);
        }
        CHECK(citations("https://example.test/" + page + " 3").empty());
    }
    const std::vector<Source> all =
        read_tree({"tagexpr", "registry", "pns", "hub", "bench", "tests", "scripts", "docs",
                   "README.md", "CMakeLists.txt"});
    std::map<std::string, std::set<std::string>> headings;  // by page: the numbers they begin with
    for (const Source& source : all) {
        if (!source.path.ends_with(".md")) continue;
        static const std::regex heading(R"(^#+ ([0-9]+(\.[0-9]+)*)[. ])", std::regex::multiline);
        std::set<std::string>& numbers = headings[source.path];
        for (std::sregex_iterator it(source.text.begin(), source.text.end(), heading), end;
             it != end; ++it)
            numbers.insert((*it)[1]);
    }
    SECTION("by their place in the tree") {
        std::size_t cited = 0;
        for (const Source& source : all) {
            for (const Citation& one : citations(source.text)) {
                INFO(source.path << ":" << one.line << " cites " << one.page);
                CHECK(headings.contains(one.page));
                for (const std::string& section : one.sections) {
                    INFO(section);
                    CHECK(headings[one.page].contains(section));
                    ++cited;
                }
            }
        }
        CHECK(cited > 100);
    }
    SECTION("contracts are cited by their place in the tree, and no page outside of it is") {
        for (const Source& source : all) {
            if (!is_cpp(source.path) || source.path == "tests/tree_tidy_test.cpp") continue;
            INFO(source.path);
            CHECK(source.text.find("design.md") == std::string::npos);
            for (const std::string_view page : {"ontracts/anh.md", "ontracts/pns.md"})
                for (std::size_t at = source.text.find(page); at != std::string::npos;
                     at = source.text.find(page, at + 1))
                    CHECK(source.text.substr(at - std::min<std::size_t>(at, 6), 6) == "docs/c");
        }
    }
    SECTION("sources that comments and pages name") {
        // A test that a source names, a file that the map names: `pns/apns.cpp`.
        static const std::regex tail(R"(^(/[a-z0-9_]+)+\.(cpp|hpp|mjs|md)\b)");
        const fs::path top = PUSHHUB_SOURCE_DIR;
        std::size_t named = 0;
        for (const Source& source : all) {
            for (const std::string_view folder :
                 {"tagexpr", "registry", "pns", "hub", "bench", "tests", "scripts"}) {
                for (std::size_t at = source.text.find(folder); at != std::string::npos;
                     at = source.text.find(folder, at + 1)) {
                    const char left = at > 0 ? source.text[at - 1] : ' ';
                    if (std::isalnum(static_cast<unsigned char>(left)) || left == '/' ||
                        left == '_' || left == '-' || left == '.')
                        continue;
                    const std::string text = source.text.substr(at + folder.size(), 80);
                    std::smatch match;
                    if (!std::regex_search(text, match, tail)) continue;
                    INFO(source.path << ":" << line_of(source.text, at) << " names " << folder
                                     << match.str());
                    CHECK(fs::exists(top / (std::string(folder) + match.str())));
                    ++named;
                }
            }
        }
        CHECK(named > 1'000);
    }
    SECTION("by links") {
        static const std::regex link(R"(\]\(([^)#: ]+))");
        const fs::path top = PUSHHUB_SOURCE_DIR;
        for (const Source& source : all) {
            if (!source.path.ends_with(".md")) continue;
            for (std::sregex_iterator it(source.text.begin(), source.text.end(), link), end;
                 it != end; ++it) {
                INFO(source.path << " links to " << (*it)[1]);
                CHECK(fs::exists((top / source.path).parent_path() / (*it)[1].str()));
            }
        }
    }
}

TEST_CASE("every header guards itself and every source ends its last line", "[tree]") {
    for (const Source& source : cpp_sources()) {
        INFO(source.path);
        if (source.path.ends_with(".hpp")) CHECK(source.text.starts_with("#pragma once"));
        CHECK((!source.text.empty() && source.text.back() == '\n'));
        CHECK(source.text.find('\t') == std::string::npos);
        CHECK(source.text.find('\r') == std::string::npos);
    }
}
