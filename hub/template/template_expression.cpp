// Tested by tests/hub_templates_test.cpp.
//
// ValueParser turns one value into tokens, by the grammar in the header. Evaluation walks the
// tokens and looks values up by lower-case names. Clipping counts code points and never cuts one.
// Everything is pure; nothing recurses, and no value is evaluated a second time.
#include "hub/template/template_expression.hpp"

#include <charconv>
#include <system_error>
#include <utility>

#include "hub/text/text.hpp"
#include "tagexpr/utf8.hpp"

namespace hub {
namespace {

using Form = TemplateToken::Form;

constexpr std::size_t property_characters_max = 120;
constexpr std::size_t count_digits_max = 6;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_property(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

class ValueParser {
  public:
    explicit ValueParser(std::string_view value) : value_(value) {}

    std::variant<std::monostate, TemplateExpression, ExpressionError> run() {
        expression_.braced = peek() == '{';
        if (expression_.braced) {
            ++at_;
            skip_blanks();
        }
        if (!tokens()) return std::move(error_);
        return std::move(expression_);
    }

  private:
    char peek() const { return at_ < value_.size() ? value_[at_] : '\0'; }
    bool at_end() const { return at_ >= value_.size(); }
    void skip_blanks() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\r' || peek() == '\n') ++at_;
    }

    bool fail_at(std::size_t offset, std::string message) {
        error_ = {tagexpr::utf8_count(value_.substr(0, offset)) + 1, std::move(message)};
        return false;
    }
    bool fail(std::string message) { return fail_at(at_, std::move(message)); }

    bool tokens() {
        for (;;) {
            const std::size_t start = at_;
            if (!token()) return false;
            if (expression_.tokens.size() > 1 && (expression_.tokens.front().form == Form::number ||
                                                  expression_.tokens.back().form == Form::number))
                return fail_at(start, "#(...) must be the only token of its value");
            const std::size_t after = at_;
            skip_blanks();
            if (peek() == '+') {
                ++at_;
                skip_blanks();
                continue;
            }
            if (expression_.braced) {
                if (peek() != '}') return fail("'+' or '}' is expected");
                if (++at_ < value_.size()) return fail("nothing may follow the closing '}'");
                return true;
            }
            if (at_end() && after == value_.size()) return true;
            at_ = after;
            return fail("an expression must be the whole value; join texts in {...} with '+'");
        }
    }

    bool token() {
        switch (peek()) {
            case '$':
                if (value_.substr(at_, 5) == "$body") return fail("$body is not supported");
                return reference(Form::whole);
            case '.':
                return reference(Form::dots);
            case '%':
                return reference(Form::uri);
            case '#':
                return reference(Form::number);
            case '\'':
            case '"':
                return quoted();
            default:
                return fail("$(name), .(name, n), %(name), #(name) or a quoted text is expected");
        }
    }

    bool quoted() {
        const char quote = peek();
        const std::size_t start = at_++;
        std::string text;
        for (;;) {
            if (at_end()) return fail_at(start, "the quoted text is not closed");
            const char c = value_[at_++];
            if (c == quote) {
                if (peek() != quote) break;
                ++at_;
            }
            text += c;
        }
        if (text.empty()) return fail_at(start, "a quoted text must not be empty");
        expression_.tokens.push_back({Form::text, std::move(text), {}, 0});
        return true;
    }

    bool reference(Form form) {
        const char sign = value_[at_++];
        if (peek() != '(') return fail(std::string("'(' is expected after '") + sign + "'");
        ++at_;
        TemplateToken token{form, {}, {}, 0};
        if (!property(token.text)) return false;
        if (peek() == ':' && !fallback(token.fallback)) return false;
        skip_blanks();
        if (peek() == ',') {
            if (form == Form::uri || form == Form::number)
                return fail(std::string(1, sign) + "(...) takes no length");
            ++at_;
            if (form == Form::whole) token.form = Form::clip;
            if (!count(token.count)) return false;
        } else if (form == Form::dots) {
            return fail("'.(name, n)' needs a length");
        }
        if (peek() != ')') return fail("')' is expected");
        ++at_;
        expression_.tokens.push_back(std::move(token));
        return true;
    }

    bool property(std::string& name) {
        skip_blanks();
        const std::size_t start = at_;
        while (is_property(peek())) ++at_;
        if (at_ == start) return fail("a property name of letters, digits and '_' is expected");
        if (at_ - start > property_characters_max)
            return fail_at(start, "a property name has at most " +
                                      std::to_string(property_characters_max) + " characters");
        name = lower(value_.substr(start, at_ - start));
        skip_blanks();
        return true;
    }

    bool fallback(std::string& text) {
        const std::size_t start = at_++;
        if (peek() != '{') return fail("'{' is expected after ':'");
        ++at_;
        while (!at_end() && peek() != '}') {
            if (peek() == '\\' && at_ + 1 < value_.size()) ++at_;
            text += value_[at_++];
        }
        if (at_end()) return fail_at(start, "the default is not closed with '}'");
        ++at_;
        return true;
    }

    bool count(std::size_t& value) {
        skip_blanks();
        const std::size_t start = at_;
        while (is_digit(peek())) ++at_;
        if (at_ == start) return fail("a length is expected");
        if (at_ - start > count_digits_max) return fail_at(start, "the length is too large");
        std::from_chars(value_.data() + start, value_.data() + at_, value);
        skip_blanks();
        return true;
    }

    std::string_view value_;
    std::size_t at_ = 0;
    TemplateExpression expression_;
    ExpressionError error_;
};

void append_token(const TemplateToken& token, const std::string& value, std::string& out) {
    switch (token.form) {
        case Form::text:
        case Form::whole:
        case Form::number:
            out += value;
            break;
        case Form::clip:
            out += tagexpr::utf8_prefix(value, token.count);
            break;
        case Form::dots:
            if (tagexpr::utf8_prefix(value, token.count).size() == value.size()) {
                out += value;
            } else if (token.count < 3) {
                out.append(token.count, '.');
            } else {
                out += tagexpr::utf8_prefix(value, token.count - 3);
                out += "...";
            }
            break;
        case Form::uri:
            append_percent_encoded(out, value);
            break;
    }
}

}  // namespace

std::variant<std::monostate, TemplateExpression, ExpressionError> parse_template_value(
    std::string_view value) {
    constexpr std::string_view signs = "$.%#{";
    if (value.empty() || signs.find(value.front()) == std::string_view::npos)
        return std::monostate{};
    return ValueParser(value).run();
}

TemplateValues::TemplateValues(const Properties& message,
                               const std::map<std::string, std::string>& variables)
    : message_(message) {
    for (const auto& [name, value] : variables) variables_.insert_or_assign(lower(name), value);
}

const std::string* TemplateValues::find(const std::string& lower_name) const {
    if (const auto found = message_.find(lower_name); found != message_.end())
        return &found->second;
    const auto found = variables_.find(lower_name);
    return found == variables_.end() ? nullptr : &found->second;
}

void evaluate_template(const TemplateExpression& expression, const TemplateValues& values,
                       std::size_t bytes_max, std::string& out) {
    for (const TemplateToken& token : expression.tokens) {
        const std::string* value = token.form == Form::text ? &token.text : values.find(token.text);
        append_token(token, value != nullptr ? *value : token.fallback, out);
        if (out.size() > bytes_max) return;
    }
}

bool is_template_number(std::string_view text) {
    // What no double holds is no number for those who read the payload.
    double value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
        return false;
    const auto digits = [&] {
        std::size_t count = 0;
        while (count < text.size() && is_digit(text[count])) ++count;
        text.remove_prefix(count);
        return count;
    };
    if (text.starts_with('0'))
        text.remove_prefix(1);
    else if (digits() == 0)
        return false;
    if (text.starts_with('.')) {
        text.remove_prefix(1);
        if (digits() == 0) return false;
    }
    if (text.starts_with('e') || text.starts_with('E')) {
        text.remove_prefix(1);
        if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
        if (digits() == 0) return false;
    }
    return text.empty();
}

}  // namespace hub
