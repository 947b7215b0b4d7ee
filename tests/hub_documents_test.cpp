// What the documents say, held against the program: commands are run, tables compared.

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "hub/cli/client.hpp"
#include "hub/cli/dev.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/winter_games.hpp"
#include "hub/process/config.hpp"
#include "hub/process/log.hpp"
#include "tests/support/pages.hpp"

namespace {

namespace fs = std::filesystem;

const std::vector<std::string> run_pages{
    "docs/api.md",        "docs/operations.md", "docs/web-push.md",          "docs/control.md",
    "docs/simulators.md", "docs/providers.md",  "docs/anh-compatibility.md", "README.md"};

/// Commands of a page in one shell, as somebody would type them; what it printed, and its code.
std::pair<int, std::string> run_in_shell(const fs::path& dir, const std::string& script) {
    std::ofstream(dir / "script") << script;
    const std::string command = "cd '" + dir.string() + "' && timeout 120 bash script >output 2>&1";
    const int status = std::system(command.c_str());
    std::ifstream in(dir / "output");
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()}};
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
    return text;
}

}  // namespace

TEST_CASE("every command of the documents runs, or says why it is not run", "[hub]") {
    const fs::path dir =
        fs::temp_directory_path() / ("pushhub-pages-" + std::to_string(::getpid()));
    fs::create_directories(dir / "bin");
    fs::create_symlink(fs::path(PUSHHUB_BINARY_DIR) / "pushhub", dir / "bin" / "pushhub");
    {
        hub::DevOptions options;
        options.data_dir = dir / "dev";
        options.log_level = "off";
        const hub::DevHub hub(options);
        hub::HubClient client(hub.connection_string(), hub.ca_file());
        hub::register_devices(client, "dev", hub::WinterGames(500));
        hub::ClientRequest request;
        request.method = "POST";
        request.path = "/dev/audience";
        request.body = R"({"tagExpression":"sport:luge && !muted","format":"apple"})";
        CHECK(client.call(request).body.find("\"audience\":0") == std::string::npos);

        const std::string prelude =
            "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
            "export PATH='" +
            (dir / "bin").string() +
            "':$PATH\n"
            "export PUSHHUB_URL='" +
            hub.url() + "' PUSHHUB_HUB=dev PUSHHUB_CA_FILE='" + hub.ca_file() +
            "' PUSHHUB_CONNECTION_STRING='" + hub.connection_string() + "'\n";
        const auto api = support::command_blocks(support::page_text("docs/api.md"));
        REQUIRE(api.front().text.starts_with("SERVER="));  // defines what all pages use
        std::size_t run = 0;
        for (const std::string& page : run_pages) {
            std::string script;
            for (const auto& block : support::command_blocks(support::page_text(page))) {
                if (!block.not_run.empty()) continue;
                script += block.text;
                ++run;
            }
            if (script.empty()) continue;
            if (page != "docs/api.md") script = api.front().text + script;
            script = prelude + replaced(script, "/tmp/sims", (dir / "sims").string());
            const auto [code, printed] = run_in_shell(dir, script);
            INFO(page << "\n" << printed);
            CHECK(code == 0);
        }
        CHECK(run >= 12);
    }
    hub::open_log("warn", "text");
    fs::remove_all(dir);
}

TEST_CASE("the table of settings is that of the program", "[hub]") {
    std::map<std::string, std::string> printed, documented;
    std::istringstream in(hub::print_config(hub::Config()));
    const auto plain = [](std::string text) {
        std::erase_if(text, [](char c) { return c == '"' || c == '[' || c == ']' || c == '`'; });
        return text;
    };
    for (std::string line; std::getline(in, line);) {
        const auto equals = line.find(" = ");
        if (line.starts_with("#") || equals == std::string::npos) continue;
        printed[line.substr(0, equals)] = plain(line.substr(equals + 3));
    }
    std::istringstream page(support::page_text("docs/configuration.md"));
    for (std::string line; std::getline(page, line);) {
        if (!line.starts_with("| `")) continue;
        const auto end = line.find(" | ");
        const auto next = line.find(" | ", end + 3);
        std::string value = line.substr(end + 3, next - end - 3);
        if (line.substr(end, 6) == " |  | ") value.clear();
        documented[plain(line.substr(2, end - 2))] = plain(value);
    }
    REQUIRE(printed.size() > 50);
    for (const auto& [key, value] : printed) {
        INFO(key);
        REQUIRE(documented.contains(key));
        CHECK(documented[key] == value);
    }
    for (const auto& [key, value] : documented) {
        INFO(key);
        CHECK(printed.contains(key));
    }
}
