// Tested by tests/pns_sim_faults_test.cpp.
//
// Everything is built byte by byte, because a library would refuse to write it: malformed frames,
// headers without end, an answer that stops in the middle. The frames are for faults and for fast
// simulators; other honest answers go through H2Session. No Huffman coding, no dynamic table.
#include "pns/sim/frames.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t frame_payload_max = 16 * 1024;  // SETTINGS_MAX_FRAME_SIZE's first value

char byte(std::size_t value) {
    return static_cast<char>(value & 0xff);
}

/// RFC 7541 5.1, seven bits of prefix; 5.2 without Huffman.
void add_string(std::string& out, std::string_view text) {
    std::size_t size = text.size();
    if (size < 127) {
        out += byte(size);
    } else {
        out += byte(127);
        for (size -= 127; size >= 128; size /= 128) out += byte(size % 128 + 128);
        out += byte(size);
    }
    out += text;
}

void add_field(std::string& out, std::string_view name, std::string_view value) {
    out += byte(0);  // literal, not indexed, new name
    add_string(out, name);
    add_string(out, value);
}

std::string long_headers(std::int32_t stream, const std::string& block) {
    std::string out;
    for (std::size_t at = 0; at < block.size(); at += frame_payload_max) {
        const bool last = at + frame_payload_max >= block.size();
        std::uint8_t flags = last ? flag_end_headers : std::uint8_t{0};
        if (at == 0) flags |= flag_end_stream;
        out += make_frame(at == 0 ? FrameType::headers : FrameType::continuation, flags, stream,
                          std::string_view(block).substr(at, frame_payload_max));
    }
    return out;
}

std::string malformed(std::string_view variant, std::int32_t stream) {
    if (variant.empty())
        return make_frame(FrameType::data, 0, stream, std::string(frame_payload_max + 4'000, 'x'));
    if (variant == "padding")
        return make_frame(FrameType::data, flag_padded, stream, std::string("\xff") + "x");
    if (variant == "hpack")
        return make_frame(FrameType::headers, flag_end_headers | flag_end_stream, stream,
                          "\xff\xff\xff\x7f");
    if (variant == "stream0") return make_frame(FrameType::data, 0, 0, "x");
    std::string out = make_frame(FrameType::headers, 0, stream, header_block(200, {}));
    const std::string empty = make_frame(FrameType::continuation, 0, stream, {});
    for (int i = 0; i < 100'000; ++i) out += empty;
    return out;
}

std::string bomb(std::string_view variant, std::int32_t stream, const Reply& reply) {
    std::string block = header_block(reply.status, reply.headers);
    if (variant == "many")
        for (int i = 0; i < 10'000; ++i) add_field(block, "x", "y");
    else
        for (int i = 0; i < 100; ++i) add_field(block, "x-bomb", std::string(1'024, 'b'));
    return long_headers(stream, block);
}

}  // namespace

void add_frame(std::string& out, FrameType type, std::uint8_t flags, std::int32_t stream,
               std::string_view payload) {
    const auto id = static_cast<std::uint32_t>(stream);
    for (const int shift : {16, 8, 0}) out += byte(payload.size() >> shift);
    out += byte(static_cast<std::size_t>(type));
    out += byte(flags);
    for (const int shift : {24, 16, 8, 0}) out += byte(id >> shift);
    out += payload;
}

std::string make_frame(FrameType type, std::uint8_t flags, std::int32_t stream,
                       std::string_view payload) {
    std::string out;
    add_frame(out, type, flags, stream, payload);
    return out;
}

std::string header_block(int status, const Headers& headers) {
    std::string out;
    if (status == 200) {
        out += byte(0x88);  // static table, RFC 7541 appendix A
    } else {
        out += byte(0x08);  // literal, not indexed, the name of entry 8
        add_string(out, std::to_string(status));
    }
    for (const auto& [name, value] : headers) add_field(out, name, value);
    return out;
}

FrameHead read_frame_head(const std::uint8_t* nine) {
    FrameHead head;
    head.bytes =
        static_cast<std::size_t>(nine[0]) << 16 | static_cast<std::size_t>(nine[1]) << 8 | nine[2];
    head.type = static_cast<FrameType>(nine[3]);
    head.flags = nine[4];
    head.stream = static_cast<std::int32_t>((static_cast<std::uint32_t>(nine[5]) & 0x7f) << 24 |
                                            static_cast<std::uint32_t>(nine[6]) << 16 |
                                            static_cast<std::uint32_t>(nine[7]) << 8 | nine[8]);
    return head;
}

std::optional<Mangled> mangle(const Fault& fault, std::int32_t stream, const Reply& reply) {
    using Then = Mangled::Then;
    const std::string_view variant = fault.row->variant;
    const int status = reply.status == 0 ? 200 : reply.status;
    const std::string block = header_block(status, reply.headers);
    const std::string head = make_frame(FrameType::headers, flag_end_headers, stream, block);
    Mangled out;
    switch (fault.row->number) {
        case 9:
            out.bytes = head;
            out.then = Then::reset;
            return out;
        case 16:
            if (variant == "json") return std::nullopt;
            out.then = Then::close;
            if (variant.empty()) {
                out.bytes = head.substr(0, 4);
            } else if (variant == "headers") {
                out.bytes = make_frame(FrameType::headers, flag_end_headers, stream,
                                       block + std::string(40, ' '))
                                .substr(0, frame_head_bytes + 10);
            } else {
                Headers with = reply.headers;
                with.emplace_back("content-length", "100");
                out.bytes = make_frame(FrameType::headers, flag_end_headers, stream,
                                       header_block(status, with)) +
                            make_frame(FrameType::data, flag_end_stream, stream, "{\"too\":1}");
                out.then = Then::forget;
            }
            return out;
        case 17:
            out.bytes = malformed(variant, stream);
            out.then = Then::mute;
            return out;
        case 18:
            if (variant == "body") return std::nullopt;
            out.bytes = bomb(variant, stream, reply);
            return out;
        case 30:
            if (variant == "informational") {
                out.bytes = make_frame(FrameType::headers, flag_end_headers, stream,
                                       header_block(103, {{"x-sim", "wait"}}));
                return out;
            }
            out.bytes = head;
            if (variant.empty()) {
                out.bytes += make_frame(FrameType::headers, flag_end_headers | flag_end_stream,
                                        stream, block);
            } else if (variant == "trailers") {
                std::string trailer;
                add_field(trailer, "x-sim", "trailer");
                if (!reply.body.empty())
                    out.bytes += make_frame(FrameType::data, 0, stream, reply.body);
                out.bytes += make_frame(FrameType::headers, flag_end_headers | flag_end_stream,
                                        stream, trailer);
            } else {
                std::string promised("\0\0\0\2\x82\x87\x84", 7);  // stream 2: GET https /
                add_field(promised, ":authority", "localhost");
                out.bytes = make_frame(FrameType::push_promise, flag_end_headers, stream, promised);
                out.then = Then::mute;
            }
            return out;
        default:
            return std::nullopt;
    }
}

}  // namespace pns::sim
