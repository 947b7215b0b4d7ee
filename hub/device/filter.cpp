// Tested by tests/hub_filter_test.cpp.
//
// A small parser reads `<field> eq '<value>'`, joined by `and`. A field leads to a platform, or to
// all of them for a channel URI; the three terms of a browser or the two of Baidu are put together
// to one handle. Whether rows match is the registry's business. The text comes from outside, so
// every step is bounded by its length.
#include "hub/device/filter.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "hub/text/text.hpp"
#include "pns/platform.hpp"
#include "tagexpr/utf8.hpp"

namespace hub {
namespace {

constexpr std::size_t terms_max = 3;

struct Field {
    std::string_view name;  ///< lower case
    std::string_view platform;
};

constexpr std::array<Field, 8> fields{{
    {"channeluri", ""},
    {"devicetoken", "apns"},
    {"baiduuserid-baiduchannelid", "baidu"},
    {"baiduuserid", "baidu"},
    {"baiduchannelid", "baidu"},
    {"endpoint", "browser"},
    {"p256dh", "browser"},
    {"auth", "browser"},
}};

Refusal bad_filter(std::size_t offset) {
    return bad_request("The $filter is invalid at column " + std::to_string(offset + 1) +
                       ": <field> eq '<value>' is expected, with fields joined by 'and'.");
}

/// What a field names, empty for a channel URI; nothing for an unknown one. Handles without a name
/// of their own are the <Kind>RegistrationId of their platform.
std::optional<std::string_view> platform_of_field(std::string_view name) {
    for (const Field& field : fields)
        if (field.name == name) return field.platform;
    constexpr std::string_view suffix = "registrationid";
    if (!name.ends_with(suffix)) return std::nullopt;
    const auto kind = name.substr(0, name.size() - suffix.size());
    for (const pns::Platform& platform : pns::platforms()) {
        const bool has_own = std::any_of(fields.begin(), fields.end(), [&](const Field& field) {
            return field.platform == platform.name;
        });
        const bool by_uri = platform.name == "wns" || platform.name == "mpns";
        if (!has_own && !by_uri && same_ignoring_case(platform.kind, kind)) return platform.name;
    }
    return std::nullopt;
}

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    std::optional<Refusal> run(std::map<std::string, std::string>& terms) {
        for (;;) {
            const std::string name = lower(word());
            const bool known = platform_of_field(name).has_value();
            if (!name.empty() && !known && tagexpr::utf8_length(name) > 0 && tagexpr::is_utf8(name))
                return bad_request("The $filter field '" + shown(name) + "' is not supported.");
            if (!known || !same_ignoring_case(word(), "eq")) return bad_filter(at_);
            std::string read;
            if (!value(read)) return bad_filter(at_);
            const auto same = terms.find(name);
            if (same == terms.end()) {
                if (terms.size() == terms_max) return bad_filter(at_);
                terms.emplace(name, std::move(read));
            } else if (same->second != read) {
                return bad_request("The $filter asks for two values of the field '" + name + "'.");
            }
            skip_blanks();
            if (at_ == text_.size()) return std::nullopt;
            if (!same_ignoring_case(word(), "and")) return bad_filter(at_);
        }
    }

  private:
    void skip_blanks() {
        while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    }

    std::string_view word() {
        skip_blanks();
        const std::size_t end = std::min(text_.find(' ', at_), text_.size());
        const std::string_view found = text_.substr(at_, end - at_);
        at_ = end;
        return found;
    }

    /// In quotes, '' for one; or without the opening quote, which one client forgets.
    bool value(std::string& out) {
        skip_blanks();
        const bool opened = at_ < text_.size() && text_[at_] == '\'';
        if (opened) ++at_;
        for (; at_ < text_.size(); ++at_) {
            if (text_[at_] == '\'') {
                const bool doubled = at_ + 1 < text_.size() && text_[at_ + 1] == '\'';
                if (!opened || !doubled) {
                    ++at_;
                    return !out.empty();
                }
                ++at_;
            } else if (!opened && text_[at_] == ' ') {
                return !out.empty();
            }
            out += text_[at_];
        }
        return !opened && !out.empty();
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

std::string upper(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
    });
    return text;
}

std::string browser_handle(const std::map<std::string, std::string>& terms, bool decoded) {
    nlohmann::ordered_json channel;
    for (const char* name : {"endpoint", "p256dh", "auth"}) {
        const std::string& value = terms.at(name);
        channel[name] = decoded ? percent_decoded(value) : value;
    }
    return channel.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Parsed<HandleQuery> parse_filter(std::string_view text) {
    if (text.size() > filter_bytes_max)
        return bad_request("The $filter is longer than " + std::to_string(filter_bytes_max) +
                           " bytes.");
    std::map<std::string, std::string> terms;
    if (auto refusal = Parser(text).run(terms)) return std::move(*refusal);

    const auto has = [&](const char* name) { return terms.count(name) > 0; };
    std::string first;
    std::string second;
    HandleQuery query;
    if (terms.size() == 3 && has("endpoint") && has("p256dh") && has("auth")) {
        query.platform = "browser";
        first = browser_handle(terms, false);
        second = browser_handle(terms, true);
    } else if (terms.size() == 2 && has("baiduuserid") && has("baiduchannelid")) {
        query.platform = "baidu";
        first = terms.at("baiduuserid") + "-" + terms.at("baiduchannelid");
        second = percent_decoded(first);
    } else if (terms.size() == 1) {
        const std::string& name = terms.begin()->first;
        const std::string& value = terms.begin()->second;
        query.platform = *platform_of_field(name);
        if (query.platform == "browser" || name == "baiduuserid" || name == "baiduchannelid")
            return bad_request("The $filter names only a part of a handle.");
        first = query.platform == "apns" ? upper(value) : value;
        second = percent_decoded(first);
    } else {
        return bad_request("The $filter joins fields that do not form one handle.");
    }
    query.handles.push_back(first);
    if (second != first) query.handles.push_back(second);
    return query;
}

}  // namespace hub
