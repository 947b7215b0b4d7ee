// Tested by tests/hub_plain_json_test.cpp.
//
// Nothing recurses: containers that are open are a list. A pointer into an array lives until the
// next element of the same array comes, and then nobody holds it.

#include "hub/text/plain_json.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace hub {

namespace {

using nlohmann::json;

constexpr std::size_t digits_max = 18;  // fits 64 bits with any digits

bool is_plain(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

class PlainParser {
  public:
    explicit PlainParser(std::string_view text) : rest_(text) {}

    std::optional<json> run() {
        json root;
        place_ = &root;
        do {
            if (!value()) return std::nullopt;
        } while (!open_.empty());
        skip_blanks();
        if (!rest_.empty()) return std::nullopt;
        return root;
    }

  private:
    void skip_blanks() {
        std::size_t blanks = 0;
        for (; blanks < rest_.size(); ++blanks) {
            const char c = rest_[blanks];
            if (c != ' ' && c != '\n' && c != '\r' && c != '\t') break;
        }
        rest_.remove_prefix(blanks);
    }
    bool take(char c) {
        if (rest_.empty() || rest_.front() != c) return false;
        rest_.remove_prefix(1);
        return true;
    }
    bool word(std::string_view text, json value) {
        if (!rest_.starts_with(text)) return false;
        rest_.remove_prefix(text.size());
        *place_ = std::move(value);
        return true;
    }
    bool text(std::string& out) {
        if (!take('"')) return false;
        std::size_t size = 0;
        while (size < rest_.size() && is_plain(rest_[size])) ++size;
        out.assign(rest_.data(), size);
        rest_.remove_prefix(size);
        return take('"');
    }
    bool number() {
        std::size_t size = 0;
        std::uint64_t sum = 0;
        for (; size < rest_.size() && size <= digits_max && is_digit(rest_[size]); ++size)
            sum = 10 * sum + static_cast<std::uint64_t>(rest_[size] - '0');
        const bool whole = size == 1 || (size > 1 && size <= digits_max && rest_.front() != '0');
        if (!whole) return false;
        rest_.remove_prefix(size);
        *place_ = sum;
        // A fraction or an exponent would follow: nothing that may stand behind a value.
        return true;
    }
    /// The name of a member: its value goes there.
    bool member() {
        std::string name;
        skip_blanks();
        if (!text(name)) return false;
        skip_blanks();
        if (!take(':')) return false;
        place_ = &(*open_.back()->get_ptr<json::object_t*>())[std::move(name)];
        return true;
    }
    bool element() {
        place_ = &open_.back()->get_ptr<json::array_t*>()->emplace_back();
        return true;
    }
    /// One value, or the beginning of one that has others in it; then what ends with it.
    bool value() {
        skip_blanks();
        if (rest_.empty()) return false;
        const char c = rest_.front();
        if (c == '{' || c == '[') return begin(c == '{');
        bool good = false;
        if (c == '"') {
            std::string string;
            good = text(string);
            *place_ = std::move(string);
        } else if (is_digit(c)) {
            good = number();
        } else {
            good = word("true", true) || word("false", false) || word("null", nullptr);
        }
        return good && go_on();
    }
    bool begin(bool object) {
        rest_.remove_prefix(1);
        *place_ = object ? json::object() : json::array();
        open_.push_back(place_);
        skip_blanks();
        if (take(object ? '}' : ']')) {
            open_.pop_back();
            return go_on();
        }
        return object ? member() : element();
    }
    /// After a value: the place of the next one, or the ends of containers up to the root.
    bool go_on() {
        while (!open_.empty()) {
            const bool object = open_.back()->is_object();
            skip_blanks();
            if (take(',')) return object ? member() : element();
            if (!take(object ? '}' : ']')) return false;
            open_.pop_back();
        }
        return true;
    }

    std::string_view rest_;
    json* place_ = nullptr;  ///< of the value that comes next
    std::vector<json*> open_;
};

}  // namespace

std::optional<json> parse_plain_json(std::string_view text) {
    return PlainParser(text).run();
}

}  // namespace hub
