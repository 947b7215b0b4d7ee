// Names in the sources that users meet, held against the pages that list them.

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/support/pages.hpp"

namespace {

namespace fs = std::filesystem;

std::vector<std::string> pages() {
    std::vector<std::string> out{"README.md"};
    for (const auto& entry : fs::directory_iterator(fs::path(PUSHHUB_SOURCE_DIR) / "docs")) {
        if (entry.path().extension() == ".md")
            out.push_back("docs/" + entry.path().filename().string());
    }
    return out;
}

/// The first group of every match in the sources under `folder`.
std::set<std::string> found_in(const std::string& folder, const std::regex& wanted) {
    std::set<std::string> out;
    for (const auto& entry :
         fs::recursive_directory_iterator(fs::path(PUSHHUB_SOURCE_DIR) / folder)) {
        if (entry.path().extension() != ".cpp") continue;
        std::ifstream in(entry.path());
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        for (std::sregex_iterator it(text.begin(), text.end(), wanted), end; it != end; ++it)
            out.insert((*it)[1]);
    }
    return out;
}

}  // namespace

TEST_CASE("every metric of the sources is in the list, and no other", "[tree]") {
    const std::set<std::string> known =
        found_in("hub", std::regex("\"((pushhub|process)_[a-z_]+)\""));
    CHECK(known.size() > 60);
    const std::string page = support::page_text("docs/metrics.md");
    for (const std::string& name : known) {
        INFO(name);
        CHECK(page.find("`" + name + "`") != std::string::npos);
    }
    for (const std::string& one : pages()) {
        const std::string text = support::page_text(one);
        static const std::regex named("`(pushhub_[a-z_]+)");
        for (std::sregex_iterator it(text.begin(), text.end(), named), end; it != end; ++it) {
            INFO(one << " names " << (*it)[1]);
            CHECK(known.contains((*it)[1]));
        }
    }
}

TEST_CASE("every error code of the JSON routes is in the table", "[tree]") {
    const std::string page = support::page_text("docs/api.md");
    std::set<std::string> codes =
        found_in("hub", std::regex(R"re((?:problem\(|NotPushed\{)[^;"]*"([a-z]+(?:-[a-z]+)*)")re"));
    for (const std::string& code :
         found_in("hub/http", std::regex(R"re(return "([a-z]+(?:-[a-z]+)*)";)re")))
        codes.insert(code);
    CHECK(codes.size() > 25);
    for (const std::string& code : codes) {
        INFO(code);
        CHECK(page.find("`" + code + "`") != std::string::npos);
    }
}

TEST_CASE("the exit codes are in the table", "[tree]") {
    const std::string page = support::page_text("docs/operations.md");
    std::ifstream in(fs::path(PUSHHUB_SOURCE_DIR) / "pns/exit_code.hpp");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    static const std::regex code(R"(exit_[a-z]+ = ([0-9]+))");
    std::size_t count = 0;
    for (std::sregex_iterator it(text.begin(), text.end(), code), end; it != end; ++it, ++count)
        CHECK(page.find("\n| " + (*it)[1].str() + " | ") != std::string::npos);
    CHECK(count == 6);
}

TEST_CASE("pages whose commands no test runs say why", "[tree]") {
    // tests/hub_documents_test.cpp runs the commands of these.
    const std::string runner = support::page_text("tests/hub_documents_test.cpp");
    std::size_t blocks = 0;
    for (const std::string& page : pages()) {
        for (const auto& block : support::command_blocks(support::page_text(page))) {
            ++blocks;
            INFO(page << ":" << block.line);
            CHECK((!block.not_run.empty() || runner.find("\"" + page + "\"") != std::string::npos));
        }
    }
    CHECK(blocks > 20);
}
