// Tested by tests/tagexpr_parse_test.cpp and tests/tagexpr_oracle_test.cpp.
//
// A precedence parser over the bytes of the text, with a stack of its own for operators and the
// finished operands on the output. Depth, length and the size of tags are bounded by Limits.
// Errors say what was expected and at which column. Pure, any thread.
#include <cassert>
#include <utility>

#include "tagexpr/expression.hpp"
#include "tagexpr/letters.hpp"
#include "tagexpr/utf8.hpp"

namespace tagexpr {
namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const auto fold = [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
        };
        if (fold(a[i]) != fold(b[i])) return false;
    }
    return true;
}

/// Bytes of the tag character at the front of `text`, 0 if it is none.
std::size_t tag_character(std::string_view text) {
    if (text.empty()) return 0;
    return std::string_view("_@#.:-").find(text.front()) != std::string_view::npos
               ? 1
               : letter_length(text);
}

std::string shown(std::string_view text) {
    const auto byte = static_cast<unsigned char>(text.front());
    if (byte >= 0x20 && byte < 0x7F) return {'\'', text.front(), '\''};
    constexpr char digits[] = "0123456789ABCDEF";
    if (const std::size_t length = byte < 0x80 ? 0 : utf8_length(text); length > 0) {
        std::string code;
        for (std::uint32_t rest = code_point(text.substr(0, length)); rest > 0 || code.size() < 4;
             rest >>= 4)
            code.insert(0, 1, digits[rest & 15]);
        return "'" + std::string(text.substr(0, length)) + "' (U+" + code + ")";
    }
    return {'b', 'y', 't', 'e', ' ', '0', 'x', digits[byte >> 4], digits[byte & 15]};
}

std::string shortened(std::string_view tag) {
    constexpr std::size_t shown_bytes_max = 40;
    if (tag.size() <= shown_bytes_max) return "'" + std::string(tag) + "'";
    std::size_t cut = shown_bytes_max;
    while (cut > 0 && (static_cast<unsigned char>(tag[cut]) & 0xC0) == 0x80) --cut;
    return "'" + std::string(tag.substr(0, cut)) + "...'";
}

enum class Token { end, tag, conjunction, disjunction, negation, open, close };

/// Operators on the stack: `open` and `negation` wait for what follows, the two others count the
/// operands that stand on the output already plus the one being read.
struct Pending {
    Token token;
    std::uint32_t operands;
    std::size_t column;
};

class Parser {
  public:
    Parser(std::string_view text, const Limits& limits) : text_(text), limits_(limits) {}

    std::variant<Expression, ParseError> run() {
        if (text_.size() > limits_.length_bytes_max) {
            fail(Errc::too_long, limits_.length_bytes_max,
                 "The expression is " + std::to_string(text_.size()) + " bytes long, at most " +
                     std::to_string(limits_.length_bytes_max) + " are allowed.");
            return std::move(error_);
        }
        for (;;) {
            if (!next() || !take()) return std::move(error_);
            if (token_ == Token::end) return std::move(out_);
        }
    }

  private:
    bool fail(Errc code, std::size_t offset, std::string message) {
        error_ = ParseError{code, offset + 1, std::move(message)};
        return false;
    }

    /// Reads the token at `at_` into token_, start_ and lexeme_.
    bool next() {
        while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
        start_ = at_;
        if (at_ == text_.size()) {
            token_ = Token::end;
            return true;
        }
        const char c = text_[at_];
        switch (c) {
            case '(':
                return single(Token::open);
            case ')':
                return single(Token::close);
            case '!':
                return single(Token::negation);
            case '&':
            case '|':
                if (at_ + 1 >= text_.size() || text_[at_ + 1] != c)
                    return fail(
                        Errc::single_operator, start_,
                        std::string("A single '") + c + "' is no operator; write '" + c + c + "'.");
                at_ += 2;
                token_ = c == '&' ? Token::conjunction : Token::disjunction;
                return true;
            case '$':
                return system_tag();
            default:
                return plain_tag();
        }
    }

    bool single(Token token) {
        token_ = token;
        ++at_;
        return true;
    }

    bool plain_tag() {
        while (const std::size_t length = tag_character(text_.substr(at_))) at_ += length;
        if (at_ == start_) {
            std::string hint = "expected a tag, '&&', '||', '!', '(' or ')'.";
            if (text_[at_] == ',') hint = "join tags with '||'.";
            return fail(Errc::bad_character, start_,
                        "Unexpected " + shown(text_.substr(at_)) + ": " + hint);
        }
        return finish_tag();
    }

    bool system_tag() {
        const std::string_view rest = text_.substr(at_ + 1);
        const std::size_t colon = rest.find(':');
        const std::string_view name = rest.substr(0, colon);
        const bool known =
            colon != std::string_view::npos &&
            (same_ignoring_case(name, "InstallationId") || same_ignoring_case(name, "UserId"));
        if (!known || rest.substr(colon + 1, 1) != "{")
            return fail(Errc::bad_system_tag, start_,
                        "'$' starts only $InstallationId:{<id>} and $UserId:{<id>}.");
        const std::size_t id = at_ + 1 + colon + 2;
        at_ = id;
        while (at_ < text_.size()) {
            const std::size_t length = text_[at_] == '=' ? 1 : tag_character(text_.substr(at_));
            if (length == 0) break;
            at_ += length;
        }
        if (at_ == id || at_ == text_.size() || text_[at_] != '}')
            return fail(Errc::bad_system_tag, start_,
                        "The id of a system tag is letters, digits and -_@#.:= between '{' and "
                        "'}'.");
        ++at_;
        return finish_tag();
    }

    bool finish_tag() {
        token_ = Token::tag;
        lexeme_ = text_.substr(start_, at_ - start_);
        if (lexeme_.size() <= limits_.tag_bytes_max) return true;
        return fail(Errc::tag_too_long, start_,
                    "The tag " + shortened(lexeme_) + " has " + std::to_string(lexeme_.size()) +
                        " bytes, at most " + std::to_string(limits_.tag_bytes_max) +
                        " are allowed.");
    }

    bool take() { return want_operand_ ? take_operand() : take_operator(); }

    bool take_operand() {
        switch (token_) {
            case Token::tag:
                out_.nodes.push_back(Node{Op::tag, 0, std::string(lexeme_)});
                operand_done();
                return true;
            case Token::open:
            case Token::negation:
                if (depth_ == limits_.depth_max)
                    return fail(Errc::too_deep, start_,
                                "More than " + std::to_string(limits_.depth_max) +
                                    " parentheses and '!' are open here.");
                ++depth_;
                stack_.push_back({token_, 0, start_});
                return true;
            case Token::end:
                if (out_.nodes.empty() && stack_.empty()) {
                    out_.nodes.push_back(Node{Op::everything, 0, {}});
                    return true;
                }
                return fail(Errc::operand_expected, start_,
                            "The expression ends where a tag should stand.");
            default:
                return fail(Errc::operand_expected, start_,
                            "Found '" + std::string(text_.substr(start_, at_ - start_)) +
                                "' where a tag should stand.");
        }
    }

    bool take_operator() {
        switch (token_) {
            case Token::conjunction:
                join(Token::conjunction);
                return true;
            case Token::disjunction:
                reduce(Token::conjunction);
                join(Token::disjunction);
                return true;
            case Token::close:
                reduce(Token::conjunction);
                reduce(Token::disjunction);
                if (stack_.empty()) return fail(Errc::unopened, start_, "This ')' closes no '('.");
                assert(stack_.back().token == Token::open);
                stack_.pop_back();
                --depth_;
                operand_done();
                return true;
            case Token::end:
                reduce(Token::conjunction);
                reduce(Token::disjunction);
                if (stack_.empty()) return true;
                return fail(Errc::unclosed, stack_.back().column, "This '(' is never closed.");
            default:
                return fail(Errc::operator_expected, start_, operator_message());
        }
    }

    std::string operator_message() const {
        if (token_ == Token::tag) {
            if (same_ignoring_case(lexeme_, "and")) return "'and' is no operator; write '&&'.";
            if (same_ignoring_case(lexeme_, "or")) return "'or' is no operator; write '||'.";
            return "Found the tag " + shortened(lexeme_) + " where '&&' or '||' should stand.";
        }
        return "Found '" + std::string(1, text_[start_]) + "' where '&&' or '||' should stand.";
    }

    void join(Token token) {
        if (!stack_.empty() && stack_.back().token == token)
            ++stack_.back().operands;
        else
            stack_.push_back({token, 2, start_});
        want_operand_ = true;
    }

    void reduce(Token token) {
        if (stack_.empty() || stack_.back().token != token) return;
        const Op op = token == Token::conjunction ? Op::all_of : Op::any_of;
        out_.nodes.push_back(Node{op, stack_.back().operands, {}});
        stack_.pop_back();
    }

    void operand_done() {
        while (!stack_.empty() && stack_.back().token == Token::negation) {
            out_.nodes.push_back(Node{Op::negate, 1, {}});
            stack_.pop_back();
            --depth_;
        }
        want_operand_ = false;
    }

    std::string_view text_;
    const Limits& limits_;
    std::size_t at_ = 0;
    std::size_t start_ = 0;
    Token token_ = Token::end;
    std::string_view lexeme_;
    bool want_operand_ = true;
    std::size_t depth_ = 0;
    std::vector<Pending> stack_;
    Expression out_;
    ParseError error_;
};

}  // namespace

std::variant<Expression, ParseError> parse(std::string_view text, const Limits& limits) {
    return Parser(text, limits).run();
}

}  // namespace tagexpr
