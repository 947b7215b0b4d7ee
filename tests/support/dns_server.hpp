#pragma once

// A name server on loopback, over UDP: gives every name the addresses that it is told, nothing, or
// no answer at all.

#include <algorithm>
#include <array>
#include <boost/asio/ip/udp.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "pns/nursery.hpp"
#include "pns/task.hpp"

namespace support {

class DnsServer {
  public:
    explicit DnsServer(boost::asio::io_context& loop)
        : nursery_(loop.get_executor()),
          socket_(loop.get_executor(),
                  boost::asio::ip::udp::endpoint(boost::asio::ip::address_v4::loopback(), 0)) {
        nursery_.start(serve());
    }
    /// As NameLookup takes it.
    std::string address() const {
        return "127.0.0.1:" + std::to_string(socket_.local_endpoint().port());
    }
    void stop() {
        pns::error_code ignored;
        socket_.close(ignored);
    }
    bool ended() const { return nursery_.size() == 0; }

    bool silent = false;
    std::vector<boost::asio::ip::address_v4> addresses;  ///< none: there is no such name
    int queries = 0;

  private:
    pns::Task<void> serve() {
        std::array<std::uint8_t, 512> in;
        boost::asio::ip::udp::endpoint peer;
        for (;;) {
            auto [ec, size] =
                co_await socket_.async_receive_from(boost::asio::buffer(in), peer, pns::as_result);
            if (ec) co_return;
            ++queries;
            if (silent || size < 17) continue;
            const auto out = answer(in.data(), size);
            pns::error_code ignored;
            socket_.send_to(boost::asio::buffer(out), peer, 0, ignored);
        }
    }
    // RFC 1035 4: header, the question as it came, and an A record for each address.
    std::vector<std::uint8_t> answer(const std::uint8_t* in, std::size_t size) const {
        std::size_t end = 12;
        while (end < size && in[end] != 0) end += in[end] + 1U;
        end = std::min(end + 5, size);  // the root label, type and class
        const bool asks_a = in[end - 3] == 1;
        const std::size_t count = asks_a ? addresses.size() : 0;
        std::vector<std::uint8_t> out(in, in + end);
        out[2] = 0x81;
        out[3] = addresses.empty() ? 0x83 : 0x80;
        out[7] = static_cast<std::uint8_t>(count);
        out[6] = out[8] = out[9] = out[10] = out[11] = 0;
        for (std::size_t i = 0; i < count; ++i) {
            for (const int byte : {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4}) {
                out.push_back(static_cast<std::uint8_t>(byte));
            }
            for (const auto byte : addresses[i].to_bytes()) out.push_back(byte);
        }
        return out;
    }
    pns::Nursery nursery_;
    boost::asio::basic_datagram_socket<boost::asio::ip::udp, pns::Executor> socket_;
};

}  // namespace support
