#pragma once

// Header blocks of requests (HPACK, RFC 7541), for senders whose requests differ in few fields. A
// field that may be indexed is one byte from its second time on; what never repeats is copied as it
// is. There is no Huffman coding: it saves a quarter of those bytes and took an eighth of the CPU
// of a push. What requests have in common is coded once, as long as the table stays as it is.
//
// Blocks must reach the peer in the order in which they were made, each of them. Pure; one
// connection, one loop.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pns/h2_session.hpp"

namespace pns {

class HeaderBlocks {
  public:
    static constexpr std::size_t table_bytes_max = 4'096;

    /// The peer's SETTINGS_HEADER_TABLE_SIZE, each time that one comes.
    void set_limit(std::size_t bytes);
    /// The peer may have seen a block that was not made here: begins anew.
    void forget() { least_ = 0; }
    /// Appends the block. `:path` and what is never to be indexed go as literals.
    void encode(std::span<const H2Header> headers, std::vector<std::uint8_t>& out);
    /// Appends the block of a request over https: pseudo headers with `path` among them, `common`
    /// (not null), and `own`. These two are literals, coded already: they mean the same in every
    /// block.
    void encode(std::string_view method, std::string_view authority,
                const std::shared_ptr<const H2Fields>& common, std::string_view path,
                std::string_view own, std::vector<std::uint8_t>& out);
    static void append_literal(const H2Header& header, std::string& out);

  private:
    /// What goes before `path` and between it and `own`.
    struct Coded {
        std::string method;
        std::shared_ptr<const H2Fields> common;
        std::vector<std::uint8_t> lead, rest;
        std::uint64_t table = 0;  // state of the table in which it holds
    };
    struct Entry {
        std::string name, value;
        std::size_t size() const { return name.size() + value.size() + 32; }  // RFC 7541 4.1
    };

    Coded& coded(std::string_view method, std::string_view authority,
                 const std::shared_ptr<const H2Fields>& common);
    void tell_size(std::vector<std::uint8_t>& out);
    void shrink_to(std::size_t bytes);
    void field(const H2Header& header, std::vector<std::uint8_t>& out);

    std::deque<Entry> table_;  // the newest first, as it is numbered
    std::size_t table_bytes_ = 0;
    std::uint64_t state_ = 1;              // another one after each change of the table
    std::deque<Coded> coded_;              // the newest first
    std::size_t size_ = table_bytes_max;   // as the peer knows it
    std::size_t limit_ = table_bytes_max;  // what the peer allows now
    std::size_t least_ = table_bytes_max;  // what it allowed meanwhile
    bool lowered_ = false;                 // and whether that was less than before
};

}  // namespace pns
