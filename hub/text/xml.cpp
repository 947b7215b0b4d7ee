// pugixml reads the text; a walk without recursion then refuses a tree that is too deep and every
// DTD. Writing does not build a tree: text is escaped straight into the answer, with a fast path
// for plain ASCII. Nothing here may trust its input: bodies of requests from outside come here
// first, before any other code sees what is in them.
#include "hub/text/xml.hpp"

#include <cstring>

#include "tagexpr/utf8.hpp"

namespace hub {
namespace {

std::string_view without_prefix(const char* name) {
    const char* colon = std::strchr(name, ':');
    return colon != nullptr ? colon + 1 : name;
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
    unsigned flags = pugi::parse_default | pugi::parse_doctype | pugi::parse_declaration;
    if (keep_blanks) flags |= pugi::parse_ws_pcdata;
    const pugi::xml_parse_result result =
        document.load_buffer(text.data(), text.size(), flags, pugi::encoding_auto);
    if (!result)
        return bad_request(std::string("The body is not XML: ") + result.description() +
                           " at byte " + std::to_string(result.offset + 1) + ".");
    if (auto refusal = check_tree(document)) return refusal;
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

std::string text_of(const pugi::xml_node& node) {
    std::string text;
    for (const pugi::xml_node& child : node.children()) {
        if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata)
            text += child.value();
    }
    return text;
}

std::optional<std::string> child_text(const pugi::xml_node& node, std::string_view name) {
    const pugi::xml_node child = child_element(node, name);
    if (!child) return std::nullopt;
    for (const pugi::xml_attribute& attribute : child.attributes()) {
        const std::string_view value = attribute.value();
        if (local_name(attribute) == "nil" && (value == "true" || value == "1"))
            return std::nullopt;
    }
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
