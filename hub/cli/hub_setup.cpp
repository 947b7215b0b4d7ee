#include "hub/cli/hub_setup.hpp"

#include <pugixml.hpp>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "hub/cli/terminal.hpp"

namespace hub {
namespace {

constexpr const char* connect_namespace =
    "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";

std::string description(const std::vector<pns::Credential>& credentials) {
    pugi::xml_document document;
    pugi::xml_node entry = document.append_child("entry");
    entry.append_attribute("xmlns") = "http://www.w3.org/2005/Atom";
    pugi::xml_node content = entry.append_child("content");
    content.append_attribute("type") = "application/xml";
    pugi::xml_node hub = content.append_child("NotificationHubDescription");
    hub.append_attribute("xmlns") = connect_namespace;
    for (const pns::Credential& credential : credentials) {
        const std::string element(pns::platform_by_name(credential.platform)->credential);
        pugi::xml_node list = hub.append_child(element.c_str()).append_child("Properties");
        for (const auto& [name, value] : credential.properties) {
            pugi::xml_node property = list.append_child("Property");
            property.append_child("Name").text().set(name.c_str());
            property.append_child("Value").text().set(value.c_str());
        }
    }
    std::ostringstream out;
    document.save(out, "", pugi::format_raw | pugi::format_no_declaration);
    return out.str();
}

}  // namespace

void create_hub(HubClient& client, const std::string& name,
                const std::vector<pns::Credential>& credentials) {
    ClientRequest request;
    request.method = "PUT";
    request.path = "/" + name + "?api-version=2020-06";
    request.headers = {{"content-type", "application/atom+xml;type=entry;charset=utf-8"}};
    request.body = description(credentials);
    ClientReply reply = client.call(request);
    if (reply.status == 409) {
        request.headers.emplace_back("if-match", "*");
        reply = client.call(request);
    }
    if (reply.status != 200 && reply.status != 201)
        throw std::runtime_error("creating hub " + name + " was answered " +
                                 std::to_string(reply.status) + ": " + reply.body);
}

void register_devices(HubClient& client, const std::string& name, const WinterGames& games) {
    ProgressBar bar("registering", games.size());
    std::uint32_t asked = 0;
    std::uint64_t answered = 0;
    std::string refusal;
    client.call_many(
        [&](ClientRequest& request) {
            if (asked == games.size() || !refusal.empty()) return false;
            const GamesDevice device = games.device(asked++);
            request.method = "PUT";
            request.path =
                "/" + name + "/installations/" + device.installation_id + "?api-version=2020-06";
            request.headers = {{"content-type", "application/json"}};
            request.body = games.installation_json(device);
            return true;
        },
        [&](const ClientRequest& request, const ClientReply& reply) {
            if (reply.status != 200 && refusal.empty())
                refusal = request.path + " was answered " + std::to_string(reply.status) + ": " +
                          reply.body;
            bar.set(++answered);
        });
    bar.finish();
    if (!refusal.empty()) throw std::runtime_error(refusal);
}

}  // namespace hub
