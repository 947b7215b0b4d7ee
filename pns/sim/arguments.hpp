#pragma once

// Reads the command line of a verb, with the exit codes that all verbs have.

#include <CLI/CLI.hpp>
#include <optional>

#include "pns/exit_code.hpp"

namespace pns::sim {

/// A number: the verb ends with it. Help, or what is wrong, was printed.
inline std::optional<int> read_arguments(CLI::App& app, int argc, char** argv) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& stop) {
        return app.exit(stop) == 0 ? exit_done : exit_usage;
    }
    return std::nullopt;
}

}  // namespace pns::sim
