// Any bytes: parse answers, what it accepts prints and parses back to itself, and the simplified
// plan selects the same devices as the expression.
// Inputs: up to 16384 bytes, an expression.

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tagexpr/evaluate.hpp"
#include "tagexpr/expression.hpp"

namespace {

struct Bits {
    std::uint64_t bits = 0;
    Bits& operator&=(Bits other) { return bits &= other.bits, *this; }
    Bits& operator|=(Bits other) { return bits |= other.bits, *this; }
    Bits& operator-=(Bits other) { return bits &= ~other.bits, *this; }
};

Bits carriers(std::string_view tag) {
    std::string folded(tag);
    for (char& c : folded) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    }
    return {std::hash<std::string>{}(folded)*0x9E3779B97F4A7C15u};
}

std::uint64_t meaning_of(const tagexpr::Expression& expression) {
    std::vector<std::uint64_t> stack;
    const auto pop = [&] {
        const std::uint64_t top = stack.back();
        stack.pop_back();
        return top;
    };
    for (const tagexpr::Node& node : expression.nodes) {
        using tagexpr::Op;
        std::uint64_t bits = node.op == Op::tag ? carriers(node.tag).bits : ~std::uint64_t{0};
        if (node.op == Op::negate) bits = ~pop();
        if (node.op == Op::all_of) {
            for (std::uint32_t k = 0; k < node.arity; ++k) bits &= pop();
        }
        if (node.op == Op::any_of) {
            bits = 0;
            for (std::uint32_t k = 0; k < node.arity; ++k) bits |= pop();
        }
        stack.push_back(bits);
    }
    return stack.back();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const auto parsed = tagexpr::parse(text);
    if (const auto* error = std::get_if<tagexpr::ParseError>(&parsed)) {
        if (error->column == 0 || error->column > text.size() + 1) std::abort();
        (void)error->caret(text);
        return 0;
    }
    const auto& expression = std::get<tagexpr::Expression>(parsed);
    const std::string printed = tagexpr::to_string(expression);
    // Printing spaces the operators out: only what still fits must parse back.
    if (printed.size() <= tagexpr::Limits{}.length_bytes_max && tagexpr::parse(printed) != parsed)
        std::abort();
    const tagexpr::Plan plan = tagexpr::simplify(expression);
    const Bits selected =
        tagexpr::evaluate<Bits>(plan, carriers, [] { return Bits{~std::uint64_t{0}}; });
    if (selected.bits != meaning_of(expression)) std::abort();
    return 0;
}
