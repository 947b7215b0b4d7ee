#pragma once

// XML from outside and to outside: bounded reading without DTDs or entities, escaping.
// Pure, any thread. Tested by tests/hub_atom_test.cpp and tests/hub_error_test.cpp.

#include <cstddef>
#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t xml_bytes_max = 64 * 1024;
constexpr std::size_t xml_depth_max = 32;

/// Reads one document of UTF-8 (or, by byte order mark, UTF-16): one root element with nothing but
/// blanks, comments and processing instructions around it, a declaration at the front. Refuses
/// DOCTYPE, deep nesting and more than xml_bytes_max with 400 or 413. `keep_blanks` keeps blank
/// text between elements.
std::optional<Refusal> read_xml(std::string_view text, pugi::xml_document& document,
                                bool keep_blanks = false);

/// The name without its namespace prefix.
std::string_view local_name(const pugi::xml_node& node);
std::string_view local_name(const pugi::xml_attribute& attribute);

/// First child element of that local name, whatever its prefix; an empty node if there is none.
pugi::xml_node child_element(const pugi::xml_node& node, std::string_view name);
pugi::xml_node first_element(const pugi::xml_node& node);

/// What a request describes: the root element or, if that is an Atom entry, the one element in its
/// content.
Parsed<pugi::xml_node> described_element(const pugi::xml_document& document);
/// What the contract says of a description that it will not take, and why.
Refusal invalid_description(std::string_view why);

/// Refuses a description with two elements of one name, of which one would be lost.
std::optional<Refusal> check_no_child_twice(const pugi::xml_node& node);

/// All text and CDATA directly in `node`.
std::string text_of(const pugi::xml_node& node);

bool is_nil(const pugi::xml_node& node);  ///< `i:nil="true"`

/// Text of a child; nothing when it is absent or nil.
std::optional<std::string> child_text(const pugi::xml_node& node, std::string_view name);

/// Escapes for element text and double-quoted attributes. What XML 1.0 cannot hold (control
/// characters, broken UTF-8) becomes U+FFFD.
void append_xml(std::string& out, std::string_view text);

/// `<name>escaped text</name>`.
void append_element(std::string& out, std::string_view name, std::string_view text);

}  // namespace hub
