// Tested by tests/pns_tls_stream_test.cpp, and by all tests of connections and of the server.
//
// OpenSSL reads and writes memory: its two BIOs are Input and the vector of output. read_some()
// receives into the thread's buffer and decrypts until nothing whole is left; the bytes of a record
// that is not whole stay inside OpenSSL. A record that OpenSSL answers by itself (a key update) is
// written by the reader, so two may want to write: they take turns.

#include "pns/tls_stream.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace pns {

namespace {

constexpr std::size_t receive_bytes_max = 128 * 1024;
constexpr std::size_t record_bytes_max = 16 * 1024;  // of plain text, RFC 8446 5.1
constexpr std::size_t record_wire_bytes_max = 16 * 1024 + 512;
/// Encrypted before the first of it is sent. A server has many clients that may not read.
constexpr std::size_t client_piece_bytes = 128 * 1024, server_piece_bytes = 32 * 1024;
constexpr std::size_t spare_bytes_max = 256 * 1024;

std::span<std::uint8_t> receive_buffer() {
    static thread_local std::vector<std::uint8_t> buffer(receive_bytes_max);
    return buffer;
}

/// Buffers of output go round among the connections of a thread.
std::vector<std::uint8_t>& spare_buffer() {
    static thread_local std::vector<std::uint8_t> buffer;
    return buffer;
}

void take_spare(std::vector<std::uint8_t>& into) {
    if (into.capacity() == 0) into.swap(spare_buffer());
}

void give_back(std::vector<std::uint8_t>& buffer) {
    buffer.clear();
    auto& spare = spare_buffer();
    if (spare.capacity() < buffer.capacity() && buffer.capacity() <= spare_bytes_max)
        spare.swap(buffer);
    buffer = {};
}

}  // namespace

struct TlsBio {
    static int write(BIO* bio, const char* bytes, int size) {
        auto& out = *static_cast<std::vector<std::uint8_t>*>(BIO_get_data(bio));
        out.insert(out.end(), bytes, bytes + size);
        return size;
    }
    static int read(BIO* bio, char* into, int size) {
        auto& in = *static_cast<TlsStream::Input*>(BIO_get_data(bio));
        BIO_clear_retry_flags(bio);
        if (in.left == 0) {
            BIO_set_retry_read(bio);
            return -1;
        }
        const std::size_t taken = std::min(in.left, static_cast<std::size_t>(size));
        std::memcpy(into, in.at, taken);
        in.at += taken;
        in.left -= taken;
        return static_cast<int>(taken);
    }
    static long control(BIO*, int command, long, void*) {
        return command == BIO_CTRL_FLUSH ? 1 : 0;
    }

    static BIO* make(void* data) {
        static BIO_METHOD* const method = [] {
            BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "memory");
            if (made == nullptr) throw std::bad_alloc();
            BIO_meth_set_write(made, &write);
            BIO_meth_set_read(made, &read);
            BIO_meth_set_ctrl(made, &control);
            return made;
        }();
        BIO* const bio = BIO_new(method);
        if (bio == nullptr) throw std::bad_alloc();
        BIO_set_data(bio, data);
        BIO_set_init(bio, 1);
        return bio;
    }
};

void TlsStream::FreeSsl::operator()(ssl_st* ssl) const {
    SSL_free(ssl);
}

TlsStream::TlsStream(Socket& socket, ssl_ctx_st* context, Side side)
    : socket_(socket), ssl_(SSL_new(context)) {
    if (!ssl_) throw std::bad_alloc();
    SSL_set0_rbio(ssl_.get(), TlsBio::make(&input_));
    SSL_set0_wbio(ssl_.get(), TlsBio::make(&output_));
    if (side == Side::client) {
        SSL_set_connect_state(ssl_.get());
    } else {
        SSL_set_accept_state(ssl_.get());
    }
}

TlsStream::~TlsStream() = default;

/// None: more input is needed, or nothing is wrong.
error_code TlsStream::failure_of(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_NONE:
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
            return {};
        case SSL_ERROR_ZERO_RETURN:
            return asio::error::eof;
        default:
            break;
    }
    const auto code = static_cast<int>(ERR_get_error());
    ERR_clear_error();
    if (code == 0) return asio::ssl::error::unspecified_system_error;
    return {code, asio::error::get_ssl_category()};
}

std::size_t TlsStream::take(std::span<std::uint8_t> into, error_code& failure) {
    std::size_t taken = 0;
    ERR_clear_error();
    while (taken < into.size()) {
        const auto room = std::min<std::size_t>(into.size() - taken, record_bytes_max);
        const int got = SSL_read(ssl_.get(), into.data() + taken, static_cast<int>(room));
        if (got <= 0) {
            if (taken == 0) failure = failure_of(got);
            break;
        }
        taken += static_cast<std::size_t>(got);
    }
    keep_rest();
    return taken;
}

/// The thread's buffer is for the next connection.
void TlsStream::keep_rest() {
    if (input_.left == 0) {
        input_.kept = {};
        return;
    }
    const std::uint8_t* const begin = input_.kept.data();
    if (!input_.kept.empty() && input_.at >= begin && input_.at < begin + input_.kept.size())
        return;
    input_.kept.assign(input_.at, input_.at + input_.left);
    input_.at = input_.kept.data();
}

/// Into the thread's buffer, hardly more than the reader takes: the rest would be kept.
/// asio::error::would_block if nothing is there.
error_code TlsStream::receive(std::size_t wanted) {
    const auto buffer = receive_buffer().first(
        std::min(wanted + wanted / 16 + record_wire_bytes_max, receive_bytes_max));
    error_code failure;
    if (!socket_.non_blocking()) socket_.non_blocking(true, failure);
    if (failure) return failure;
    const std::size_t got = socket_.receive(asio::buffer(buffer.data(), buffer.size()), 0, failure);
    drained_ = failure == asio::error::would_block || got < buffer.size();
    if (failure == asio::error::eof) failure = asio::ssl::error::stream_truncated;
    input_.at = buffer.data();
    input_.left = failure ? 0 : got;
    return failure;
}

Task<error_code> TlsStream::await_input(std::size_t wanted) {
    for (;;) {
        if (!std::exchange(drained_, false)) {
            const error_code failure = receive(wanted);
            if (failure != asio::error::would_block) co_return failure;
            drained_ = false;
        }
        const auto [failure] = co_await socket_.async_wait(Socket::wait_read, as_result);
        if (failure) co_return failure;
    }
}

Task<TlsStream::Moved> TlsStream::read_some(std::span<std::uint8_t> into) {
    Moved out;
    for (;;) {
        out.bytes = take(into, out.failure);
        if (!output_.empty() && !writing_) {
            const Turn turn(*this);
            const error_code failure = co_await flush();
            if (failure && out.bytes == 0 && !out.failure) out.failure = failure;
        }
        if (out.bytes > 0 || out.failure || into.empty()) co_return out;
        out.failure = co_await await_input(into.size());
        if (out.failure) co_return out;
    }
}

std::size_t TlsStream::read_ready(std::span<std::uint8_t> into) {
    error_code later;  // the next read meets it again
    const std::size_t got = take(into, later);
    if (got > 0 || drained_ || receive(into.size())) return got;
    return take(into, later);
}

Task<error_code> TlsStream::handshake() {
    for (;;) {
        ERR_clear_error();
        const int result = SSL_do_handshake(ssl_.get());
        const error_code failure = result == 1 ? error_code() : failure_of(result);
        keep_rest();
        const error_code unsent = co_await flush();  // of a failure: the alert
        if (failure) co_return failure;
        if (unsent) co_return unsent;
        if (result == 1) co_return error_code();
        const error_code ended = co_await await_input(0);
        if (ended) co_return ended;
    }
}

Task<void> TlsStream::wait_for_turn() {
    while (writing_) {
        if (!turn_) turn_.emplace(socket_.get_executor(), SteadyTimer::time_point::max());
        co_await turn_->async_wait(as_result);
    }
}

Task<TlsStream::Moved> TlsStream::write(std::span<const std::uint8_t> bytes) {
    struct Record {
        std::size_t plain_end;
        std::uint64_t left_at;  // what has left when all of the record has
    };
    static_assert(client_piece_bytes % record_bytes_max == 0);
    std::array<Record, client_piece_bytes / record_bytes_max> records;
    const std::size_t records_max =
        (SSL_is_server(ssl_.get()) ? server_piece_bytes : client_piece_bytes) / record_bytes_max;
    Moved out;
    if (writing_) co_await wait_for_turn();
    const Turn turn(*this);
    while (out.bytes < bytes.size() && !out.failure) {
        std::size_t count = 0, done = out.bytes;
        take_spare(output_);
        while (done < bytes.size() && count < records_max) {
            const auto size = std::min(bytes.size() - done, record_bytes_max);
            ERR_clear_error();
            const int wrote = SSL_write(ssl_.get(), bytes.data() + done, static_cast<int>(size));
            if (wrote <= 0) {
                out.failure = failure_of(wrote);
                if (!out.failure) out.failure = asio::ssl::error::unexpected_result;
                break;
            }
            done += static_cast<std::size_t>(wrote);
            records[count++] = {done, left_ + sending_.size() - sent_ + output_.size()};
        }
        const error_code unsent = co_await flush();
        if (unsent) out.failure = unsent;
        for (std::size_t i = 0; i < count && records[i].left_at <= left_; ++i)
            out.bytes = records[i].plain_end;
    }
    co_return out;
}

Task<error_code> TlsStream::flush() {
    error_code outcome;
    while (!outcome && (!output_.empty() || sent_ < sending_.size())) {
        if (sent_ == sending_.size()) {
            sending_.clear();
            sent_ = 0;
            sending_.swap(output_);
        }
        const auto rest = asio::buffer(sending_.data() + sent_, sending_.size() - sent_);
        const auto [failure, size] = co_await socket_.async_write_some(rest, as_result);
        sent_ += size;
        left_ += size;
        outcome = failure;
    }
    if (!outcome) {
        sent_ = 0;
        give_back(sending_);
        give_back(output_);
    }
    co_return outcome;
}

Task<error_code> TlsStream::shutdown() {
    if (writing_) co_await wait_for_turn();
    const Turn turn(*this);
    ERR_clear_error();
    const int result = SSL_shutdown(ssl_.get());
    const error_code failure = result < 0 ? failure_of(result) : error_code();
    const error_code unsent = co_await flush();
    co_return failure ? failure : unsent;
}

}  // namespace pns
