#pragma once

// HTTP clients for black-box tests: blocking, over loopback, TLS or plain. Every wait fails after
// 20 s instead of hanging. One thread each.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace support {

struct ClientOptions {
    bool tls = true;
    std::string alpn;         ///< empty = none offered
    std::string ca_file;      ///< empty = the certificate is not checked
    int tls_version_max = 0;  ///< of OpenSSL, such as TLS1_1_VERSION; 0 = the newest
    bool small_receive_buffer = false;
};

/// A byte stream.
class Wire {
  public:
    /// Throws std::runtime_error if the connection or the handshake fails.
    Wire(std::uint16_t port, const ClientOptions& options);
    ~Wire();
    Wire(Wire&&) noexcept;

    bool send(std::string_view bytes);  ///< false: the peer is gone
    /// What has come; empty: the peer closed or cut.
    std::string receive();
    std::string receive_all();     ///< until the peer closes
    void finish_sending();         ///< FIN, keeps reading
    std::string protocol() const;  ///< chosen by ALPN

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct Answer {
    int status = 0;      ///< 0: the connection ended or the stream was reset
    HeaderList headers;  ///< names lower case
    std::string body;
    std::string header(std::string_view lower_name) const;  ///< first value, or empty
};

/// HTTP/1.1 with a Content-Length framing on answers, which is all that the hub sends.
class H1Client {
  public:
    explicit H1Client(std::uint16_t port, const ClientOptions& options = {});
    /// Adds Host and Content-Length unless given.
    Answer request(std::string_view method, std::string_view target, const HeaderList& headers = {},
                   std::string_view body = {});
    bool send(std::string_view bytes) { return wire_.send(bytes); }
    /// `bodiless`: the answer to a HEAD.
    Answer read_answer(bool bodiless = false);
    bool ended();  ///< reads until the peer has closed; false if other bytes came first
    Wire& wire() { return wire_; }

  private:
    Wire wire_;
    std::string buffer_;
    std::string host_;
};

class H2Client {
  public:
    explicit H2Client(std::uint16_t port, ClientOptions options = {});
    ~H2Client();

    /// Starts a request; the stream's id, or negative.
    int start(std::string_view method, std::string_view target, const HeaderList& headers = {},
              std::string body = {});
    Answer wait(int stream);
    Answer request(std::string_view method, std::string_view target, const HeaderList& headers = {},
                   std::string body = {});
    void reset(int stream);
    /// Reads until the peer closes; true if a GOAWAY came before.
    bool ended_with_goaway();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace support
