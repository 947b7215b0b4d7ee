#include "hub/text/json_text.hpp"

#include <algorithm>

#include "hub/text/text.hpp"

namespace hub {
namespace {

/// Builds nothing: counts depth and keeps where it went wrong.
class Checker : public nlohmann::json::json_sax_t {
  public:
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return false; }
    bool key(string_t&) override { return true; }
    bool start_object(std::size_t) override { return enter(); }
    bool start_array(std::size_t) override { return enter(); }
    bool end_object() override { return leave(); }
    bool end_array() override { return leave(); }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::detail::exception&) override {
        position_ = position;
        return false;
    }

    bool too_deep() const { return depth_ > json_depth_max; }
    std::size_t position() const { return position_; }

  private:
    bool enter() { return ++depth_ <= json_depth_max; }
    bool leave() { return --depth_, true; }

    std::size_t depth_ = 0;
    std::size_t position_ = 0;
};

}  // namespace

std::optional<Refusal> check_json(std::string_view text, std::string_view what,
                                  std::size_t bytes_max) {
    if (text.size() > bytes_max)
        return Refusal{413, std::string(what) + " is " + std::to_string(text.size()) +
                                " bytes, at most " + std::to_string(bytes_max) + " are allowed."};
    Checker checker;
    if (nlohmann::json::sax_parse(text.begin(), text.end(), &checker)) return std::nullopt;
    if (checker.too_deep())
        return bad_request(std::string(what) + " nests deeper than " +
                           std::to_string(json_depth_max) + " levels.");
    return bad_request(std::string(what) + " is not valid JSON: error at byte " +
                       std::to_string(checker.position()) + ".");
}

Parsed<nlohmann::json> read_json(std::string_view text, std::string_view what,
                                 std::size_t bytes_max) {
    const auto brackets =
        std::count_if(text.begin(), text.end(), [](char c) { return c == '{' || c == '['; });
    if (text.size() <= bytes_max && static_cast<std::size_t>(brackets) <= json_depth_max) {
        auto value = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
        if (!value.is_discarded()) return value;
    }
    if (auto refusal = check_json(text, what, bytes_max)) return std::move(*refusal);
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
