#pragma once

// `pushhub dev`: a hub and simulators of every provider in one process, under one data directory,
// with one authority for all certificates. The hub `dev` has credentials that the simulators accept
// and settings that lead to them.

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace hub {

struct DevOptions {
    std::filesystem::path data_dir;
    std::uint16_t port = 0;  ///< TLS port of the hub on 127.0.0.1; 0 = any free
    std::string log_level = "warn";
};

/// Everything runs from construction to destruction, on threads of its own. The constructor throws
/// std::runtime_error when something cannot start.
class DevHub {
  public:
    explicit DevHub(const DevOptions& options);
    ~DevHub();
    DevHub(const DevHub&) = delete;
    DevHub& operator=(const DevHub&) = delete;

    static constexpr std::string_view hub_name = "dev";
    const std::string& url() const;                ///< https://localhost:PORT
    const std::string& connection_string() const;  ///< of the namespace's root rule
    const std::string& ca_file() const;            ///< PEM: trust this
    std::string sim_url(
        std::string_view platform) const;  ///< control port of a simulator, by platform name

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// The verb: arguments after `pushhub`, so argv[0] is "dev". Returns the exit code.
int dev_main(int argc, char** argv);

}  // namespace hub
