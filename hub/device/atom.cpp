// Tested by tests/hub_atom_test.cpp.
//
// Entries and feeds are written as text, front to back, in the order that the .NET SDK demands. No
// tree is built, as a page may hold a thousand entries. Everything that comes from a client is
// escaped or in CDATA. Reading is in atom_read.cpp.
#include "hub/device/atom.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "hub/device/tags.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"
#include "pns/platform.hpp"
#include "tagexpr/utf8.hpp"

namespace hub {
namespace {

constexpr std::string_view atom_namespace = "http://www.w3.org/2005/Atom";
constexpr std::string_view connect_namespace =
    "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";
constexpr std::string_view instance_namespace = "http://www.w3.org/2001/XMLSchema-instance";
constexpr std::string_view metadata_namespace =
    "http://schemas.microsoft.com/ado/2007/08/dataservices/metadata";

std::string query_part(std::string_view query) {
    return query.empty() ? std::string() : "?" + std::string(query);
}

void append_handle(std::string& out, const registry::Registration& registration) {
    const std::string& handle = registration.handle;
    if (registration.platform == "apns") {
        append_element(out, "DeviceToken", handle);
    } else if (registration.platform == "wns" || registration.platform == "mpns") {
        append_element(out, "ChannelUri", handle);
        if (!registration.secondary_tile.empty())
            append_element(out, "SecondaryTileName", registration.secondary_tile);
    } else if (registration.platform == "baidu") {
        const std::size_t dash = std::min(handle.find('-'), handle.size());
        append_element(out, "BaiduUserId", handle.substr(0, dash));
        append_element(out, "BaiduChannelId", handle.substr(std::min(dash + 1, handle.size())));
    } else if (registration.platform == "browser") {
        const auto channel = nlohmann::json::parse(handle, nullptr, false);
        for (const auto& [element, member] :
             {std::pair{"Endpoint", "endpoint"}, {"P256DH", "p256dh"}, {"Auth", "auth"}}) {
            const bool known =
                channel.is_object() && channel.contains(member) && channel.at(member).is_string();
            append_element(out, element, known ? channel.at(member).get<std::string>() : "");
        }
    } else {
        const pns::Platform* platform = pns::platform_by_name(registration.platform);
        const std::string kind(platform != nullptr ? platform->kind : "");
        append_element(out, kind + "RegistrationId", handle);
    }
}

void append_headers(std::string& out, std::string_view prefix, const registry::Headers& headers) {
    const std::string list = std::string(prefix) + "Headers";
    if (headers.empty()) {
        out += "<" + list + "/>";
        return;
    }
    out += "<" + list + ">";
    for (const auto& [name, value] : headers) {
        out.append("<").append(prefix).append("Header>");
        append_element(out, "Header", name);
        append_element(out, "Value", value);
        out.append("</").append(prefix).append("Header>");
    }
    out += "</" + list + ">";
}

void append_template(std::string& out, std::string_view platform,
                     const registry::Template& source) {
    out += "<BodyTemplate>";
    append_cdata(out, source.body);
    out += "</BodyTemplate>";
    if (platform == "apns" && !source.expiry.empty()) append_element(out, "Expiry", source.expiry);
    // .NET reads Windows and MPNS templates only with a header list.
    if (platform == "wns") append_headers(out, "Wns", source.headers);
    if (platform == "mpns") append_headers(out, "Mpns", source.headers);
    if (!source.name.empty()) append_element(out, "TemplateName", source.name);
    if (platform == "apns") {
        if (!source.priority.empty()) append_element(out, "Priority", source.priority);
        if (!source.headers.empty()) append_headers(out, "Apns", source.headers);
    }
    if (platform == "baidu" && !source.headers.empty())
        append_element(out, "MessageType", source.headers.front().second);
}

std::string json_object(const std::map<std::string, std::string>& members) {
    std::string out = "{";
    for (const auto& [name, value] : members) {
        out += out.size() > 1 ? ",\"" : "\"";
        append_json_escaped(out, name);
        out += "\":\"";
        append_json_escaped(out, value);
        out += '"';
    }
    return out + "}";
}

void append_link(std::string& out, std::string_view rel, std::string_view url) {
    out.append("<link rel=\"").append(rel).append("\" href=\"");
    append_xml(out, url);
    out += "\"/>";
}

void append_title(std::string& out, std::string_view title) {
    out += "<title type=\"text\">";
    append_xml(out, title);
    out += "</title>";
}

std::string feed_head(std::string_view title, std::string_view url, std::int64_t now_ms) {
    std::string out = "<feed xmlns=\"" + std::string(atom_namespace) + "\">";
    append_title(out, title);
    append_element(out, "id", url);
    append_element(out, "updated", iso_seconds(now_ms));
    append_link(out, "self", url);
    return out;
}

std::string kind_element(const registry::Registration& registration) {
    const pns::Platform* platform = pns::platform_by_name(registration.platform);
    return std::string(platform != nullptr ? platform->kind : "") +
           (registration.body ? "Template" : "") + "RegistrationDescription";
}

/// `type`: its i:type, empty for none.
std::string description_in(const std::string& element, const std::string& type,
                           const registry::Registration& registration) {
    std::string out = "<" + element;
    if (!type.empty()) out += " i:type=\"" + type + "\"";
    out += " xmlns=\"" + std::string(connect_namespace) + "\" xmlns:i=\"" +
           std::string(instance_namespace) + "\">";
    append_element(out, "ETag", std::to_string(registration.etag));
    append_element(out, "ExpirationTime",
                   registration.installation_id.empty() ? iso_ms(registration.expires_at_ms)
                                                        : iso_ticks(registration.expires_at_ms));
    append_element(out, "RegistrationId", registration.id);
    if (!registration.tags.empty()) append_element(out, "Tags", join_tags(registration.tags));
    if (!registration.push_variables.empty())
        append_element(out, "PushVariables", json_object(registration.push_variables));
    append_handle(out, registration);
    if (registration.body) append_template(out, registration.platform, *registration.body);
    return out + "</" + element + ">";
}

}  // namespace

void append_cdata(std::string& out, std::string_view text) {
    out += "<![CDATA[";
    while (!text.empty()) {
        const std::size_t length = tagexpr::utf8_length(text);
        if (text.starts_with("]]>")) {
            out += "]]]]><![CDATA[>";
            text.remove_prefix(3);
            continue;
        }
        const auto byte = static_cast<unsigned char>(text.front());
        const bool legal =
            length > 0 && (byte >= 0x20 || byte == '\t' || byte == '\n' || byte == '\r');
        if (legal)
            out += text.substr(0, length);
        else
            out += "\xEF\xBF\xBD";
        text.remove_prefix(length > 0 ? length : 1);
    }
    out += "]]>";
}

std::string registration_url(const AtomPlace& place, std::string_view id) {
    return place.hub_url + "/registrations/" + std::string(id) + query_part(place.query);
}

std::string registration_description(const registry::Registration& registration) {
    return description_in(kind_element(registration), {}, registration);
}

std::string typed_description(const registry::Registration& registration) {
    return description_in("RegistrationDescription", kind_element(registration), registration);
}

std::string registration_entry(const registry::Registration& registration, const AtomPlace& place) {
    const std::string url = registration_url(place, registration.id);
    std::string out = "<entry a:etag=\"W/&quot;" + std::to_string(registration.etag) +
                      "&quot;\" xmlns=\"" + std::string(atom_namespace) + "\" xmlns:a=\"" +
                      std::string(metadata_namespace) + "\">";
    append_element(out, "id", url);
    append_title(out, registration.id);
    append_element(out, "published", iso_seconds(place.now_ms));
    append_element(out, "updated", iso_seconds(place.now_ms));
    append_link(out, "self", url);
    return out + "<content type=\"application/xml\">" + registration_description(registration) +
           "</content></entry>";
}

std::string registration_feed(std::span<const registry::Registration> registrations,
                              const AtomPlace& place, std::string_view path,
                              std::string_view next_query) {
    const std::string base = place.hub_url + std::string(path);
    std::string out = feed_head("Registrations", base + query_part(place.query), place.now_ms);
    if (!next_query.empty()) append_link(out, "next", base + query_part(next_query));
    for (const registry::Registration& registration : registrations)
        out += registration_entry(registration, place);
    return out + "</feed>";
}

std::string hub_entry(const HubEntry& entry, std::string_view root_url, std::string_view query) {
    const std::string url = std::string(root_url) + "/" + entry.name + query_part(query);
    std::string out = "<entry xmlns=\"" + std::string(atom_namespace) + "\">";
    append_element(out, "id", url);
    append_title(out, entry.name);
    append_element(out, "published", iso_seconds(entry.published_at_ms));
    append_element(out, "updated", iso_seconds(entry.updated_at_ms));
    const std::size_t scheme = root_url.find("://");
    const std::string_view host =
        scheme == std::string_view::npos ? root_url : root_url.substr(scheme + 3);
    out += "<author>";
    append_element(out, "name", host.substr(0, host.find_first_of(".:/")));
    out += "</author>";
    append_link(out, "self", url);
    return out + "<content type=\"application/xml\">" + entry.description_xml +
           "</content></entry>";
}

std::string hub_feed(std::span<const HubEntry> entries, std::string_view root_url,
                     std::string_view query, std::int64_t now_ms, std::string_view next_query) {
    const std::string base = std::string(root_url) + "/$Resources/NotificationHubs";
    std::string out = feed_head("NotificationHubs", base + query_part(query), now_ms);
    if (!next_query.empty()) append_link(out, "next", base + query_part(next_query));
    for (const HubEntry& entry : entries) out += hub_entry(entry, root_url, query);
    return out + "</feed>";
}

}  // namespace hub
