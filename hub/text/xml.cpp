// pugixml reads the text; a walk without recursion then refuses a tree that is too deep and every
// DTD. Writing does not build a tree: text is escaped straight into the answer, with a fast path
// for plain ASCII. Nothing here may trust its input: bodies of requests from outside come here
// first, before any other code sees what is in them.
#include "hub/text/xml.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>

#include "hub/text/text.hpp"
#include "tagexpr/utf8.hpp"

namespace hub {
namespace {

std::string_view without_prefix(const char* name) {
    const char* colon = std::strchr(name, ':');
    return colon != nullptr ? colon + 1 : name;
}

/// Of the units that the text has in its encoding, is one zero? pugixml would end there.
bool has_zero_unit(std::string_view text, pugi::xml_encoding encoding) {
    std::size_t unit = 1;
    if (encoding == pugi::encoding_utf16_le || encoding == pugi::encoding_utf16_be) unit = 2;
    if (encoding == pugi::encoding_utf32_le || encoding == pugi::encoding_utf32_be) unit = 4;
    if (unit == 1) return text.find('\0') != std::string_view::npos;
    if (text.size() % unit != 0) return true;
    for (std::size_t i = 0; i < text.size(); i += unit) {
        if (text.substr(i, unit).find_first_not_of('\0') == std::string_view::npos) return true;
    }
    return false;
}

/// `&#0;`, `&#x000;`, `&#xD800;`, `&#x110000;`: references to what is no character. At the first of
/// these pugixml would end the text, and the others give bytes that are no UTF-8.
bool refers_to_no_character(std::string_view text) {
    for (std::size_t at = text.find("&#"); at != std::string_view::npos; at = text.find("&#", at)) {
        at += 2;
        const bool hexadecimal = text.substr(at, 1) == "x";
        if (hexadecimal) ++at;
        const std::uint32_t base = hexadecimal ? 16 : 10;
        const std::size_t begin = at;
        std::uint32_t code = 0;
        for (; at < text.size(); ++at) {
            const int digit = pns::hex_value(text[at]);
            if (digit < 0 || static_cast<std::uint32_t>(digit) >= base) break;
            code = std::min(code * base + static_cast<std::uint32_t>(digit), 0x110000u);
        }
        if (at == begin || text.substr(at, 1) != ";") continue;  // no reference: stays as it is
        if (code == 0 || code >= 0x110000u || (code >= 0xD800 && code < 0xE000)) return true;
    }
    return false;
}

/// The same of all text and attributes of a document, for which it is read once more, as it is
/// written. What looks like a reference in CDATA and comments is none.
bool refers_to_no_character(std::string_view text, unsigned flags, pugi::xml_encoding encoding) {
    if (encoding == pugi::encoding_utf8 && text.find("&#") == std::string_view::npos) return false;
    pugi::xml_document written;
    written.load_buffer(text.data(), text.size(), flags & ~pugi::parse_escapes, encoding);
    struct Look : pugi::xml_tree_walker {
        bool found = false;
        bool for_each(pugi::xml_node& node) override {
            found = node.type() == pugi::node_pcdata && refers_to_no_character(node.value());
            for (const pugi::xml_attribute& attribute : node.attributes())
                found = found || refers_to_no_character(attribute.value());
            return !found;
        }
    } look;
    written.traverse(look);
    return look.found;
}

/// One root element, and around it what says nothing; blanks there are removed from the tree.
std::optional<Refusal> check_top(pugi::xml_document& document) {
    std::size_t roots = 0;
    bool text_outside = false;
    for (pugi::xml_node node = document.first_child(); node;) {
        const pugi::xml_node next = node.next_sibling();
        const bool text = node.type() == pugi::node_pcdata || node.type() == pugi::node_cdata;
        text_outside = text_outside || (text && !trimmed(node.value()).empty());
        if (node.type() == pugi::node_declaration && node.previous_sibling())
            return bad_request("The XML body has a declaration that is not at its front.");
        if (node.type() == pugi::node_element) ++roots;
        if (text) document.remove_child(node);
        node = next;
    }
    if (roots == 1 && !text_outside) return std::nullopt;
    if (roots == 1) return bad_request("The XML body has text outside of its root element.");
    if (roots == 0) return bad_request("The body is not XML: it has no element.");
    return bad_request("The XML body has " + std::to_string(roots) +
                       " root elements, and exactly one is allowed.");
}

/// Walks without recursion; refuses what nests too deep or declares a DTD.
std::optional<Refusal> check_tree(const pugi::xml_document& document) {
    std::size_t depth = 1;
    pugi::xml_node node = document.first_child();
    while (node) {
        if (node.type() == pugi::node_doctype)
            return bad_request("The XML body must not contain a DOCTYPE.");
        if (depth > xml_depth_max)
            return bad_request("The XML body nests deeper than " + std::to_string(xml_depth_max) +
                               " elements.");
        if (node.first_child()) {
            node = node.first_child();
            ++depth;
            continue;
        }
        while (node && !node.next_sibling()) {
            node = node.parent();
            --depth;
        }
        if (node) node = node.next_sibling();
    }
    return std::nullopt;
}

/// How many characters at the front are ASCII and stand for themselves.
std::size_t plain_length(std::string_view text) {
    const char* const bytes = text.data();
    std::size_t length = 0;
    for (; length < text.size(); ++length) {
        const auto c = static_cast<unsigned char>(bytes[length]);
        if (c < 0x20 || c >= 0x80 || c == '&' || c == '<' || c == '>' || c == '"') break;
    }
    return length;
}

}  // namespace

std::optional<Refusal> read_xml(std::string_view text, pugi::xml_document& document,
                                bool keep_blanks) {
    if (text.size() > xml_bytes_max)
        return Refusal{413, "The XML body is " + std::to_string(text.size()) + " bytes, at most " +
                                std::to_string(xml_bytes_max) + " are allowed."};
    // As a fragment, so that what stands around the root element is seen.
    unsigned flags =
        pugi::parse_default | pugi::parse_doctype | pugi::parse_declaration | pugi::parse_fragment;
    if (keep_blanks) flags |= pugi::parse_ws_pcdata;
    const pugi::xml_parse_result result =
        document.load_buffer(text.data(), text.size(), flags, pugi::encoding_auto);
    if (!result)
        return bad_request(std::string("The body is not XML: ") + result.description() +
                           " at byte " + std::to_string(result.offset + 1) + ".");
    if (has_zero_unit(text, result.encoding))
        return bad_request("The XML body has a character of the value 0, or ends within one.");
    if (auto refusal = check_tree(document)) return refusal;
    if (refers_to_no_character(text, flags, result.encoding))
        return bad_request("The XML body refers to a character that there is not, such as &#0;.");
    if (auto refusal = check_top(document)) return refusal;
    // Code unit conversion repairs nothing: a UTF-8 document keeps its broken bytes.
    if (result.encoding == pugi::encoding_utf8 && !tagexpr::is_utf8(text))
        return bad_request("The XML body is not valid UTF-8.");
    return std::nullopt;
}

std::string_view local_name(const pugi::xml_node& node) {
    return without_prefix(node.name());
}

std::string_view local_name(const pugi::xml_attribute& attribute) {
    return without_prefix(attribute.name());
}

pugi::xml_node child_element(const pugi::xml_node& node, std::string_view name) {
    for (const pugi::xml_node& child : node.children()) {
        if (child.type() == pugi::node_element && local_name(child) == name) return child;
    }
    return {};
}

pugi::xml_node first_element(const pugi::xml_node& node) {
    for (const pugi::xml_node& child : node.children()) {
        if (child.type() == pugi::node_element) return child;
    }
    return {};
}

Refusal invalid_description(std::string_view why) {
    return bad_request("The specified resource description is invalid. " + std::string(why));
}

Parsed<pugi::xml_node> described_element(const pugi::xml_document& document) {
    const pugi::xml_node root = first_element(document);
    if (local_name(root) != "entry") return root;
    const pugi::xml_node content = child_element(root, "content");
    if (!content) return invalid_description("The entry has no content.");
    std::size_t contents = 0, inside = 0;
    for (const pugi::xml_node& child : root.children()) contents += local_name(child) == "content";
    for (const pugi::xml_node& child : content.children())
        inside += child.type() == pugi::node_element;
    if (contents == 1 && inside == 1) return first_element(content);
    return invalid_description("The entry must have one content with one element in it; it has " +
                               std::to_string(contents) + " with " + std::to_string(inside) +
                               (contents == 1 ? "." : " in the first."));
}

std::optional<Refusal> check_no_child_twice(const pugi::xml_node& node) {
    std::set<std::string_view> names;
    for (const pugi::xml_node& child : node.children()) {
        if (child.type() != pugi::node_element || names.insert(local_name(child)).second) continue;
        return bad_request("The element " + shown(local_name(child)) + " occurs twice.");
    }
    return std::nullopt;
}

std::string text_of(const pugi::xml_node& node) {
    std::string text;
    for (const pugi::xml_node& child : node.children()) {
        if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata)
            text += child.value();
    }
    return text;
}

bool is_nil(const pugi::xml_node& node) {
    for (const pugi::xml_attribute& attribute : node.attributes()) {
        const std::string_view value = attribute.value();
        if (local_name(attribute) == "nil" && (value == "true" || value == "1")) return true;
    }
    return false;
}

std::optional<std::string> child_text(const pugi::xml_node& node, std::string_view name) {
    const pugi::xml_node child = child_element(node, name);
    if (!child || is_nil(child)) return std::nullopt;
    return text_of(child);
}

void append_xml(std::string& out, std::string_view text) {
    constexpr std::string_view replacement = "\xEF\xBF\xBD";
    for (;;) {
        const std::size_t plain = plain_length(text);
        out += text.substr(0, plain);
        text.remove_prefix(plain);
        if (text.empty()) break;
        const char c = text.front();
        std::size_t length = 1;
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\r':
                out += "&#13;";
                break;
            default:
                length = tagexpr::utf8_length(text);
                if (length == 0) {
                    out += replacement;
                    length = 1;
                } else if (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n') {
                    out += replacement;
                } else if (text.substr(0, 3) == "\xEF\xBF\xBE" ||
                           text.substr(0, 3) == "\xEF\xBF\xBF") {
                    out += replacement;
                } else {
                    out += text.substr(0, length);
                }
        }
        text.remove_prefix(length);
    }
}

void append_element(std::string& out, std::string_view name, std::string_view text) {
    out.append("<").append(name).append(">");
    append_xml(out, text);
    out.append("</").append(name).append(">");
}

}  // namespace hub
