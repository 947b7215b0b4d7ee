// The description of the REST surface against the route table and the bounds of the readers. What
// handlers really answer is held against it by tests/conformance/.

#include "hub/api/openapi.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "hub/bulk/blobs.hpp"
#include "hub/device/installation_json.hpp"
#include "hub/device/installation_patch.hpp"
#include "hub/http/idempotency_key.hpp"
#include "hub/send/audience_request.hpp"
#include "hub/send/device_query.hpp"
#include "hub/send/expected_audience.hpp"
#include "hub/send/send_options.hpp"
#include "hub/send/send_states.hpp"
#include "hub/text/multipart.hpp"
#include "pns/platform.hpp"
#include "pns/verdict.hpp"
#include "tests/support/hub_world.hpp"

namespace {

using nlohmann::json;

const json& document() {
    static const auto parsed = json::parse(hub::openapi_json(hub::routes()));
    return parsed;
}

const json& part(const std::string& kind, const std::string& name) {
    return document().at("components").at(kind).at(name);
}

const json& resolved(const json& value) {
    if (!value.contains("$ref")) return value;
    return document().at(json::json_pointer(value.at("$ref").get<std::string>().substr(1)));
}

std::string lower_case(std::string_view text) {
    std::string lower(text);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return lower;
}

const json& operation_of(const hub::Route& route) {
    std::string path(route.pattern);
    if (const auto dots = path.find("...}"); dots != std::string::npos) path.erase(dots, 3);
    return document().at("paths").at(path).at(lower_case(route.method));
}

/// Names of the operation's parameters of one place, in order.
std::vector<std::string> parameters_in(const json& operation, std::string_view place) {
    std::vector<std::string> names;
    for (const json& one : operation.at("parameters")) {
        if (resolved(one).at("in") == place)
            names.push_back(resolved(one).at("name").get<std::string>());
    }
    return names;
}

void collect_references(const json& value, std::set<std::string>& into) {
    if (value.is_object() && value.contains("$ref"))
        into.insert(value.at("$ref").get<std::string>());
    if (!value.is_structured()) return;
    for (const json& inner : value) collect_references(inner, into);
}

}  // namespace

TEST_CASE("every route is described, and nothing else is", "[hub]") {
    std::set<std::string> written;
    for (const auto& piece : hub::openapi_pieces()) {
        INFO(piece.name << ".json");
        const auto parsed = json::parse(piece.text);
        if (piece.name == "common") continue;
        for (const auto& operation : parsed.at("operations").items())
            CHECK(written.insert(operation.key()).second);
    }
    for (const auto& route : hub::routes()) {
        const auto key = std::string(route.method) + " " + std::string(route.pattern);
        INFO(key << ": describe it in hub/api/openapi/");
        CHECK(written.erase(key) == 1);
    }
    for (const auto& key : written) {
        INFO(key << " is described and not in the route table");
        CHECK(false);
    }
}

TEST_CASE("parameters and answers of an operation are those of its route", "[hub]") {
    CHECK(document().at("openapi") == "3.1.0");
    std::size_t operations = 0;
    std::set<std::string> ids;
    for (const auto& path : document().at("paths")) operations += path.size();
    CHECK(operations == hub::routes().size());
    for (const auto& route : hub::routes()) {
        INFO(route.method << " " << route.pattern);
        const json& operation = operation_of(route);
        CHECK(ids.insert(operation.at("operationId")).second);
        CHECK_FALSE(operation.at("summary").get<std::string>().empty());
        const auto in_path = parameters_in(operation, "path");
        CHECK(static_cast<std::ptrdiff_t>(in_path.size()) ==
              std::count(route.pattern.begin(), route.pattern.end(), '{'));
        for (const auto& name : in_path)
            CHECK(route.pattern.find("{" + name) != std::string_view::npos);
        std::string described;
        for (const auto& name : parameters_in(operation, "query")) {
            if (name != "api-version") described.append(described.empty() ? "" : " ").append(name);
        }
        if (route.takes_pieces) described += " comp blockid";  // answered 501: no blocks
        CHECK(described == route.parameters);
        const auto headers = parameters_in(operation, "header");
        const bool repeats =
            std::find(headers.begin(), headers.end(), "Idempotency-Key") != headers.end();
        CHECK(repeats == route.creates);
        const json& answers = operation.at("responses");
        CHECK(answers.contains("422") == route.creates);
        CHECK(answers.contains("401") == (route.right != hub::Right::none));
        CHECK(operation.at("security").empty() == (route.right == hub::Right::none));
        const json& refused = resolved(answers.at("400")).at("content");
        CHECK(refused.contains("application/problem+json") ==
              (route.answers_problems || route.creates));
        CHECK(refused.contains("application/xml"));
        for (const auto& answer : answers)
            CHECK(resolved(answer).at("headers").contains("TrackingId"));
        if (operation.contains("requestBody") && route.body_bound == nullptr) {
            const auto text = operation.at("description").get<std::string>();
            CHECK(text.find(" " + std::to_string(route.body_bytes_max) + " bytes") !=
                  std::string::npos);
        }
    }
}

TEST_CASE("references lead somewhere, and every part is used", "[hub]") {
    std::set<std::string> used;
    collect_references(document(), used);
    for (const auto& reference : used) {
        INFO(reference);
        CHECK(document().contains(json::json_pointer(reference.substr(1))));
    }
    for (const auto& kind : document().at("components").items()) {
        if (kind.key() == "securitySchemes") continue;
        for (const auto& one : kind.value().items()) {
            INFO(kind.key() << "/" << one.key());
            CHECK(used.contains("#/components/" + kind.key() + "/" + one.key()));
        }
    }
}

TEST_CASE("lists of names are those of the code", "[hub]") {
    json platforms = json::array(), formats = json::array(), outcomes = json::array();
    std::set<std::string> either;
    for (const pns::Platform& platform : pns::platforms()) {
        platforms.push_back(platform.name);
        formats.push_back(platform.format);
        either.emplace(platform.name);
        either.emplace(platform.format);
    }
    formats.push_back("template");
    for (std::size_t i = 0; i <= static_cast<std::size_t>(pns::Outcome::unknown); ++i)
        outcomes.push_back(pns::outcome_name(static_cast<pns::Outcome>(i)));
    CHECK(part("schemas", "Platform").at("enum") == platforms);
    CHECK(part("schemas", "Format").at("enum") == formats);
    CHECK(part("schemas", "PlatformOrFormat").at("enum").get<std::set<std::string>>() == either);
    CHECK(part("schemas", "Outcome").at("enum") == outcomes);
    for (const json& state : part("schemas", "SendState").at("enum"))
        CHECK(hub::control_state_by_name(state.get<std::string>()).has_value());
    json asked = part("parameters", "outcome").at("schema").at("enum");
    asked.erase(asked.begin());  // Pending
    CHECK(asked == outcomes);
}

TEST_CASE("bounds are those of the readers", "[hub]") {
    const auto at = [](const std::string& kind, const std::string& name, const char* place) {
        return part(kind, name).at(json::json_pointer(place)).get<std::uint64_t>();
    };
    CHECK(at("schemas", "AudienceQuery", "/properties/sample/maximum") == hub::audience_sample_max);
    CHECK(at("schemas", "AudienceQuery", "/properties/max/maximum") == hub::expected_audience_max);
    CHECK(at("schemas", "DirectBatch", "/properties/devices/maxItems") == hub::batch_handles_max);
    CHECK(at("schemas", "DirectBatch", "/properties/devices/items/maxLength") ==
          hub::batch_handle_bytes_max);
    CHECK(at("schemas", "Installation", "/properties/templates/maxProperties") ==
          hub::installation_templates_max);
    CHECK(at("schemas", "Installation", "/properties/secondaryTiles/maxProperties") ==
          hub::installation_tiles_max);
    CHECK(at("schemas", "Installation", "/properties/pushVariables/maxProperties") ==
          hub::push_variables_max);
    CHECK(at("schemas", "InstallationPatch", "/maxItems") == hub::patch_operations_max);
    CHECK(at("parameters", "top1000", "/schema/maximum") == hub::devices_page_max);
    CHECK(at("parameters", "top1000", "/schema/default") == hub::devices_page_default);
    CHECK(at("parameters", "handlePrefix", "/schema/maxLength") == hub::handle_prefix_bytes_max);
    CHECK(at("parameters", "maxresults", "/schema/default") == hub::blob_list_max);
    CHECK(at("parameters", "blobName", "/schema/maxLength") == hub::blob_name_bytes_max);
    CHECK(at("parameters", "Idempotency-Key", "/schema/maxLength") ==
          hub::idempotency_key_bytes_max + 2);  // with its quotes
}

TEST_CASE("the description is served to everybody", "[hub]") {
    support::HubWorld world;
    for (int i = 0; i < 2; ++i) {
        const auto answer = world.client().request("GET", "/openapi.json");
        CHECK(answer.status == 200);
        CHECK(answer.header("content-type") == "application/json");
        CHECK(json::parse(answer.body) == document());
    }
    const auto head = world.client().request("HEAD", "/openapi.json");
    CHECK(head.status == 200);
    CHECK(head.body.empty());
}
