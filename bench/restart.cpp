#include "bench/restart.hpp"

#include <CLI/CLI.hpp>
#include <stdexcept>

#include "bench/crowd.hpp"
#include "bench/experiment.hpp"
#include "bench/hub_process.hpp"
#include "bench/load.hpp"
#include "bench/store_fill.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"

namespace bench {
namespace {

constexpr const char* hub_name = "restart";
constexpr double writing_s = 1.5;  ///< before SIGKILL
constexpr unsigned writers = 16;

struct Options {
    std::uint32_t devices = 1'000'000;
    unsigned lanes = 0;
};

class Restart {
  public:
    Restart(Experiment& experiment, const Options& options)
        : experiment_(experiment),
          options_(options),
          sink_(experiment.dir()),
          hub_(experiment.dir(), sink_, {options.lanes, {}}),
          written_(options.devices) {}

    void run() {
        experiment_.results().option("devices", options_.devices);
        {
            hub::HubClient client(hub_.connection_string(), hub_.ca_file());
            hub::create_hub(client, hub_name, sink_.credentials());
        }
        hub_.stop();
        fill_store(hub_.data_dir(), hub_name, options_.devices,
                   [this](std::uint32_t i) { return crowd_.device(i); });
        hub_.start();
        for (unsigned i = 1; i <= experiment_.runs(); ++i) one_round(i);
        Results& results = experiment_.results();
        results.add("store_mib",
                    static_cast<double>(bytes_on_disk(hub_.data_dir() / "store")) / (1 << 20));
        results.add_ratio("clean_ratio", "clean_s", "read_s");
        results.add_ratio("killed_ratio", "killed_s", "read_s");
    }

  private:
    void one_round(unsigned number) {
        Results& results = experiment_.results();
        write();
        hub_.stop();
        const double clean = start_cold();
        check();
        write();
        hub_.kill();
        const double killed = start_cold();
        check();
        hub_.stop();
        drop_from_page_cache(hub_.data_dir());
        const double read = read_sequentially(hub_.data_dir() / "store");
        const double warm = hub_.start();
        results.add("clean_s", clean);
        results.add("killed_s", killed);
        results.add("warm_s", warm);
        results.add("read_s", read);
        print_run(number, "restart",
                  "clean " + hub::fixed(clean, 3) + " s, killed " + hub::fixed(killed, 3) +
                      " s, files in memory " + hub::fixed(warm, 3) + " s; reading the store " +
                      hub::fixed(read, 3) + " s");
    }
    double start_cold() {
        drop_from_page_cache(hub_.data_dir());
        return hub_.start();
    }
    /// New and known installations over REST, so that there is a log to replay.
    void write() {
        hub::HubClient client(hub_.connection_string(), hub_.ca_file(), writers);
        Load load;
        load.seconds = writing_s;
        run_load(client, load, [this](hub::ClientRequest& request) {
            const std::uint32_t number = written_++;
            request.method = "PUT";
            request.path = std::string("/") + hub_name + "/installations/device-" +
                           std::to_string(number) + "?api-version=2020-06";
            request.headers = {{"content-type", "application/json"}};
            request.body = R"({"installationId":"device-)" + std::to_string(number) +
                           R"(","platform":"apns","pushChannel":")" + token_of(number) +
                           R"(","tags":["late"]})";
        });
    }
    /// What was answered is there: the first of the filled devices and the last that was put.
    void check() {
        hub::HubClient client(hub_.connection_string(), hub_.ca_file());
        for (const std::uint32_t number : {0U, options_.devices - 1, written_ - 1}) {
            hub::ClientRequest request;
            request.path = std::string("/") + hub_name + "/installations/device-" +
                           std::to_string(number) + "?api-version=2020-06";
            if (client.call(std::move(request)).status != 200)
                throw std::runtime_error("device-" + std::to_string(number) +
                                         " was lost by a restart");
        }
    }

    Experiment& experiment_;
    const Options& options_;
    Sink sink_;
    HubProcess hub_;
    const Crowd crowd_{target("apns"), "", false};
    std::uint32_t written_;
};

}  // namespace

int restart_main(int argc, char** argv) {
    Experiment experiment("restart",
                          "Stops and kills a hub with many registrations, and measures how soon it "
                          "serves again with nothing of the store in memory.",
                          {3, 20, 1'800});
    Options options;
    CLI::App& app = experiment.app();
    app.add_option("--devices", options.devices, "installations in the store")
        ->capture_default_str()
        ->check(CLI::Range(1'000, 20'000'000));
    app.add_option("--lanes", options.lanes, "loops of the hub; 0 = one per core");
    return experiment.run(argc, argv, [&] { Restart(experiment, options).run(); });
}

}  // namespace bench
