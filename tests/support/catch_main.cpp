// The main function of every test program. At its end it names what failed, a line for each failed
// check: a long log hides where Catch2 has told it, and scripts/test prints these lines again.

#define CATCH_CONFIG_MAIN
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

class FailedAtEnd : public Catch::TestEventListenerBase {
  public:
    using TestEventListenerBase::TestEventListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo& test) override {
        TestEventListenerBase::testCaseStarting(test);
        test_ = test.name;
    }

    bool assertionEnded(const Catch::AssertionStats& stats) override {
        const Catch::AssertionResult& result = stats.assertionResult;
        if (result.isOk()) return true;
        std::ostringstream line;
        line << "failed: " << test_ << ": " << result.getSourceInfo() << ": ";
        line << (result.hasExpression() ? result.getExpression() : result.getMessage());
        if (result.hasExpandedExpression()) line << " (" << result.getExpandedExpression() << ")";
        for (const auto& note : stats.infoMessages) line << "; " << note.message;
        failures_.push_back(in_one_line(line.str()));
        failed_.insert(test_);
        return true;
    }

    void testRunEnded(const Catch::TestRunStats& stats) override {
        for (const std::string& failure : failures_) std::cout << failure << '\n';
        std::cout.flush();
        if (const char* folder = std::getenv("FAILED_TESTS_FOLDER"); folder && !failed_.empty()) {
            const auto program = std::filesystem::path(m_config->name()).filename();
            std::ofstream names(std::filesystem::path(folder) / program);
            for (const std::string& name : failed_) names << escaped(name) << '\n';
        }
        TestEventListenerBase::testRunEnded(stats);
    }

  private:
    static std::string in_one_line(std::string text) {
        constexpr std::size_t length_max = 2000;
        std::replace(text.begin(), text.end(), '\n', ' ');
        if (text.size() > length_max) text.resize(length_max);
        return text;
    }

    static std::string escaped(const std::string& name) {
        std::string text;
        for (const char c : name) {
            if (c == '\\' || c == ',' || c == '[') text += '\\';
            text += c;
        }
        return text;
    }

    std::string test_;
    std::set<std::string> failed_;
    std::vector<std::string> failures_;
};

CATCH_REGISTER_LISTENER(FailedAtEnd)

}  // namespace
