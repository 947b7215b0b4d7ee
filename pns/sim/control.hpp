#pragma once

// The control port of one simulator: plain HTTP/1.1 on loopback, JSON. Routes stand in
// simulator.hpp.

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <set>
#include <string>

#include "pns/nursery.hpp"
#include "pns/sim/h1_request.hpp"
#include "pns/sim/simulator.hpp"

namespace pns::sim {

std::string counters_json(const std::string& platform, const Counters& counters);

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
