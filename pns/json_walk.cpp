// Tested by tests/pns_platforms_test.cpp.
#include "pns/json_walk.hpp"

#include <nlohmann/json.hpp>
#include <vector>

namespace pns {

namespace {

using Json = nlohmann::json;
using Visit = std::function<void(const JsonPlace&, JsonKind, std::string_view)>;

class Walk final : public nlohmann::json_sax<Json> {
  public:
    explicit Walk(const Visit& visit) : visit_(visit) {}

    bool null() override { return value(JsonKind::null, {}); }
    bool boolean(bool is) override { return value(JsonKind::boolean, is ? "true" : "false"); }
    bool number_integer(number_integer_t number) override {
        return value(JsonKind::number, std::to_string(number));
    }
    bool number_unsigned(number_unsigned_t number) override {
        return value(JsonKind::number, std::to_string(number));
    }
    bool number_float(number_float_t, const string_t& text) override {
        return value(JsonKind::number, text);
    }
    bool string(string_t& text) override { return value(JsonKind::string, text); }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(JsonKind::object); }
    bool start_array(std::size_t) override { return open(JsonKind::array); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override {
        name_bytes_ = name.size();
        if (place_.depth <= JsonPlace::keys_max && place_.depth > 0)
            place_.keys[place_.depth - 1] = name;
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
        return false;
    }

  private:
    // Between two values `place_.depth` is the depth of a member of the innermost open container.
    bool value(JsonKind kind, std::string_view text) {
        place_.name_bytes = !arrays_.empty() && !arrays_.back() ? name_bytes_ : 0;
        visit_(place_, kind, text);
        return true;
    }
    bool open(JsonKind kind) {
        value(kind, {});
        arrays_.push_back(kind == JsonKind::array);
        ++place_.depth;
        if (place_.depth <= JsonPlace::keys_max) place_.keys[place_.depth - 1].clear();
        return true;
    }
    bool close() {
        arrays_.pop_back();
        --place_.depth;
        return true;
    }

    const Visit& visit_;
    JsonPlace place_;
    std::vector<bool> arrays_;  // the open containers, outermost first: is it an array?
    std::size_t name_bytes_ = 0;
};

}  // namespace

bool walk_json(std::string_view json, const Visit& visit) {
    Walk walk(visit);
    return Json::sax_parse(json.begin(), json.end(), &walk);
}

std::optional<std::size_t> find_object_member(std::string_view json, std::string_view name) {
    std::size_t depth = 0;
    std::string_view key;  // the last string at depth 1
    bool at_value = false;
    for (std::size_t i = 0; i < json.size(); ++i) {
        const char c = json[i];
        if (c == '"') {
            const std::size_t begin = ++i;
            while (json[i] != '"') i += json[i] == '\\' ? 2 : 1;
            if (depth == 1 && !at_value) key = json.substr(begin, i - begin);
        } else if (c == ':' && depth == 1) {
            at_value = true;
        } else if (c == ',' && depth == 1) {
            at_value = false;
        } else if (c == '{' || c == '[') {
            if (depth == 1 && c == '{' && key == name) return i;
            ++depth;
        } else if (c == '}' || c == ']') {
            if (--depth == 0) break;  // what follows is not of this object
        }
    }
    return std::nullopt;
}

}  // namespace pns
