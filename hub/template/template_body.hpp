#pragma once

// The two structured bodies of templates, cut into literal text and expressions
// (docs/contracts/anh.md 7.1). Only templates.cpp uses this.

#include <optional>
#include <string>
#include <string_view>

#include "hub/template/templates.hpp"

namespace hub {

/// A JSON object: every string value may be an expression. The problem, if there is one, is a
/// sentence that names the value by its JSON pointer.
std::optional<std::string> compile_json_body(std::string_view body, CompiledTemplate& out);

/// Every attribute and the text of every element without child elements may be an expression.
/// `root` is the required name of the root element, empty = any.
std::optional<std::string> compile_xml_body(std::string_view body, std::string_view root,
                                            CompiledTemplate& out);

}  // namespace hub
