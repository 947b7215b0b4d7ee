// Tested by tests/hub_openapi_test.cpp.
//
// The document is built once, at its first request, from the route table and the texts. A route
// without a text, or a text without a route, fails a test, so the description cannot fall behind
// the table.

#include "hub/api/openapi.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "hub/api/handlers.hpp"
#include "hub/http/problem.hpp"
#include "hub/text/text.hpp"

namespace hub {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view wire_error_type = "application/xml";

std::string_view right_text(Right right) {
    switch (right) {
        case Right::none:
            return "No credentials.";
        case Right::listen:
            return "Needs the right Listen.";
        case Right::send:
            return "Needs the right Send.";
        case Right::manage:
            return "Needs the right Manage.";
        case Right::send_or_manage:
            return "Needs the right Send or Manage.";
        case Right::listen_if_filtered:
            return "Needs the right Manage, or Listen with a $filter that names one handle.";
        case Right::manage_namespace:
            return "Needs the right Manage by a rule of the namespace.";
    }
    return "";
}

/// `{name...}` has no word in OpenAPI: it becomes a parameter that may hold slashes.
std::string path_of(std::string_view pattern) {
    std::string path(pattern);
    if (const auto dots = path.find("...}"); dots != std::string::npos) path.erase(dots, 3);
    return path;
}

void add_path_parameters(Json& parameters, std::string_view pattern) {
    for (auto open = pattern.find('{'); open != std::string_view::npos;
         open = pattern.find('{', open + 1)) {
        std::string_view name = pattern.substr(open + 1, pattern.find('}', open) - open - 1);
        const bool rest = name.ends_with("...");
        if (rest) name.remove_suffix(3);
        Json parameter{{"name", name}, {"in", "path"}, {"required", true}};
        parameter["schema"] = {{"type", "string"}};
        if (rest) parameter["description"] = "May hold slashes.";
        parameters.push_back(std::move(parameter));
    }
}

void add_parameter(Json& parameters, const RouteParameter& one) {
    Json parameter{{"name", one.name}, {"in", one.header ? "header" : "query"}};
    parameter["description"] = one.text;
    parameter["schema"] = {{"type", "string"}};
    parameters.push_back(std::move(parameter));
}

Json answer_of(std::string_view description, std::string_view type) {
    Json answer{{"description", description}};
    if (!type.empty()) answer["content"] = {{std::string(type), Json::object()}};
    return answer;
}

Json error_answers(const Route& route) {
    const bool json = route.answers_problems;
    const auto add = [&](Json& answers, const char* status, std::string_view description) {
        Json answer{{"description", description}};
        if (json) {
            answer["content"][std::string(problem_type)]["schema"]["$ref"] =
                "#/components/schemas/Problem";
        } else {
            answer["content"] = {{std::string(wire_error_type), Json::object()}};
        }
        answers[status] = std::move(answer);
    };
    Json answers = Json::object();
    if (route.right == Right::none) return answers;
    add(answers, "400", "The request is not understood; the text says what is wrong and where.");
    add(answers, "401", "The shared access signature is missing or not valid.");
    add(answers, "403", "The rule that signed lacks the right.");
    add(answers, "404", "There is no such hub or thing.");
    if (route.creates) {
        add(answers, "409", "A request with this Idempotency-Key is still at work.");
        add(answers, "422", "This Idempotency-Key was used for another request.");
    }
    add(answers, "413", "The body is over " + std::to_string(route.body_bytes_max) + " bytes.");
    add(answers, "429", "Too much at once: try again after the time in Retry-After.");
    add(answers, "503", "The service or its store cannot take the request now.");
    return answers;
}

std::string operation_id(const Route& route) {
    std::string id = lower(route.method);
    for (const char c : route.pattern) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (letter || (c >= '0' && c <= '9')) {
            id += c;
        } else if (id.back() != '_') {
            id += '_';
        }
    }
    while (id.back() == '_') id.pop_back();
    return id;
}

Json operation_of(const Route& route, const RouteText& text) {
    Json operation;
    operation["operationId"] = operation_id(route);
    operation["tags"] = Json::array();
    operation["tags"].push_back(text.group);
    operation["summary"] = text.summary;
    operation["description"] = right_text(route.right);
    Json parameters = Json::array();
    add_path_parameters(parameters, route.pattern);
    for (const RouteParameter& parameter : text.parameters) add_parameter(parameters, parameter);
    if (route.creates) {
        add_parameter(parameters,
                      {"Idempotency-Key", true,
                       "Chosen by the client: the same request with the same key creates nothing "
                       "twice and is given the same answer, with Idempotency-Replayed: true."});
    }
    if (!parameters.empty()) operation["parameters"] = std::move(parameters);
    if (!text.body.empty()) {
        operation["requestBody"]["content"] = {{std::string(text.body), Json::object()}};
        operation["requestBody"]["required"] = true;
    }
    operation["responses"][std::to_string(text.status)] = answer_of("Done.", text.answer);
    const Json errors = error_answers(route);
    for (const auto& item : errors.items()) operation["responses"][item.key()] = item.value();
    if (route.right == Right::none) operation["security"] = Json::array();
    return operation;
}

Json problem_schema() {
    Json properties;
    for (const char* name : {"type", "title", "code", "detail", "trackingId"})
        properties[name] = {{"type", "string"}};
    properties["status"] = {{"type", "integer"}};
    properties["audience"] = {{"type", "integer"}};
    Json schema{{"type", "object"}};
    schema["required"] = {"type", "title", "status", "code", "trackingId"};
    schema["properties"] = std::move(properties);
    return schema;
}

}  // namespace

const RouteText* text_of(const Route& route) {
    const auto& all = route_texts();
    const auto found = std::find_if(all.begin(), all.end(), [&](const RouteText& text) {
        return text.method == route.method && text.pattern == route.pattern;
    });
    return found == all.end() ? nullptr : &*found;
}

std::string openapi_json(std::span<const Route> routes) {
    Json document;
    document["openapi"] = "3.1.0";
    document["info"] = {{"title", "pushhub"}, {"version", PUSHHUB_VERSION}};
    document["info"]["description"] =
        "A push notification hub that speaks the wire contract of Azure Notification Hubs (XML "
        "errors) and, beside it, a JSON surface of its own (errors as RFC 9457 problems).";
    Json credentials = Json::object();
    credentials["sharedAccessSignature"] = Json::array();
    document["security"] = Json::array();
    document["security"].push_back(std::move(credentials));
    Json& paths = document["paths"] = Json::object();
    for (const Route& route : routes) {
        const RouteText* text = text_of(route);
        if (text == nullptr) continue;
        paths[path_of(route.pattern)][lower(route.method)] = operation_of(route, *text);
    }
    Json& scheme = document["components"]["securitySchemes"]["sharedAccessSignature"];
    scheme["type"] = "apiKey";
    scheme["in"] = "header";
    scheme["name"] = "Authorization";
    scheme["description"] =
        "SharedAccessSignature sr=<encoded address>&sig=<encoded "
        "HMAC-SHA256>&se=<expiry>&skn=<rule>";
    document["components"]["schemas"]["Problem"] = problem_schema();
    return document.dump(2) + "\n";
}

pns::Task<Response> get_openapi(Call) {
    static const std::string text = openapi_json(routes());
    co_return json_answer(200, text);
}

}  // namespace hub
