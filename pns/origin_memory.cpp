// Tested by tests/pns_origin_memory_test.cpp.

#include "pns/origin_memory.hpp"

#include <algorithm>
#include <string_view>

namespace pns {

namespace {

constexpr unsigned times_max = 10;

std::uint64_t turned(std::uint64_t value, int bits) {
    return (value << bits) | (value >> (64 - bits));
}

/// SipHash-1-3 of a text and a number, under a secret key: nobody can choose names that collide.
class Sip {
  public:
    explicit Sip(const std::array<std::uint64_t, 2>& key)
        : a_(key[0] ^ 0x736f6d6570736575),
          b_(key[1] ^ 0x646f72616e646f6d),
          c_(key[0] ^ 0x6c7967656e657261),
          d_(key[1] ^ 0x7465646279746573) {}

    void word(std::uint64_t word) {
        d_ ^= word;
        round();
        a_ ^= word;
    }
    void text(std::string_view text) {
        for (std::size_t at = 0; at < text.size(); at += 8) {
            std::uint64_t bytes = 0;
            for (const char c : text.substr(at, 8))
                bytes = bytes << 8 | static_cast<unsigned char>(c);
            word(bytes);
        }
        word(text.size());
    }
    std::uint64_t end() {
        c_ ^= 0xff;
        for (int i = 0; i < 3; ++i) round();
        return a_ ^ b_ ^ c_ ^ d_;
    }

  private:
    void round() {
        a_ += b_;
        b_ = turned(b_, 13) ^ a_;
        a_ = turned(a_, 32);
        c_ += d_;
        d_ = turned(d_, 16) ^ c_;
        a_ += d_;
        d_ = turned(d_, 21) ^ a_;
        c_ += b_;
        b_ = turned(b_, 17) ^ c_;
        c_ = turned(c_, 32);
    }
    std::uint64_t a_, b_, c_, d_;
};

}  // namespace

std::uint64_t OriginMemory::hash(const Origin& origin) const {
    Sip sip(key_);
    sip.text(origin.host);
    sip.word(origin.port);
    return sip.end();
}

void OriginMemory::answered(const Origin& origin) {
    const std::uint64_t key = hash(origin);
    answered_.put(key) = true;
    failed_.erase(key);
}

bool OriginMemory::has_answered(const Origin& origin) const {
    return answered_.find(hash(origin)) != nullptr;
}

std::int64_t OriginMemory::failed(const Origin& origin, Failure failure, std::int64_t now_ms) {
    const std::uint64_t key = hash(origin);
    // One that has answered is away for a while: it is looked for at a steady pace.
    const bool stranger = answered_.find(key) == nullptr;
    Failed& failed = failed_.put(key);
    const unsigned before = stranger ? failed.times : 0;
    failed.times = std::min(failed.times + 1, times_max);
    const std::int64_t wait_ms = failure == Failure::quiet ? quiet_wait_ms_first << 2 * before
                                                           : unreachable_wait_ms << before;
    failed.not_before_ms = now_ms + std::min(wait_ms, wait_ms_max);
    return failed.not_before_ms - now_ms;
}

std::int64_t OriginMemory::not_before_ms(const Origin& origin) const {
    const Failed* failed = failed_.find(hash(origin));
    return failed == nullptr ? 0 : failed->not_before_ms;
}

std::int64_t OriginMemory::patience_ms(const Origin& origin) const {
    const Failed* failed = failed_.find(hash(origin));
    return patience_ms_first << 2 * (failed == nullptr ? 0 : failed->times);
}

}  // namespace pns
