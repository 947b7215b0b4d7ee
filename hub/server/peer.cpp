// Tested by tests/hub_server_test.cpp.

#include "hub/server/peer.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/write.hpp>

#include "hub/server/unread_bytes.hpp"
#include "pns/tls.hpp"

namespace hub {

namespace asio = boost::asio;

namespace {
constexpr std::size_t step_bytes = 256 * 1024;  // that a reader must take in one time
constexpr int unsent_bytes_max = 128 * 1024;  // in the system, of what the window does not let out
}  // namespace

Peer::Peer(Socket socket, asio::ssl::context* tls, std::int64_t write_ms, const pns::Clock& clock,
           std::shared_ptr<Place> place)
    : place_(std::move(place)),
      socket_(std::move(socket)),
      alarm_(
          socket_.get_executor(), [this](std::int64_t now) { return look(now); }, clock),
      write_ms_(write_ms) {
    if (tls != nullptr) tls_.emplace(socket_, tls->native_handle(), pns::TlsStream::Side::server);
    pns::error_code gone;
    const auto other = socket_.remote_endpoint(gone);
    if (!gone) address_ = other.address().to_string();
    bound_unsent_bytes(socket_.native_handle(), unsent_bytes_max);
    place_->cut = [this] { cut(); };
}

pns::Task<bool> Peer::says_http_for_tls() {
    if (!tls_) co_return false;
    const auto [failure] = co_await socket_.async_wait(Socket::wait_read, pns::as_result);
    char first = 0;
    if (failure || ::recv(socket_.native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
        co_return false;
    // A TLS record begins with its type, a method with a letter.
    if (first < 'A' || first > 'Z') co_return false;
    tls_.reset();
    co_return true;
}

pns::Task<pns::error_code> Peer::handshake() {
    if (!tls_) co_return pns::error_code();
    co_return co_await tls_->handshake();
}

bool Peer::chose_h2() const {
    return tls_ && pns::chosen_protocol(tls_->native_handle()) == "h2";
}

pns::Task<std::pair<pns::error_code, std::size_t>> Peer::read_some(asio::mutable_buffer into) {
    // A socket has no news after its end: another read would wait for its deadline.
    if (ended_) co_return std::pair(ended_, std::size_t{0});
    if (tls_) {
        const std::span<std::uint8_t> room(static_cast<std::uint8_t*>(into.data()), into.size());
        const pns::TlsStream::Moved read = co_await tls_->read_some(room);
        if (read.failure != asio::error::operation_aborted) ended_ = read.failure;
        co_return std::pair(read.failure, read.bytes);
    }
    auto [failure, size] = co_await socket_.async_read_some(into, pns::as_result);
    if (failure != asio::error::operation_aborted) ended_ = failure;
    co_return std::pair(failure, size);
}

pns::Task<pns::error_code> Peer::write(asio::const_buffer bytes) {
    write_by_ms_ = now_ms() + write_ms_;
    alarm_.at_latest(write_by_ms_);
    pns::error_code outcome;
    if (tls_) {
        const std::span<const std::uint8_t> plain(static_cast<const std::uint8_t*>(bytes.data()),
                                                  bytes.size());
        const pns::TlsStream::Moved written = co_await tls_->write(plain);
        outcome = written.failure;
    } else {
        auto [failure, size] = co_await asio::async_write(socket_, bytes, pns::as_result);
        outcome = failure;
    }
    write_by_ms_ = pns::never_ms;
    if (!outcome && taken_by_ms_ == pns::never_ms) expect_reader();
    co_return outcome;
}

/// A write ends when the system has the bytes, which says nothing of a reader.
void Peer::expect_reader() {
    unread_ = open_ ? unread_bytes(socket_.native_handle()) : 0;
    taken_by_ms_ = pns::never_ms;
    if (unread_ == 0) return;
    taken_ = taken_bytes(socket_.native_handle()).value_or(0);
    taken_by_ms_ = now_ms() + write_ms_;
    alarm_.at_latest(taken_by_ms_);
}

bool Peer::is_reader_late() {
    const std::size_t left = open_ ? unread_bytes(socket_.native_handle()) : 0;
    if (left == 0) return false;
    const auto taken = taken_bytes(socket_.native_handle());
    if (!taken) return left >= unread_;
    return *taken - taken_ < std::min(unread_, step_bytes);
}

void Peer::expect_within(std::int64_t ms) {
    read_by_ms_ = now_ms() + ms;
    alarm_.at_latest(read_by_ms_);
}

std::int64_t Peer::look(std::int64_t now_ms) {
    bool unread = write_by_ms_ <= now_ms;
    if (taken_by_ms_ <= now_ms) {
        unread = unread || is_reader_late();
        expect_reader();
    }
    if (unread || read_by_ms_ <= now_ms) {
        if (unread || !on_late) {
            cut();
        } else {
            on_late();
        }
    }
    const std::int64_t next_ms = open_ && on_look ? on_look(now_ms) : pns::never_ms;
    return std::min({read_by_ms_, write_by_ms_, taken_by_ms_, next_ms});
}

void Peer::drain() {
    if (draining_) return;
    draining_ = true;
    if (on_drain) {
        on_drain();
    } else {
        cut();
    }
}

void Peer::interrupt() {
    pns::error_code ignored;
    socket_.cancel(ignored);
}

pns::Task<void> Peer::close() {
    constexpr std::int64_t linger_ms = 1'000;
    constexpr std::size_t linger_bytes_max = 1 << 20;
    on_late = nullptr;
    expect_within(linger_ms);
    if (tls_ && open_) co_await tls_->shutdown();
    pns::error_code failure;
    if (open_) socket_.shutdown(asio::socket_base::shutdown_send, failure);
    // Closing with unread bytes would send a reset, which may overtake the answer.
    std::array<char, 4'096> rest{};
    std::size_t dropped = 0;
    while (open_ && !failure && dropped < linger_bytes_max) {
        auto [ended, size] = co_await socket_.async_read_some(asio::buffer(rest), pns::as_result);
        failure = ended;
        dropped += size;
    }
    cut();
}

void Peer::give_up() {
    cut();
    if (on_give_up) on_give_up();
}

void Peer::cut() {
    open_ = false;
    pns::error_code ignored;
    socket_.close(ignored);
    alarm_.stop();
}

}  // namespace hub
