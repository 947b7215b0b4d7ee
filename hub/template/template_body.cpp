// Tested by tests/hub_templates_test.cpp.
//
// A JSON body is read by a SAX walk and an XML body by a walk over pugixml's tree, both without
// recursion. Everything around expressions becomes literal text, already escaped, so rendering
// only joins pieces. An expression that does not parse refuses the template and says where it
// stands.
#include "hub/template/template_body.hpp"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"
#include "hub/text/xml.hpp"

namespace hub {
namespace {

using Body = CompiledTemplate::Body;

std::string located(std::string_view where, const ExpressionError& error) {
    return "the value of " + shown(where) + ", column " + std::to_string(error.column) + ": " +
           error.message + ".";
}

/// Collects literal text until an expression ends the segment.
class Segments {
  public:
    explicit Segments(CompiledTemplate& out) : out_(out) {}
    std::string literal;

    void put(TemplateExpression expression) {
        out_.segments.push_back({std::exchange(literal, {}), std::move(expression)});
    }
    void finish() {
        if (!literal.empty()) out_.segments.push_back({std::exchange(literal, {}), std::nullopt});
    }

  private:
    CompiledTemplate& out_;
};

class JsonCompiler : public nlohmann::json::json_sax_t {
  public:
    explicit JsonCompiler(Segments& segments) : segments_(segments) {}
    std::optional<std::string> problem;

    bool null() override { return plain("null"); }
    bool boolean(bool value) override { return plain(value ? "true" : "false"); }
    bool number_integer(number_integer_t value) override { return plain(std::to_string(value)); }
    bool number_unsigned(number_unsigned_t value) override { return plain(std::to_string(value)); }
    bool number_float(number_float_t, const string_t& text) override { return plain(text); }
    bool binary(binary_t&) override { return false; }

    bool string(string_t& value) override {
        if (!begin_value()) return false;
        auto parsed = parse_template_value(value);
        if (const auto* error = std::get_if<ExpressionError>(&parsed)) {
            problem = located(pointer(), *error);
            return false;
        }
        if (auto* expression = std::get_if<TemplateExpression>(&parsed))
            segments_.put(std::move(*expression));
        else
            quote(value);
        return true;
    }

    bool key(string_t& name) override {
        if (levels_.back().count++ > 0) segments_.literal += ',';
        quote(name);
        segments_.literal += ':';
        levels_.back().key = std::move(name);
        return true;
    }

    bool start_object(std::size_t) override {
        if (!levels_.empty() && !begin_value()) return false;
        segments_.literal += '{';
        levels_.push_back({false, 0, {}});
        return true;
    }
    bool start_array(std::size_t) override {
        if (!begin_value()) return false;
        segments_.literal += '[';
        levels_.push_back({true, 0, {}});
        return true;
    }
    bool end_object() override { return leave('}'); }
    bool end_array() override { return leave(']'); }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
        return false;
    }

  private:
    struct Level {
        bool array;
        std::size_t count;
        std::string key;
    };

    bool begin_value() {
        if (levels_.empty()) {
            problem = "the body must be a JSON object.";
            return false;
        }
        if (levels_.back().array && levels_.back().count++ > 0) segments_.literal += ',';
        return true;
    }
    bool plain(const std::string& text) {
        if (!begin_value()) return false;
        segments_.literal += text;
        return true;
    }
    void quote(const std::string& text) {
        segments_.literal += '"';
        append_json_escaped(segments_.literal, text);
        segments_.literal += '"';
    }
    bool leave(char bracket) {
        segments_.literal += bracket;
        levels_.pop_back();
        return true;
    }
    std::string pointer() const {
        std::string out;
        for (const Level& level : levels_)
            out += "/" + (level.array ? std::to_string(level.count - 1) : level.key);
        return out;
    }

    Segments& segments_;
    std::vector<Level> levels_;
};

std::string path_of(pugi::xml_node node) {
    std::string out;
    for (; node.type() == pugi::node_element; node = node.parent())
        out.insert(0, std::string("/") + node.name());
    return out;
}

class XmlCompiler {
  public:
    explicit XmlCompiler(Segments& segments) : segments_(segments) {}

    /// Iterative pre-order walk; elements that have child elements are closed on the way up.
    std::optional<std::string> run(const pugi::xml_document& document) {
        pugi::xml_node node = document.first_child();
        while (node) {
            const bool descend = node.type() == pugi::node_element && first_element(node);
            if (!open(node, descend)) return problem_;
            if (descend) {
                node = node.first_child();
                continue;
            }
            while (node && !node.next_sibling()) {
                node = node.parent();
                if (node.type() == pugi::node_element) close(node);
            }
            if (node) node = node.next_sibling();
        }
        return std::nullopt;
    }

  private:
    bool open(const pugi::xml_node& node, bool descend) {
        switch (node.type()) {
            case pugi::node_declaration:
                segments_.literal += R"(<?xml version="1.0" encoding="utf-8"?>)";
                return true;
            case pugi::node_pcdata:
            case pugi::node_cdata:
                append_xml(segments_.literal, node.value());
                return true;
            case pugi::node_element:
                return element(node, descend);
            default:
                return true;
        }
    }

    bool element(const pugi::xml_node& node, bool descend) {
        segments_.literal.append("<").append(node.name());
        for (const pugi::xml_attribute& attribute : node.attributes()) {
            segments_.literal.append(" ").append(attribute.name()).append("=\"");
            if (!value(attribute.value(), node, attribute.name())) return false;
            segments_.literal += '"';
        }
        if (descend) {
            segments_.literal += '>';
            return true;
        }
        const std::string text = text_of(node);
        if (text.empty()) {
            segments_.literal += "/>";
            return true;
        }
        segments_.literal += '>';
        if (!value(text, node, {})) return false;
        close(node);
        return true;
    }

    bool value(std::string_view text, const pugi::xml_node& node, std::string_view attribute) {
        auto parsed = parse_template_value(text);
        if (const auto* error = std::get_if<ExpressionError>(&parsed)) {
            std::string where = path_of(node);
            if (!attribute.empty()) where.append("/@").append(attribute);
            problem_ = located(where, *error);
            return false;
        }
        if (auto* expression = std::get_if<TemplateExpression>(&parsed))
            segments_.put(std::move(*expression));
        else
            append_xml(segments_.literal, text);
        return true;
    }

    void close(const pugi::xml_node& node) {
        segments_.literal.append("</").append(node.name()).append(">");
    }

    Segments& segments_;
    std::string problem_;
};

}  // namespace

std::optional<std::string> compile_json_body(std::string_view body, CompiledTemplate& out) {
    if (const auto refusal = check_json(body, "the body")) return refusal->message;
    Segments segments(out);
    JsonCompiler compiler(segments);
    out.kind = Body::json;
    if (!nlohmann::json::sax_parse(body.begin(), body.end(), &compiler))
        return compiler.problem.value_or("the body must be a JSON object.");
    segments.finish();
    return std::nullopt;
}

std::optional<std::string> compile_xml_body(std::string_view body, std::string_view root,
                                            CompiledTemplate& out) {
    pugi::xml_document document;
    if (const auto refusal = read_xml(body, document, true)) return refusal->message;
    const pugi::xml_node top = first_element(document);
    if (!root.empty() && local_name(top) != root)
        return "the root element must be <" + std::string(root) + ">.";
    Segments segments(out);
    out.kind = Body::xml;
    if (auto problem = XmlCompiler(segments).run(document)) return problem;
    segments.finish();
    return std::nullopt;
}

}  // namespace hub
