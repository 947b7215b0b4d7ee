#include "bench/crowd.hpp"

#include <utility>

namespace bench {
namespace {

constexpr std::array<std::string_view, languages_count> greetings{
    "Gold for ",   "Goud voor ",  "Gold f\xc3\xbcr ", "Or pour ",    "Oro per ",
    "Oro para ",   "Ouro para ",  "Guld till ",       "Gull til ",   "Guld til ",
    "Kultaa: ",    "Zloto dla: ", "Zlato pro: ",      "Zlato pre: ", "Zlato za: ",
    "Aur pentru ", "Arany: ",     "Kuld: ",           "Zelts: ",     "Auksas: "};

}  // namespace

std::uint32_t tag_value(std::uint32_t device, std::size_t kind) {
    return static_cast<std::uint32_t>(mixed((std::uint64_t{device} << 8) + kind) %
                                      tag_kinds[kind].values);
}

std::string tag_text(std::size_t kind, std::uint32_t value) {
    return std::string(tag_kinds[kind].name) + ":" + std::to_string(value);
}

std::string user_of(std::uint32_t device) {
    return "user-" + std::to_string(device);
}

Crowd::Crowd(const Target& target, std::string host, bool with_templates)
    : target_(target), host_(std::move(host)) {
    if (!with_templates) return;
    for (const std::string_view greeting : greetings) {
        registry::Template made;
        made.name = "gold";
        made.body = target_.template_body;
        made.body.replace(made.body.find('%'), 1,
                          "{'" + std::string(greeting) + "' + $(name) + '!'}");
        if (!target_.template_header.empty())
            made.headers = {{target_.template_header, target_.template_header_value}};
        templates_.push_back(std::move(made));
    }
}

registry::Installation Crowd::device(std::uint32_t number) const {
    registry::Installation out;
    out.id = "device-" + std::to_string(number);
    out.user_id = user_of(number);
    out.platform = target_.platform;
    out.push_channel = target_.handle(number, host_);
    for (std::size_t kind = 0; kind < tag_kinds.size(); ++kind)
        out.tags.push_back(tag_text(kind, tag_value(number, kind)));
    if (!templates_.empty()) {
        const registry::Template& mine = templates_[tag_value(number, 2)];
        out.templates.emplace(mine.name, mine);
    }
    return out;
}

}  // namespace bench
