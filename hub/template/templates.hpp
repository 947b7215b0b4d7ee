#pragma once

// Templates: compiled once at registration (to refuse broken ones) and once per send, rendered once
// per distinct (template, variables). Values are immutable after compiling; any thread.
// Grammar and evaluation of one value: hub/template/template_expression.hpp.

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/template/template_expression.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/registration.hpp"

namespace hub {

constexpr std::size_t template_name_characters_max = 200;
constexpr std::size_t template_headers_max = 64;
/// The only header of Baidu templates, a whole number of 32 bits. Atom calls it MessageType.
constexpr std::string_view baidu_message_type = "X-Baidu-Message-Type";
/// Above every provider's limit. A rendering that grows past it stops there and is too big.
constexpr std::size_t rendered_bytes_max = 64 * 1024;

/// A header, Expiry or Priority: an expression or literal text.
struct TemplateText {
    std::string literal;
    std::optional<TemplateExpression> expression;
};

struct CompiledTemplate {
    enum class Body : std::uint8_t { json, xml, text } kind = Body::json;
    /// `literal` is encoded for `kind` and comes before the value, if there is one.
    struct Segment {
        std::string literal;
        std::optional<TemplateExpression> value;
    };
    std::vector<Segment> segments;
    std::vector<std::pair<std::string, TemplateText>> headers;
    TemplateText expiry;
    TemplateText priority;
};

/// What every template needs, whatever the platform: a sound name and a body.
std::optional<Refusal> check_template(const registry::Template& source);

/// `platform` is the stored name. A Refusal is a 400 that names the value and the column.
Parsed<CompiledTemplate> compile_template(std::string_view platform,
                                          const registry::Template& source);

/// The flat JSON object of a template send, by lower-case name. Numbers and booleans give their
/// JSON text, null is a missing property, objects and arrays are refused.
Parsed<Properties> parse_properties(std::string_view json);

struct Rendered {
    std::string body;
    registry::Headers
        headers;           ///< names as the template has them; values without control characters
    std::string expiry;    ///< empty = none
    std::string priority;  ///< empty = none
    bool too_big = false;  ///< outcome InvalidNotificationSize; nothing else is meaningful then
};

/// Message properties win over push variables; a property that neither has is the empty string.
Rendered render(const CompiledTemplate& compiled, const Properties& message,
                const std::map<std::string, std::string>& variables);

}  // namespace hub
