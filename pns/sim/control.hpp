#pragma once

// The control port of one simulator: plain HTTP/1.1 on loopback, JSON.
//
//   GET  /report                      everything counted and derived, see report_json()
//   GET  /counters                    the counters alone, flat
//   GET  /received[?outcome=refused]  one handle per line: pushes accepted (or refused)
//   GET  /journal[?handle=…]          one JSON object per line and push, by arrival
//   GET  /events                      one JSON object per line: what happened to connections
//   GET  /bodies?handle=<encoded>     the last body that came for a handle
//   GET  /subscription?endpoint=<encoded>  browser: what its browser would hand to the hub
//   GET  /faults                      the catalogue of faults
//   POST /rules    as read_rules(); {"add":true} keeps the handles there are
//   POST /faults   as read_faults(); an empty list ends all
//   POST /reset    forgets what arrived; {"rules":true} the rules too, {"faults":true} the faults
//   POST /event    {"event":"goaway"|"settings"|"ping"|"reset"|"close"|"revoke_tokens"|"clock",…}

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <set>
#include <string>

#include "pns/nursery.hpp"
#include "pns/sim/h1_request.hpp"
#include "pns/sim/simulator.hpp"

namespace pns::sim {

std::string counters_json(const std::string& platform, const Counters& counters);

std::string report_json(const std::string& platform, const Simulator& simulator);
std::string journal_lines(const Simulator& simulator, std::string_view handle);
std::string event_lines(const Simulator& simulator);
std::string faults_json();

/// Answers one control request: text of the whole response.
std::string answer_control(Simulator& simulator, const Platform& platform,
                           const H1Request& request);

/// Listens; belongs to one loop. close() ends its connections and itself.
class ControlPort {
  public:
    using Answer = std::function<std::string(const H1Request&)>;
    using Socket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
    using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;

    ControlPort(Nursery& nursery, Acceptor acceptor, Answer answer)
        : nursery_(nursery), acceptor_(std::move(acceptor)), answer_(std::move(answer)) {}
    Task<void> run();
    void close();

  private:
    Task<void> serve(Socket socket);

    Nursery& nursery_;
    Acceptor acceptor_;
    Answer answer_;
    std::set<Socket*> sockets_;
};

}  // namespace pns::sim
