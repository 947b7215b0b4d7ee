#pragma once

// One value of a template: literal text or an expression (docs/contracts/anh.md 7.2, 7.3).
//
//   value    = literal-text | single | '{' ws concat ws '}'
//   single   = token ( ws '+' ws token )*        begins with $ . % or #
//   concat   = token ( ws '+' ws token )*
//   token    = ref | quoted
//   ref      = '$(' prop [ default ] [ ',' n ] ')'  |  '.(' prop [ default ] ',' n ')'
//            | '%(' prop [ default ] ')'            |  '#(' prop [ default ] ')'  alone in its
//            value
//   default  = ':{' characters, '\' takes the next one as it is, up to '}'
//   quoted   = ' or " around one character or more, the quote doubled stands for itself
//
// Pure; nothing recurses.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace hub {

/// Values by lower-case name.
using Properties = std::map<std::string, std::string>;

struct TemplateToken {
    enum class Form : std::uint8_t {
        text,    ///< quoted
        whole,   ///< $(p)
        clip,    ///< $(p, n)
        dots,    ///< .(p, n)
        uri,     ///< %(p)
        number,  ///< #(p)
    } form = Form::text;
    std::string text;       ///< quoted text, or the property's name in lower case
    std::string fallback;   ///< of a missing property
    std::size_t count = 0;  ///< code points, for clip and dots
};

struct TemplateExpression {
    std::vector<TemplateToken> tokens;  ///< never empty
    bool braced = false;
    /// A lone #(p): JSON writes a matching value without quotes.
    bool is_number() const {
        return !braced && tokens.size() == 1 && tokens[0].form == TemplateToken::Form::number;
    }
};

struct ExpressionError {
    std::size_t column = 0;  ///< 1-based, in characters of the value
    std::string message;
};

/// monostate: the value is literal text, to be copied as it is.
std::variant<std::monostate, TemplateExpression, ExpressionError> parse_template_value(
    std::string_view value);

/// The message's properties, then the registration's push variables.
class TemplateValues {
  public:
    /// Both must outlive this. `variables` come with names as written.
    TemplateValues(const Properties& message, const std::map<std::string, std::string>& variables);
    const std::string* find(const std::string& lower_name) const;

  private:
    const Properties& message_;
    Properties variables_;
};

/// Appends the string result to `out`; stops soon after `out` holds more than `bytes_max`.
void evaluate_template(const TemplateExpression& expression, const TemplateValues& values,
                       std::size_t bytes_max, std::string& out);

/// (0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? in full.
bool is_template_number(std::string_view text);

}  // namespace hub
