#include "hub/text/json_text.hpp"

#include <algorithm>
#include <cstdint>

#include "hub/text/text.hpp"

namespace hub {
namespace {

/// Builds nothing: counts depth and values, and keeps where it went wrong.
class Checker : public nlohmann::json::json_sax_t {
  public:
    explicit Checker(std::size_t values_max) : values_max_(values_max) {}

    bool null() override { return count(); }
    bool boolean(bool) override { return count(); }
    bool number_integer(number_integer_t) override { return count(); }
    bool number_unsigned(number_unsigned_t) override { return count(); }
    bool number_float(number_float_t, const string_t&) override { return count(); }
    bool string(string_t&) override { return count(); }
    bool binary(binary_t&) override { return false; }
    bool key(string_t&) override { return true; }
    bool start_object(std::size_t) override { return enter(); }
    bool start_array(std::size_t) override { return enter(); }
    bool end_object() override { return leave(); }
    bool end_array() override { return leave(); }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::detail::exception& error) override {
        position_ = position;
        number_too_large_ = error.id == 406;
        return false;
    }

    bool too_deep() const { return depth_ > json_depth_max; }
    bool too_many() const { return values_ > values_max_; }
    std::size_t position() const { return position_; }
    bool number_too_large() const { return number_too_large_; }

  private:
    bool count() { return ++values_ <= values_max_; }
    bool enter() { return ++depth_ <= json_depth_max && count(); }
    bool leave() { return --depth_, true; }

    const std::size_t values_max_;
    std::size_t values_ = 0;
    std::size_t depth_ = 0;
    std::size_t position_ = 0;
    bool number_too_large_ = false;
};

/// Empty: not UTF-16.
std::string utf8_of_utf16(std::string_view text, bool big_endian) {
    std::string out;
    const auto unit_at = [&](std::size_t i) {
        const auto first = static_cast<unsigned char>(text[i]);
        const auto second = static_cast<unsigned char>(text[i + 1]);
        return static_cast<std::uint32_t>(big_endian ? first << 8 | second : second << 8 | first);
    };
    if (text.size() % 2 != 0) return {};
    for (std::size_t i = 0; i < text.size(); i += 2) {
        std::uint32_t code = unit_at(i);
        if (code >= 0xD800 && code < 0xE000) {
            i += 2;
            const std::uint32_t low = i < text.size() ? unit_at(i) : 0;
            if (code >= 0xDC00 || low < 0xDC00 || low >= 0xE000) return {};
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        const auto byte = [&](std::uint32_t value) { out += static_cast<char>(value); };
        if (code < 0x80) {
            byte(code);
        } else if (code < 0x800) {
            byte(0xC0 | code >> 6);
            byte(0x80 | (code & 0x3F));
        } else {
            if (code >= 0x10000) byte(0xF0 | code >> 18);
            byte(code >= 0x10000 ? 0x80 | (code >> 12 & 0x3F) : 0xE0 | code >> 12);
            byte(0x80 | (code >> 6 & 0x3F));
            byte(0x80 | (code & 0x3F));
        }
    }
    return out;
}

/// Does the text begin as JSON in plain UTF-8 does?
bool begins_plainly(std::string_view text) {
    const auto is_plain = [](char c) { return c > 0 && c < 0x7F; };
    return text.size() < 2 || (is_plain(text[0]) && text[1] != '\0');
}

}  // namespace

std::string json_in_utf8(std::string text) {
    if (begins_plainly(text)) return text;
    const std::string_view view = text;
    if (view.starts_with("\xEF\xBB\xBF")) return text.substr(3);
    const bool marked = view.starts_with("\xFF\xFE") || view.starts_with("\xFE\xFF");
    if (!marked && view[0] != '\0' && view[1] != '\0') return text;
    const bool big_endian = view[0] == '\0' || view[0] == '\xFE';
    std::string converted = utf8_of_utf16(view.substr(marked ? 2 : 0), big_endian);
    return converted.empty() ? text : converted;
}

std::optional<Refusal> check_json(std::string_view text, std::string_view what,
                                  std::size_t bytes_max, std::size_t values_max) {
    if (text.size() > bytes_max)
        return Refusal{413, std::string(what) + " is " + std::to_string(text.size()) +
                                " bytes, at most " + std::to_string(bytes_max) + " are allowed."};
    Checker checker(values_max);
    if (nlohmann::json::sax_parse(text.begin(), text.end(), &checker)) return std::nullopt;
    if (checker.too_deep())
        return bad_request(std::string(what) + " nests deeper than " +
                           std::to_string(json_depth_max) + " levels.");
    if (checker.too_many())
        return bad_request(std::string(what) + " has more than " + std::to_string(values_max) +
                           " values.");
    if (checker.number_too_large())
        return bad_request(std::string(what) + " has a number that is too large at byte " +
                           std::to_string(checker.position()) + ".");
    return bad_request(std::string(what) + " is not valid JSON: error at byte " +
                       std::to_string(checker.position()) + ".");
}

Parsed<nlohmann::json> read_json(std::string_view text, std::string_view what,
                                 std::size_t bytes_max, std::size_t values_max) {
    if (!begins_plainly(text)) {
        const std::string converted = json_in_utf8(std::string(text.substr(0, bytes_max + 1)));
        if (text.size() <= bytes_max && begins_plainly(converted))
            return read_json(converted, what, bytes_max, values_max);
    }
    // A document has no more values than brackets and commas, and one.
    std::size_t brackets = 0, commas = 0;
    for (const char c : text) {
        brackets += c == '{' || c == '[';
        commas += c == ',';
    }
    if (text.size() <= bytes_max && brackets <= json_depth_max && brackets + commas < values_max) {
        auto value = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
        if (!value.is_discarded()) return value;
    }
    if (auto refusal = check_json(text, what, bytes_max, values_max)) return std::move(*refusal);
    return nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
}

Parsed<std::map<std::string, std::string>> string_members(const nlohmann::json& object,
                                                          std::string_view what) {
    if (!object.is_object())
        return bad_request(std::string(what) + " must be a JSON object of strings.");
    std::map<std::string, std::string> members;
    for (const auto& [name, value] : object.items()) {
        if (value.is_null()) continue;
        if (value.is_structured())
            return bad_request("The member '" + shown(name) + "' of " + lower(what.substr(0, 1)) +
                               std::string(what.substr(1)) +
                               " must be a string; objects and arrays are not supported.");
        members[name] = value.is_string() ? value.get<std::string>() : value.dump();
    }
    return members;
}

}  // namespace hub
