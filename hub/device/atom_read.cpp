// Tested by tests/hub_atom_test.cpp.
//
// The description element is found in either body form, then its children are taken by name in any
// order: handle, tags, variables, template and header lists. The parser of each platform's handle
// and the checks of tags and templates decide; this file only knows where things stand in the XML.
// Pure, any thread; the tree was bounded by hub/text/xml.cpp.
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "hub/device/atom.hpp"
#include "hub/device/tags.hpp"
#include "hub/template/templates.hpp"
#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"
#include "hub/text/xml.hpp"
#include "pns/platform.hpp"

namespace hub {
namespace {

struct Kind {
    std::string platform;
    bool templated = false;
};

/// "AppleTemplateRegistrationDescription" -> {apns, true}. `Fcm` is what some clients call Gcm.
std::optional<Kind> kind_of(std::string_view element) {
    constexpr std::string_view suffix = "RegistrationDescription";
    if (!element.ends_with(suffix)) return std::nullopt;
    element.remove_suffix(suffix.size());
    Kind kind;
    kind.templated = element.ends_with("Template");
    if (kind.templated) element.remove_suffix(std::string_view("Template").size());
    if (element == "Fcm") element = "Gcm";
    for (const pns::Platform& platform : pns::platforms()) {
        if (platform.kind != element) continue;
        kind.platform = platform.name;
        return kind;
    }
    return std::nullopt;
}

/// The description element and what it describes, in either form.
struct Description {
    pugi::xml_node node;
    Kind kind;
};

Parsed<Description> find_description(const pugi::xml_document& document) {
    const auto described = described_element(document);
    if (!ok(described)) return std::get<Refusal>(described);
    const auto node = std::get<pugi::xml_node>(described);
    const std::string element = shown(local_name(node));
    std::string_view name = local_name(node);
    if (name == "RegistrationDescription") {
        name = {};
        for (const pugi::xml_attribute& attribute : node.attributes()) {
            if (local_name(attribute) == "type") name = attribute.value();
        }
        if (const std::size_t colon = name.find(':'); colon != std::string_view::npos)
            name.remove_prefix(colon + 1);
        if (name.empty())
            return invalid_description("The element <" + element + "> needs the attribute i:type.");
    }
    auto kind = kind_of(name);
    if (!kind)
        return invalid_description("There is no kind of registration named '" + shown(name) +
                                   "'; AppleRegistrationDescription is one.");
    if (auto refusal = check_no_child_twice(node)) return std::move(*refusal);
    return Description{node, std::move(*kind)};
}

class Reader {
  public:
    Reader(const Description& description, const NormaliseHandle& normalise)
        : node_(description.node), kind_(description.kind), normalise_(normalise) {
        out_.platform = kind_.platform;
    }

    Parsed<registry::Registration> run() {
        auto refusal = handle();
        if (!refusal) refusal = tags();
        if (!refusal) refusal = variables();
        if (!refusal && kind_.templated) refusal = body_template();
        if (refusal) return std::move(*refusal);
        return std::move(out_);
    }

  private:
    using Problem = std::optional<Refusal>;

    std::string text(std::string_view name) const {
        return child_text(node_, name).value_or(std::string());
    }

    /// Trimmed: handles never have blanks around them, indented XML does.
    Problem required(std::string_view name, std::string& value) const {
        value = trimmed(text(name));
        if (!value.empty()) return std::nullopt;
        return bad_request("The element " + std::string(name) + " is missing or empty.");
    }

    Problem handle() {
        std::string raw;
        if (kind_.platform == "browser") {
            nlohmann::ordered_json channel;
            for (const auto& [element, member] :
                 {std::pair{"Endpoint", "endpoint"}, {"P256DH", "p256dh"}, {"Auth", "auth"}}) {
                std::string value;
                if (auto refusal = required(element, value)) return refusal;
                channel[member] = value;
            }
            raw = channel.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        } else if (kind_.platform == "baidu") {
            std::string user;
            std::string channel;
            if (auto refusal = required("BaiduUserId", user)) return refusal;
            if (auto refusal = required("BaiduChannelId", channel)) return refusal;
            raw = user + "-" + channel;
        } else {
            if (auto refusal = required(handle_element(), raw)) return refusal;
        }
        auto checked = normalise_(kind_.platform, raw);
        if (auto* refusal = std::get_if<Refusal>(&checked)) return std::move(*refusal);
        out_.handle = std::get<std::string>(std::move(checked));
        if (kind_.platform == "wns" || kind_.platform == "mpns")
            out_.secondary_tile = text("SecondaryTileName");
        return std::nullopt;
    }

    std::string handle_element() const {
        if (kind_.platform == "apns") return "DeviceToken";
        if (kind_.platform == "wns" || kind_.platform == "mpns") return "ChannelUri";
        // An Fcm description names its handle after itself or, as all others, after Gcm.
        if (kind_.platform == "gcm" && child_element(node_, "FcmRegistrationId"))
            return "FcmRegistrationId";
        return std::string(pns::platform_by_name(kind_.platform)->kind) + "RegistrationId";
    }

    Problem tags() {
        auto parsed = parse_tag_list(text("Tags"));
        if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
        out_.tags = std::get<std::vector<std::string>>(std::move(parsed));
        return std::nullopt;
    }

    Problem variables() {
        const std::string json = text("PushVariables");
        if (trimmed(json).empty()) return std::nullopt;
        auto object = read_json(json, "PushVariables");
        if (auto* refusal = std::get_if<Refusal>(&object)) return std::move(*refusal);
        auto members = string_members(std::get<nlohmann::json>(object), "PushVariables");
        if (auto* refusal = std::get_if<Refusal>(&members)) return std::move(*refusal);
        out_.push_variables = std::get<std::map<std::string, std::string>>(std::move(members));
        return std::nullopt;
    }

    Problem body_template() {
        registry::Template source;
        source.name = text("TemplateName");
        source.body = text("BodyTemplate");
        if (kind_.platform == "apns") {
            source.expiry = trimmed(text("Expiry"));
            source.priority = trimmed(text("Priority"));
        }
        for (const char* list : {"ApnsHeaders", "WnsHeaders", "MpnsHeaders"}) {
            for (const pugi::xml_node& header : child_element(node_, list).children()) {
                if (header.type() != pugi::node_element) continue;
                source.headers.emplace_back(child_text(header, "Header").value_or(std::string()),
                                            child_text(header, "Value").value_or(std::string()));
            }
        }
        if (kind_.platform == "baidu") {
            const std::string type(trimmed(text("MessageType")));
            if (!type.empty()) source.headers.emplace_back(baidu_message_type, type);
        }
        const auto compiled = compile_template(kind_.platform, source);
        if (const auto* refusal = std::get_if<Refusal>(&compiled)) return *refusal;
        out_.body = std::move(source);
        return std::nullopt;
    }

    pugi::xml_node node_;
    const Kind& kind_;
    const NormaliseHandle& normalise_;
    registry::Registration out_;
};

}  // namespace

Parsed<registry::Registration> parse_registration(std::string_view body,
                                                  const NormaliseHandle& normalise) {
    pugi::xml_document document;
    if (auto refusal = read_xml(body, document)) return std::move(*refusal);
    const auto description = find_description(document);
    if (const auto* refusal = std::get_if<Refusal>(&description)) return *refusal;
    return Reader(std::get<Description>(description), normalise).run();
}

Parsed<registry::Registration> parse_bulk_registration(std::string_view body,
                                                       const NormaliseHandle& normalise) {
    pugi::xml_document document;
    if (auto refusal = read_xml(body, document)) return std::move(*refusal);
    const auto description = find_description(document);
    if (const auto* refusal = std::get_if<Refusal>(&description)) return *refusal;
    auto parsed = Reader(std::get<Description>(description), normalise).run();
    if (auto* registration = std::get_if<registry::Registration>(&parsed)) {
        const auto& node = std::get<Description>(description).node;
        registration->id = trimmed(child_text(node, "RegistrationId").value_or(std::string()));
    }
    return parsed;
}

Parsed<std::string> parse_registration_id(std::string_view body) {
    pugi::xml_document document;
    if (auto refusal = read_xml(body, document)) return std::move(*refusal);
    const auto described = described_element(document);
    if (!ok(described)) return std::get<Refusal>(described);
    const auto node = std::get<pugi::xml_node>(described);
    if (!local_name(node).ends_with("RegistrationDescription"))
        return invalid_description("The element <" + shown(local_name(node)) +
                                   "> is no RegistrationDescription.");
    if (auto refusal = check_no_child_twice(node)) return std::move(*refusal);
    return std::string(trimmed(child_text(node, "RegistrationId").value_or(std::string())));
}

}  // namespace hub
