// Listing and searching installations and registrations. Tested by tests/hub_devices_test.cpp.

#include <nlohmann/json.hpp>

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/problem.hpp"
#include "hub/send/device_query.hpp"
#include "hub/text/times.hpp"

namespace hub {

namespace {

using Json = nlohmann::ordered_json;

void put_time(Json& row, const char* name, std::int64_t time_ms) {
    if (time_ms > 0 && time_ms != registry::never_ms) row[name] = iso_ms(time_ms);
}

Json installation_row(const registry::Installation& device, std::size_t parts) {
    Json row;
    row["type"] = "installation";
    row["id"] = device.id;
    if (!device.user_id.empty()) row["userId"] = device.user_id;
    row["platform"] = device.platform;
    row["handle"] = device.push_channel;
    row["state"] = device.push_channel_expired ? "expired" : "active";
    row["tags"] = device.tags;
    Json templates = Json::array();
    for (const auto& [name, value] : device.templates) templates.push_back(name);
    row["templates"] = std::move(templates);
    if (!device.secondary_tiles.empty()) {
        Json tiles = Json::array();
        for (const auto& [name, tile] : device.secondary_tiles) {
            tiles.push_back(
                {{"id", name}, {"state", tile.push_channel_expired ? "expired" : "active"}});
        }
        row["secondaryTiles"] = std::move(tiles);
    }
    row["registrations"] = parts;
    put_time(row, "registeredAt", device.registered_at_ms);
    put_time(row, "updatedAt", device.updated_at_ms);
    put_time(row, "expiresAt", device.expires_at_ms);
    return row;
}

Json registration_row(const registry::Registration& device) {
    Json row;
    row["type"] = "registration";
    row["id"] = device.id;
    row["platform"] = device.platform;
    row["handle"] = device.handle;
    row["state"] = device.channel_expired ? "expired" : "active";
    row["tags"] = device.tags;
    Json templates = Json::array();
    if (device.body) templates.push_back(device.body->name);
    row["templates"] = std::move(templates);
    row["registrations"] = 1;
    put_time(row, "registeredAt", device.registered_at_ms);
    put_time(row, "expiresAt", device.expires_at_ms);
    return row;
}

}  // namespace

pns::Task<Response> list_devices(Call call) {
    const Request& request = call.request;
    const auto query = read_device_query(request, call.parts.config, call.hub->row.number);
    if (!ok(query)) co_return problem(request, std::get<Refusal>(query));
    auto read = [&call, &query] {
        return call.parts.registry.devices(call.hub->row.number,
                                           std::get<registry::DeviceQuery>(query));
    };
    const auto page = co_await on_store(call.parts.store, std::move(read));
    if (!page) co_return problem(request, page.error(), "");
    Json rows = Json::array();
    for (const registry::FoundDevice& device : page->devices) {
        rows.push_back(device.installation ? installation_row(*device.installation, device.parts)
                                           : registration_row(*device.registration));
    }
    Json answer;
    answer["devices"] = std::move(rows);
    if (!page->next.empty())
        answer["continuation"] = device_token(request, call.hub->row.number, page->next);
    co_return json_answer(200,
                          answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace hub
