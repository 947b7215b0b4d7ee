// Inputs: up to 16384 bytes. The first byte of a step says what it is: a new limit of the table, a
// block that was not ours, a header block of some fields, or one whose fields are partly those of
// blocks before. nghttp2's decoder must find the same
// fields in each block, and the same ones never to be indexed.

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pns/header_block.hpp"

namespace {

struct Input {
    std::span<const std::uint8_t> bytes;
    std::uint8_t byte() {
        if (bytes.empty()) return 0;
        const std::uint8_t first = bytes.front();
        bytes = bytes.subspan(1);
        return first;
    }
    std::string text() {
        constexpr std::string_view few[] = {"POST",   "https",         ":method",
                                            ":path",  ":scheme",       ":authority",
                                            "accept", "authorization", "apns-topic"};
        const std::uint8_t kind = byte();
        if (kind < std::size(few)) return std::string(few[kind]);
        std::size_t size = kind < 250 ? kind % 24 : std::size_t{byte()} * 40;
        size = size < bytes.size() ? size : bytes.size();
        std::string out(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
        bytes = bytes.subspan(size);
        return out;
    }
};

struct Field {
    std::string name, value;
    bool never_index;
    bool operator==(const Field&) const = default;
};

void must(bool holds) {
    if (!holds) std::abort();
}

/// Fields of requests as many have them in common, and some that are one request's own.
class Requests {
  public:
    explicit Requests(pns::HeaderBlocks& blocks) : blocks_(blocks) {}

    /// The block, and what must be found in it.
    std::vector<std::uint8_t> next(Input& input, std::vector<Field>& expected) {
        const std::uint8_t which = input.byte();
        if (which >= 128 || known_.empty()) {
            pns::H2Fields fields(which % 6);
            for (pns::H2Field& one : fields)
                one = {input.text(), input.text(), input.byte() % 4 == 0};
            known_.push_back(std::make_shared<const pns::H2Fields>(std::move(fields)));
        }
        const auto& common = known_[which % known_.size()];
        const std::string method = which % 16 == 0 ? "PUT" : "POST";
        Field path{":path", input.text(), false};
        std::vector<Field> own(input.byte() % 3);
        std::string path_coded, own_coded;
        pns::HeaderBlocks::append_literal({path.name, path.value}, path_coded);
        for (Field& one : own) {
            one = {input.text(), input.text(), input.byte() % 2 == 0};
            pns::HeaderBlocks::append_literal({one.name, one.value, one.never_index}, own_coded);
        }
        expected = {{":method", method, false},
                    {":scheme", "https", false},
                    {":authority", "push.test", false},
                    path};
        for (const pns::H2Field& one : *common)
            expected.push_back({one.name, one.value, one.never_index});
        expected.insert(expected.end(), own.begin(), own.end());
        std::vector<std::uint8_t> block;
        blocks_.encode(method, "push.test", common, path_coded, own_coded, block);
        return block;
    }

  private:
    pns::HeaderBlocks& blocks_;
    std::vector<std::shared_ptr<const pns::H2Fields>> known_;
};

std::vector<Field> decoded(nghttp2_hd_inflater* inflater, std::span<std::uint8_t> block) {
    std::vector<Field> out;
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        const auto taken =
            nghttp2_hd_inflate_hd2(inflater, &nv, &flags, block.data(), block.size(), 1);
        must(taken >= 0);
        block = block.subspan(static_cast<std::size_t>(taken));
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            out.push_back({{reinterpret_cast<const char*>(nv.name), nv.namelen},
                           {reinterpret_cast<const char*>(nv.value), nv.valuelen},
                           (nv.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0});
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
        must((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 || !block.empty());
    }
    must(block.empty());
    nghttp2_hd_inflate_end_headers(inflater);
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input{{data, size}};
    nghttp2_hd_inflater* made = nullptr;
    must(nghttp2_hd_inflate_new(&made) == 0);
    const std::unique_ptr<nghttp2_hd_inflater, void (*)(nghttp2_hd_inflater*)> inflater(
        made, nghttp2_hd_inflate_del);
    pns::HeaderBlocks blocks;
    Requests requests(blocks);
    while (!input.bytes.empty()) {
        const std::uint8_t step = input.byte();
        if (step < 32) {
            const std::size_t limit = std::size_t{step} * step * 16;
            blocks.set_limit(limit);
            must(nghttp2_hd_inflate_change_table_size(made, limit) == 0);
            continue;
        }
        if (step < 40) {
            blocks.forget();
            continue;
        }
        if (step >= 128) {
            std::vector<Field> expected;
            std::vector<std::uint8_t> block = requests.next(input, expected);
            must(decoded(made, block) == expected);
            continue;
        }
        std::vector<Field> fields(step % 12);
        std::vector<pns::H2Header> headers;
        for (Field& field : fields) {
            field = {input.text(), input.text(), input.byte() % 4 == 0};
            headers.push_back({field.name, field.value, field.never_index});
        }
        std::vector<std::uint8_t> block;
        blocks.encode(headers, block);
        must(decoded(made, block) == fields);
    }
    return 0;
}
