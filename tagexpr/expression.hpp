#pragma once

// Tag expressions: who a send is for.
//
//   expression = or
//   or         = and ( '||' and )*
//   and        = unary ( '&&' unary )*
//   unary      = '!' unary | '(' expression ')' | tag
//   tag        = [A-Za-z0-9_@#.:\-]+, with letters, marks and digits of any script in UTF-8
//              | '$InstallationId:{' id '}' | '$UserId:{' id '}'
//
// Blanks between tokens are free. Tags keep the case they were written in; whoever looks them up
// uses canonical_tag() (docs/contracts/anh.md 8). Everything here is a pure value: no I/O, no
// locks, any thread. Nothing recurses on input.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tagexpr {

/// Bounds on an expression from outside. Crossing one is a ParseError, never a slow answer.
struct Limits {
    std::size_t length_bytes_max = 16 * 1024;
    std::size_t depth_max = 256;  ///< open parentheses and pending NOTs at one place
    std::size_t tag_bytes_max =
        480;  ///< 120 characters of up to four bytes, plus the braces of a system tag
};

enum class Op : std::uint8_t {
    tag,         ///< pushes the set of Node::tag
    everything,  ///< pushes all devices
    nothing,     ///< pushes the empty set
    negate,      ///< pops one set, pushes its complement
    all_of,      ///< pops `arity` sets, pushes their intersection
    any_of,      ///< pops `arity` sets, pushes their union
};

struct Node {
    Op op = Op::tag;
    std::uint32_t arity = 0;  ///< operands of negate (1), all_of, any_of (2 or more); 0 for leaves
    std::string tag;          ///< for Op::tag only, as written
    friend bool operator==(const Node&, const Node&) = default;
};

/// A parsed expression as a flat vector in postfix order: operands before their operator.
struct Expression {
    std::vector<Node> nodes;
    friend bool operator==(const Expression&, const Expression&) = default;
};

/// What evaluation walks: an Expression in which every negate stands directly on a tag, no all_of
/// holds an all_of and no any_of an any_of, no operand occurs twice, and `everything`/`nothing`
/// stand alone or not at all.
struct Plan {
    std::vector<Node> nodes;
    friend bool operator==(const Plan&, const Plan&) = default;
};

enum class Errc : std::uint8_t {
    too_long,           ///< more than Limits::length_bytes_max bytes
    too_deep,           ///< more than Limits::depth_max open parentheses and NOTs
    tag_too_long,       ///< one tag over Limits::tag_bytes_max
    bad_character,      ///< a byte that no token starts with
    single_operator,    ///< '&' or '|' alone
    bad_system_tag,     ///< '$' followed by anything but InstallationId:{...} or UserId:{...}
    operand_expected,   ///< an operator, ')' or the end where a tag should stand
    operator_expected,  ///< a tag or '(' directly after an operand
    unclosed,           ///< '(' without ')'
    unopened,           ///< ')' without '('
};

struct ParseError {
    Errc code{};
    std::size_t column = 0;  ///< 1-based byte position of the offending token
    std::string message;     ///< one sentence: what was found and what would be right
    /// `text` on one line and a caret under `column` on the next; long texts are cut around the
    /// caret.
    std::string caret(std::string_view text) const;
    friend bool operator==(const ParseError&, const ParseError&) = default;
};

/// Blank text is the broadcast: one Op::everything.
std::variant<Expression, ParseError> parse(std::string_view text, const Limits& limits = {});

/// Canonical text with the fewest parentheses; parse(to_string(e)) gives e back. `everything`
/// prints as "".
std::string to_string(const Expression& expression);
std::string to_string(const Plan& plan);

/// Tags that are equal have one canonical spelling: ASCII letters in lower case, but for the id in
/// a system tag, which is exact: `$UserId:{Kim}` is another user than `$userid:{kim}`.
std::string canonical_tag(std::string_view tag);

/// NOT pushed down to tags, AND/OR flattened, duplicates (by canonical_tag) dropped,
/// contradictions (`a && !a`) and tautologies (`a || !a`) folded. Linear in nodes but for the sort
/// of each operand list.
Plan simplify(const Expression& expression);

}  // namespace tagexpr
