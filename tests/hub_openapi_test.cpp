// The description of the REST surface against the route table.

#include "hub/api/openapi.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/hub_world.hpp"

namespace {

const nlohmann::json& document() {
    static const auto parsed = nlohmann::json::parse(hub::openapi_json(hub::routes()));
    return parsed;
}

std::string method_of(std::string_view method) {
    std::string lower(method);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return lower;
}

}  // namespace

TEST_CASE("every route is described, and nothing else is", "[hub]") {
    for (const auto& route : hub::routes()) {
        INFO(route.method << " " << route.pattern << ": add it to hub/api/openapi_text.cpp");
        const auto* text = hub::text_of(route);
        CHECK(text != nullptr);
        if (text != nullptr) CHECK_FALSE(text->summary.empty());
    }
    std::set<std::pair<std::string_view, std::string_view>> seen;
    for (const auto& text : hub::route_texts()) {
        INFO(text.method << " " << text.pattern << " is described and not in the route table");
        const auto all = hub::routes();
        CHECK(std::any_of(all.begin(), all.end(), [&](const hub::Route& route) {
            return route.method == text.method && route.pattern == text.pattern;
        }));
        CHECK(seen.emplace(text.method, text.pattern).second);
    }
}

TEST_CASE("the document holds each route once, with its parameters and right", "[hub]") {
    CHECK(document()["openapi"] == "3.1.0");
    std::size_t operations = 0;
    std::set<std::string> ids;
    for (const auto& path : document()["paths"].items()) {
        INFO(path.key());
        CHECK(path.key().starts_with('/'));
        for (const auto& operation : path.value().items()) {
            ++operations;
            CHECK(ids.insert(operation.value()["operationId"]).second);
            const auto braces = std::count(path.key().begin(), path.key().end(), '{');
            std::ptrdiff_t in_path = 0;
            for (const auto& parameter : operation.value().value("parameters", nlohmann::json())) {
                if (parameter["in"] != "path") continue;
                ++in_path;
                CHECK(path.key().find("{" + parameter["name"].get<std::string>() + "}") !=
                      std::string::npos);
            }
            CHECK(in_path == braces);
        }
    }
    CHECK(operations == hub::routes().size());
    for (const auto& route : hub::routes()) {
        if (!route.creates) continue;
        INFO(route.pattern);
        CHECK(route.method == "POST");
        const auto& operation =
            document()["paths"][std::string(route.pattern)][method_of(route.method)];
        CHECK(operation.dump().find("Idempotency-Key") != std::string::npos);
        CHECK(operation["responses"].contains("422"));
    }
    for (const auto& route : hub::routes()) {
        if (!route.answers_problems) {
            CHECK(route.parameters.empty());  // only these routes hold to them
            continue;
        }
        INFO(route.method << " " << route.pattern);
        std::string described;
        for (const auto& parameter : hub::text_of(route)->parameters) {
            if (parameter.header) continue;
            described.append(described.empty() ? "" : " ").append(parameter.name);
        }
        CHECK(described == route.parameters);
    }
    CHECK(document()["paths"]["/healthz"]["get"]["security"].empty());
    CHECK(document()["paths"]["/{hub}/audience"]["post"]["responses"]["400"]["content"].contains(
        "application/problem+json"));
    CHECK(document()["paths"]["/{hub}/messages"]["post"]["responses"]["400"]["content"].contains(
        "application/xml"));
}

TEST_CASE("the description is served to everybody", "[hub]") {
    support::HubWorld world;
    const auto answer = world.client().request("GET", "/openapi.json");
    CHECK(answer.status == 200);
    CHECK(answer.header("content-type") == "application/json");
    CHECK(nlohmann::json::parse(answer.body) == document());
}
