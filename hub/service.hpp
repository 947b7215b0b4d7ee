#pragma once

// A whole hub in one object: builds every part by hand, in order, and stops them in reverse. One
// thread starts, stops and destroys it; the parts run on threads of their own.
// `pushhub serve`, `pushhub dev` and tests embed it.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "hub/api/parts.hpp"
#include "hub/process/config.hpp"
#include "pns/clock.hpp"

namespace hub {

class Service {
  public:
    /// Null: it could not be started, and `why` says in one line what is wrong. `clock` is all that
    /// the hub knows of time, but for timers, which wait in the machine's; it outlives the hub.
    static std::unique_ptr<Service> start(const Config& config, std::string& why,
                                          const pns::Clock& clock = pns::system_clock());
    ~Service();  ///< stop()

    std::uint16_t port() const;             ///< of the TLS listener
    std::uint16_t plain_port() const;       ///< 0 = off
    std::uint16_t public_port() const;      ///< of listen_plain_public; 0 = off
    std::uint16_t admin_port() const;       ///< 0 = off
    std::string url() const;                ///< https://host:port
    std::filesystem::path ca_file() const;  ///< empty with an operator's certificate
    std::filesystem::path root_key_file()
        const;  ///< empty when the key comes from the configuration
    /// The connection string of the root rule. It is a secret and never goes to a log.
    std::string connection_string() const;
    bool made_store() const;  ///< the data directory had none
    Parts& parts();

    /// Takes over what `config` changes and can change without a restart, and reads certificates
    /// and root keys again; the log has what came of it. If something is wrong with it nothing
    /// changes. The thread that owns the service.
    void reload(const Config& config);

    /// Is not ready for Config::shutdown_delay_ms, then drains for at most Config::drain_ms_max. A
    /// second call does nothing.
    void stop();

  private:
    struct Impl;
    explicit Service(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// Blocks SIGINT, SIGTERM and SIGHUP from now on until wait(); afterwards a second one that stops
/// ends the process at once.
class StopSignal {
  public:
    StopSignal();
    ~StopSignal();
    /// Until a signal that stops. SIGHUP stops, too, unless there is something to do instead.
    void wait(const std::function<void()>& on_hangup = {});

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// The verb: arguments after `pushhub`, so argv[0] is "serve". Returns the exit code.
int serve_main(int argc, char** argv);

}  // namespace hub
