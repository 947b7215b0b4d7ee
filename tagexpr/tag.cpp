#include "tagexpr/expression.hpp"

// Tested by tests/tagexpr_oracle_test.cpp.

namespace tagexpr {

std::string canonical_tag(std::string_view tag) {
    std::string spelled(tag);
    const auto fold = [&](std::size_t end) {
        for (std::size_t i = 0; i < end; ++i) {
            char& c = spelled[i];
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
        }
    };
    const std::size_t id = tag.starts_with('$') ? tag.find('{') : std::string_view::npos;
    fold(id == std::string_view::npos ? tag.size() : id);
    return spelled;
}

}  // namespace tagexpr
