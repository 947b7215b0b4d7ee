// Tested by tests/hub_templates_test.cpp.
//
// The first half compiles a stored template: body, headers, expiry and priority. The second half
// reads the message of a send and renders. The fan-out renders once for each distinct (template,
// variables), so nothing here runs once per device. A rendering that is no valid payload is an
// outcome of its devices and does not stop the send.
#include "hub/template/templates.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "hub/template/template_body.hpp"
#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"
#include "tagexpr/utf8.hpp"

namespace hub {
namespace {

using Body = CompiledTemplate::Body;

constexpr std::size_t header_bytes_max = 4096;

bool is_token_character(char c) {
    constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
}

bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

template <class Number>
bool is_number(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size();
}

class Compiler {
  public:
    Compiler(std::string_view platform, const registry::Template& source)
        : platform_(platform), source_(source) {}

    std::optional<Refusal> check() const {
        if (auto problem = name()) return refusal(*problem);
        if (trimmed(source_.body).empty()) return refusal("the body is empty.");
        return std::nullopt;
    }

    Parsed<CompiledTemplate> run() {
        if (auto refused = check()) return std::move(*refused);
        std::optional<std::string> problem = headers();
        if (!problem && platform_ == "apns") problem = apple_values();
        if (!problem) problem = body();
        if (!problem) return std::move(out_);
        return refusal(*problem);
    }

  private:
    using Problem = std::optional<std::string>;

    Refusal refusal(const std::string& problem) const {
        std::string prefix = "The template is invalid: ";
        if (!source_.name.empty() && tagexpr::is_utf8(source_.name))
            prefix = "Template '" + shown(source_.name) + "' is invalid: ";
        return bad_request(prefix + problem);
    }

    Problem name() const {
        if (!tagexpr::is_utf8(source_.name)) return "the name is not valid UTF-8.";
        if (tagexpr::utf8_count(source_.name) > template_name_characters_max)
            return "the name is longer than " + std::to_string(template_name_characters_max) +
                   " characters.";
        if (std::any_of(source_.name.begin(), source_.name.end(), is_control))
            return "the name has control characters.";
        return std::nullopt;
    }

    Problem text(const std::string& what, const std::string& value, TemplateText& into) const {
        if (!tagexpr::is_utf8(value)) return what + " is not valid UTF-8.";
        if (value.size() > header_bytes_max)
            return what + " is longer than " + std::to_string(header_bytes_max) + " bytes.";
        auto parsed = parse_template_value(value);
        if (const auto* error = std::get_if<ExpressionError>(&parsed))
            return what + ", column " + std::to_string(error->column) + ": " + error->message + ".";
        if (auto* expression = std::get_if<TemplateExpression>(&parsed))
            into.expression = std::move(*expression);
        else
            into.literal = value;
        return std::nullopt;
    }

    Problem headers() {
        if (source_.headers.empty())
            return platform_ == "wns" ? Problem("the header X-WNS-Type is missing.") : std::nullopt;
        if (platform_ != "wns" && platform_ != "mpns" && platform_ != "apns" &&
            platform_ != "browser" && platform_ != "baidu")
            return "'Headers' are only acceptable for WNS, MPNS, APNS and browser.";
        if (source_.headers.size() > template_headers_max)
            return "it has more than " + std::to_string(template_headers_max) + " headers.";
        for (const auto& [header, value] : source_.headers) {
            if (header.empty() || header.size() > header_bytes_max ||
                !std::all_of(header.begin(), header.end(), is_token_character))
                return "a header name is empty or has illegal characters.";
            const std::string what = "header '" + shown(header) + "'";
            if (std::any_of(value.begin(), value.end(), is_control))
                return what + " has control characters.";
            TemplateText compiled;
            if (auto problem = text(what, value, compiled)) return problem;
            if (auto problem = header_rule(what, lower(header), compiled)) return problem;
            out_.headers.emplace_back(header, std::move(compiled));
        }
        if (platform_ == "wns" && !type_) return "the header X-WNS-Type is missing.";
        return std::nullopt;
    }

    Problem header_rule(const std::string& what, const std::string& header,
                        const TemplateText& value) {
        if (platform_ == "wns" && header == "x-wns-type")
            type_ = value.expression ? "" : lower(trimmed(value.literal));
        if (platform_ == "baidu") {
            if (header != lower(baidu_message_type)) return what + " is not acceptable for Baidu.";
            if (value.expression || !is_number<std::int32_t>(value.literal))
                return "the message type must be a whole number of 32 bits.";
        }
        if (platform_ != "apns") return std::nullopt;
        if (!header.starts_with("apns-")) return what + " must start with 'apns-'.";
        if (value.expression) return std::nullopt;
        if (header == "apns-priority" && !is_number<unsigned char>(value.literal))
            return what + " must be a number from 0 to 255 or an expression.";
        if (header == "apns-expiration" && !is_number<std::int64_t>(value.literal))
            return what + " must be a whole number or an expression.";
        return std::nullopt;
    }

    Problem apple_values() {
        if (auto problem = text("Expiry", source_.expiry, out_.expiry)) return problem;
        const std::string& expiry = out_.expiry.literal;
        if (!expiry.empty() && expiry != "0" && !parse_time_ms(expiry))
            return "Expiry must be a date, 0 or an expression.";
        if (auto problem = text("Priority", source_.priority, out_.priority)) return problem;
        const std::string& priority = out_.priority.literal;
        if (!priority.empty() && !is_number<unsigned char>(priority))
            return "Priority must be a number from 0 to 255 or an expression.";
        return std::nullopt;
    }

    Problem body() {
        const std::string_view front = trimmed(source_.body);
        if (platform_ != "wns" && platform_ != "mpns") return compile_json_body(source_.body, out_);
        const bool json_like = front.front() == '{';
        if (platform_ == "mpns")
            return json_like ? compile_json_body(source_.body, out_)
                             : compile_xml_body(source_.body, {}, out_);
        if (*type_ == "wns/toast" || *type_ == "wns/tile" || *type_ == "wns/badge")
            return compile_xml_body(source_.body, std::string_view(*type_).substr(4), out_);
        if (!type_->empty() && *type_ != "wns/raw")
            return "X-WNS-Type must be wns/toast, wns/tile, wns/badge, wns/raw or an expression.";
        // Raw, or a type that only the message decides: whatever the body is.
        if (json_like && !check_json(source_.body, "The body"))
            return compile_json_body(source_.body, out_);
        pugi::xml_document document;
        if (front.front() == '<' && !read_xml(source_.body, document))
            return compile_xml_body(source_.body, {}, out_);
        if (!tagexpr::is_utf8(source_.body)) return "the body is not valid UTF-8.";
        out_.kind = Body::text;
        out_.segments.push_back({source_.body, std::nullopt});
        return std::nullopt;
    }

    std::string_view platform_;
    const registry::Template& source_;
    std::optional<std::string> type_;  ///< X-WNS-Type in lower case, empty for an expression
    CompiledTemplate out_;
};

class PropertyReader : public nlohmann::json::json_sax_t {
  public:
    Properties properties;
    std::optional<std::string> nested;
    bool inside = false;

    bool null() override { return inside; }
    bool boolean(bool value) override { return put(value ? "true" : "false"); }
    bool number_integer(number_integer_t value) override { return put(std::to_string(value)); }
    bool number_unsigned(number_unsigned_t value) override { return put(std::to_string(value)); }
    bool number_float(number_float_t, const string_t& text) override { return put(text); }
    bool string(string_t& value) override { return put(std::move(value)); }
    bool binary(binary_t&) override { return false; }
    bool key(string_t& name) override {
        name_ = std::move(name);
        return true;
    }
    bool start_object(std::size_t) override {
        if (inside) return refuse();
        inside = true;
        return true;
    }
    bool start_array(std::size_t) override { return inside && refuse(); }
    bool end_object() override { return true; }
    bool end_array() override { return true; }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
        return false;
    }

  private:
    bool put(std::string value) {
        if (inside) properties.insert_or_assign(lower(name_), std::move(value));
        return inside;
    }
    bool refuse() {
        nested = name_;
        return false;
    }
    std::string name_;
};

void append_value(CompiledTemplate::Body kind, const TemplateExpression& expression,
                  const std::string& value, std::string& out) {
    switch (kind) {
        case Body::json:
            if (expression.is_number() && is_template_number(value)) {
                out += value;
            } else {
                out += '"';
                append_json_escaped(out, value);
                out += '"';
            }
            break;
        case Body::xml:
            append_xml(out, value);
            break;
        case Body::text:
            out += value;
            break;
    }
}

}  // namespace

std::optional<Refusal> check_template(const registry::Template& source) {
    return Compiler({}, source).check();
}

Parsed<CompiledTemplate> compile_template(std::string_view platform,
                                          const registry::Template& source) {
    return Compiler(platform, source).run();
}

Parsed<Properties> parse_properties(std::string_view json) {
    if (auto refusal = check_json(json, "The body")) return std::move(*refusal);
    PropertyReader reader;
    if (nlohmann::json::sax_parse(json.begin(), json.end(), &reader))
        return std::move(reader.properties);
    if (reader.nested)
        return bad_request("The property '" + shown(*reader.nested) +
                           "' is an object or array; template properties must be strings.");
    return bad_request("The body of a template send must be a JSON object of strings.");
}

Rendered render(const CompiledTemplate& compiled, const Properties& message,
                const std::map<std::string, std::string>& variables) {
    const TemplateValues values(message, variables);
    Rendered out;
    std::string value;
    for (const CompiledTemplate::Segment& segment : compiled.segments) {
        out.body += segment.literal;
        if (segment.value) {
            value.clear();
            evaluate_template(*segment.value, values, rendered_bytes_max, value);
            append_value(compiled.kind, *segment.value, value, out.body);
        }
        if (out.body.size() > rendered_bytes_max) {
            out.too_big = true;
            out.body.clear();
            return out;
        }
    }
    const auto text = [&](const TemplateText& source) {
        if (!source.expression) return source.literal;
        std::string result;
        evaluate_template(*source.expression, values, header_bytes_max, result);
        if (result.size() > header_bytes_max) {
            out.too_big = true;
            result.clear();
        }
        std::replace_if(result.begin(), result.end(), is_control, ' ');
        return result;
    };
    out.headers.reserve(compiled.headers.size());
    for (const auto& [name, source] : compiled.headers)
        out.headers.emplace_back(name, text(source));
    out.expiry = text(compiled.expiry);
    out.priority = text(compiled.priority);
    return out;
}

}  // namespace hub
