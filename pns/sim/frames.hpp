#pragma once

// HTTP/2 frames by hand, for answers that no library would send (RFC 9113, RFC 7541): building
// them, and seeing which ones pass by. Pure.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "pns/sim/faults.hpp"
#include "pns/sim/provider.hpp"

namespace pns::sim {

enum class FrameType : std::uint8_t {
    data = 0,
    headers = 1,
    rst_stream = 3,
    settings = 4,
    push_promise = 5,
    ping = 6,
    goaway = 7,
    window_update = 8,
    continuation = 9,
};
inline constexpr std::uint8_t flag_end_stream = 1, flag_ack = 1, flag_end_headers = 4,
                              flag_padded = 8;
inline constexpr std::size_t frame_head_bytes = 9;

void add_frame(std::string& out, FrameType type, std::uint8_t flags, std::int32_t stream,
               std::string_view payload);
std::string make_frame(FrameType type, std::uint8_t flags, std::int32_t stream,
                       std::string_view payload);
/// A header block of static and literal fields only: the peer's table stays as it is.
std::string header_block(int status, const Headers& headers);

/// An answer that is wrong on the wire, and what follows it.
struct Mangled {
    std::string bytes;
    enum class Then : std::uint8_t { forget, reset, close, mute } then = Then::forget;
};
/// Nothing if the fault is not about the bytes of an answer.
std::optional<Mangled> mangle(const Fault& fault, std::int32_t stream, const Reply& reply);

struct FrameHead {
    std::size_t bytes = 0;  ///< of the payload
    FrameType type = FrameType::data;
    std::uint8_t flags = 0;
    std::int32_t stream = 0;
};
FrameHead read_frame_head(const std::uint8_t* nine);

/// Sees the frames of a byte stream, however it is cut; `skip`: bytes before the first (a client's
/// preface has 24).
class FrameScan {
  public:
    explicit FrameScan(std::size_t skip) : skip_(skip) {}
    template <class OnFrame>
    void feed(std::span<const std::uint8_t> bytes, OnFrame on_frame) {
        while (!bytes.empty()) {
            if (skip_ > 0) {
                const std::size_t n = std::min(skip_, bytes.size());
                skip_ -= n;
                bytes = bytes.subspan(n);
                continue;
            }
            head_[have_++] = bytes.front();
            bytes = bytes.subspan(1);
            if (have_ < frame_head_bytes) continue;
            have_ = 0;
            const FrameHead head = read_frame_head(head_.data());
            skip_ = head.bytes;
            on_frame(head);
        }
    }

  private:
    std::size_t skip_;
    std::size_t have_ = 0;
    std::array<std::uint8_t, frame_head_bytes> head_{};
};

}  // namespace pns::sim
