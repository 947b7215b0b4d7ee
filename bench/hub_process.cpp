#include "bench/hub_process.hpp"

#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <vector>

#include "bench/client.hpp"

namespace bench {
namespace {

constexpr double ready_timeout_s = 30;

std::string joined(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& item : items) out += (out.empty() ? "" : ",") + item;
    return out;
}

std::string read_line(const std::filesystem::path& path) {
    std::ifstream in(path);
    std::string line;
    if (!std::getline(in, line)) throw std::runtime_error("cannot read " + path.string());
    return line;
}

}  // namespace

HubProcess::HubProcess(const std::filesystem::path& dir, const Sink& sink, unsigned lanes)
    : port_(free_port()),
      data_(dir / "hub"),
      process_({own_program(), "serve", "--data-dir", data_.string(), "--listen",
                "127.0.0.1:" + std::to_string(port_), "--lanes", std::to_string(lanes),
                "--provider-ca-file", sink.ca_file(), "--connect-to", joined(sink.connect_to()),
                "--log-level", "warn"},
               dir / "hub.log") {
    wait_until_ready();
    connection_string_ = "Endpoint=sb://localhost:" + std::to_string(port_) +
                         "/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=" +
                         read_line(data_ / "root.key");
}

void HubProcess::wait_until_ready() {
    for (int attempt = 0; attempt < ready_timeout_s * 20; ++attempt) {
        if (!process_.running()) throw std::runtime_error("the hub ended: " + process_.output());
        if (std::filesystem::exists(ca_file()) && std::filesystem::exists(data_ / "root.key")) {
            try {
                HubClient probe("Endpoint=sb://localhost:" + std::to_string(port_) +
                                    "/;SharedAccessKeyName=none;SharedAccessKey=none",
                                ca_file());
                ClientRequest request;
                request.path = "/readyz";
                if (probe.call(std::move(request)).status == 200) return;
            } catch (const std::exception&) {
                // Not listening yet.
            }
        }
        ::usleep(50'000);
    }
    throw std::runtime_error("the hub did not become ready: " + process_.output());
}

}  // namespace bench
