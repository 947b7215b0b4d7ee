#pragma once

// TLS on a TCP socket, for both sides. What arrives is decrypted out of a buffer that all
// connections of a thread share, and what is written goes out in few system calls, so a connection
// that waits holds no buffer of its own. One loop. At most one read and one write at a time; the
// socket belongs to the owner, who ends both by closing or cancelling it.

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "pns/alarm.hpp"
#include "pns/task.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace pns {

class TlsStream {
  public:
    using Socket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
    enum class Side : std::uint8_t { client, server };
    struct Moved {
        error_code failure;
        std::size_t bytes = 0;
    };

    /// `socket` outlives it. Throws std::bad_alloc.
    TlsStream(Socket& socket, ssl_ctx_st* context, Side side);
    ~TlsStream();
    TlsStream(const TlsStream&) = delete;
    TlsStream& operator=(const TlsStream&) = delete;

    /// Failures of TLS itself are of asio's category for it, all others are the socket's.
    Task<error_code> handshake();
    /// Waits until something can be read, and takes all that has come and fits. asio::error::eof:
    /// the peer has said goodbye; stream_truncated: it has ended without.
    Task<Moved> read_some(std::span<std::uint8_t> into);
    /// What has come already, without a wait; 0: the next read waits, ends or fails.
    std::size_t read_ready(std::span<std::uint8_t> into);
    /// Ends when the system has all of it. On failure `bytes` is what has left in whole records:
    /// nobody can read the rest.
    Task<Moved> write(std::span<const std::uint8_t> bytes);
    /// Says goodbye; does not wait for the peer's.
    Task<error_code> shutdown();

    ssl_st* native_handle() const { return ssl_.get(); }

  private:
    struct FreeSsl {
        void operator()(ssl_st* ssl) const;
    };
    /// What OpenSSL reads from, where `at` is in the thread's buffer or in `kept`.
    struct Input {
        const std::uint8_t* at = nullptr;
        std::size_t left = 0;
        std::vector<std::uint8_t> kept;  // did not fit into the reader's buffer
    };
    friend struct TlsBio;

    std::size_t take(std::span<std::uint8_t> into, error_code& failure);
    void keep_rest();
    error_code receive(std::size_t wanted);
    Task<error_code> await_input(std::size_t wanted);
    Task<error_code> flush();
    /// Who writes; ended also by a cancelled coroutine.
    class Turn {
      public:
        explicit Turn(TlsStream& stream) : stream_(stream) { stream_.writing_ = true; }
        ~Turn() {
            stream_.writing_ = false;
            if (stream_.turn_) stream_.turn_->cancel();
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

      private:
        TlsStream& stream_;
    };
    Task<void> wait_for_turn();
    error_code failure_of(int result);

    Socket& socket_;
    std::unique_ptr<ssl_st, FreeSsl> ssl_;
    Input input_;
    std::vector<std::uint8_t> output_, sending_;  // encrypted; being sent
    std::size_t sent_ = 0;                        // of sending_
    std::uint64_t left_ = 0;                      // bytes that the system took, ever
    bool drained_ = false;                        // the last receive took all there was
    bool writing_ = false;
    std::optional<SteadyTimer> turn_;  // never rings; who waits for the writer is let through
};

}  // namespace pns
