// Tested by tests/hub_openapi_test.cpp, tests/conformance/openapi.test.mjs.
//
// The document is built once, on a store thread at its first request, by joining the route table
// and the files of hub/api/openapi/; answers share it. The files are our own: what is wrong in them
// throws, and fails the tests.

#include "hub/api/openapi.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/problem.hpp"
#include "hub/text/text.hpp"

namespace hub {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view wire_error_type = "application/xml";

/// In which form a route answers an error.
enum class Form { contract, problem, either };

struct RightText {
    std::string_view words;
    std::vector<std::string_view> any_of;
};

RightText right_text(Right right) {
    switch (right) {
        case Right::none:
            return {"", {}};
        case Right::listen:
            return {"Needs the right Listen.", {"Listen"}};
        case Right::send:
            return {"Needs the right Send.", {"Send"}};
        case Right::manage:
            return {"Needs the right Manage.", {"Manage"}};
        case Right::send_or_manage:
            return {"Needs the right Send or Manage.", {"Send", "Manage"}};
        case Right::listen_if_filtered:
            return {"Needs the right Manage, or Listen with a $filter that names one handle.",
                    {"Manage", "Listen"}};
        case Right::manage_namespace:
            return {"Needs the right Manage by a rule of the namespace.", {"Manage"}};
    }
    return {};
}

/// `{name...}` has no word in OpenAPI: it becomes a parameter that may hold slashes.
std::string path_of(std::string_view pattern) {
    std::string path(pattern);
    if (const auto dots = path.find("...}"); dots != std::string::npos) path.erase(dots, 3);
    return path;
}

Json reference(std::string_view kind, std::string_view name) {
    return {{"$ref", "#/components/" + std::string(kind) + "/" + std::string(name)}};
}

class Document {
  public:
    explicit Document(std::span<const Route> routes) {
        for (const OpenapiPiece& piece : openapi_pieces()) read(piece);
        out_["openapi"] = "3.1.0";
        out_["info"] = common_.at("info");
        out_["info"]["version"] = PUSHHUB_VERSION;
        out_["servers"] = common_.at("servers");
        out_["tags"] = Json::array();
        out_["paths"] = Json::object();
        for (const Route& route : routes) add(route);
        finish();
    }

    std::string text() const { return out_.dump() + "\n"; }

  private:
    void read(const OpenapiPiece& piece) {
        Json read = Json::parse(piece.text);
        for (const char* kind : kinds) {
            if (!read.contains(kind)) continue;
            components_[kind].update(read.at(kind));
        }
        if (piece.name == "common") {
            common_ = std::move(read);
            return;
        }
        for (auto& [key, operation] : read.at("operations").items())
            operations_[key] = {read.at("tag"), operation};
    }

    void add(const Route& route) {
        const auto found =
            operations_.find(std::string(route.method) + " " + std::string(route.pattern));
        if (found == operations_.end()) return;
        const auto& [tag, written] = found->second;
        const bool known =
            std::any_of(out_["tags"].begin(), out_["tags"].end(),
                        [&](const Json& one) { return one.at("name") == tag.at("name"); });
        if (!known) out_["tags"].push_back(tag);
        out_["paths"][path_of(route.pattern)][lower(route.method)] =
            operation(route, tag.at("name"), written);
    }

    Json operation(const Route& route, const Json& tag, const Json& written) {
        Json out;
        out["operationId"] = written.at("operationId");
        out["tags"] = Json::array({tag});
        out["summary"] = written.at("summary");
        const RightText right = right_text(route.right);
        std::string words = written.value("description", "");
        append_sentence(words, right.words);
        if (written.contains("requestBody") && route.body_bound == nullptr) {
            append_sentence(
                words, "The body has at most " + std::to_string(route.body_bytes_max) + " bytes.");
        }
        if (!words.empty()) out["description"] = words;
        out["security"] = Json::array();
        for (const std::string_view one : right.any_of)
            out["security"].push_back({{"sharedAccessSignature", Json::array({one})}});
        out["parameters"] = parameters(route, written);
        if (written.contains("requestBody")) out["requestBody"] = written.at("requestBody");
        out["responses"] = responses(route, written.at("responses"));
        return out;
    }

    static void append_sentence(std::string& text, std::string_view more) {
        if (!text.empty() && !more.empty()) text += ' ';
        text += more;
    }

    static Json parameters(const Route& route, const Json& written) {
        Json out = Json::array();
        if (route.pattern.find("{hub}") != std::string_view::npos)
            out.push_back(reference("parameters", "hub"));
        for (const Json& name : written.value("parameters", Json::array()))
            out.push_back(reference("parameters", name.get<std::string>()));
        if (route.creates) out.push_back(reference("parameters", "Idempotency-Key"));
        if (route.right != Right::none) out.push_back(reference("parameters", "api-version"));
        out.push_back(reference("parameters", "TrackingId"));
        return out;
    }

    Json responses(const Route& route, const Json& written) {
        std::map<std::string, Json> all;
        for (const int status : errors_of(route)) {
            const std::string key = std::to_string(status);
            if (written.contains(key)) continue;
            const Form form = form_of(route, status);
            std::string name = common_.at("errors").at(key).at("name");
            name += form == Form::problem ? "Problem" : form == Form::either ? "Either" : "";
            Json& shared = components_["responses"][name];
            const Json& why = common_.at("errors").at(key).at("description");
            if (shared.is_null()) shared = error(form, status, why);
            all[key] = reference("responses", name);
        }
        for (const auto& [key, answer] : written.items()) {
            all[key] = answer;
            const int status = std::stoi(key);
            if (answer.is_string()) all[key] = error(form_of(route, status), status, answer);
            if (route.creates && status < 300) {
                Json& headers = all[key]["headers"];
                if (headers.is_null()) headers = Json::array();
                headers.push_back("Idempotency-Replayed");
            }
        }
        Json out = Json::object();
        for (auto& [key, answer] : all) out[key] = std::move(answer);
        return out;
    }

    /// What a route may answer whatever its handler does.
    static std::vector<int> errors_of(const Route& route) {
        std::vector<int> all{400, 413, 429, 431, 500, 503};
        if (route.right != Right::none) all.insert(all.end(), {401, 403});
        if (route.names_hub) all.push_back(404);
        if (route.method == "POST" || route.method == "PUT" || route.method == "PATCH")
            all.push_back(415);
        if (route.creates) all.insert(all.end(), {409, 422});
        return all;
    }

    /// What an idempotency key or a guard of the audience refuses is a problem on every route.
    static Form form_of(const Route& route, int status) {
        if (status == 431) return Form::contract;  // before any route is looked for
        // A request that cannot be read leads to no route.
        if (route.answers_problems) return status == 400 ? Form::either : Form::problem;
        if (!route.creates) return Form::contract;
        if (status == 422) return Form::problem;
        const bool both = status == 400 || status == 409 || status == 429 || status == 503;
        return both ? Form::either : Form::contract;
    }

    static Json error(Form form, int status, const Json& description) {
        Json out{{"description", description}, {"headers", Json::array()}};
        if (status == 429 || status == 503) out["headers"].push_back("Retry-After");
        if (status == 409) out["headers"].push_back("MaybeRetryAfter");
        if (status == 415) out["headers"].push_back("Accept-Encoding");
        if (form != Form::problem) out["content"][std::string(wire_error_type)]["schema"] = "Error";
        if (form != Form::contract) out["content"][std::string(problem_type)]["schema"] = "Problem";
        return out;
    }

    void finish() {
        for (auto& path : out_["paths"]) {
            for (auto& operation : path) {
                for (auto& answer : operation["responses"]) add_tracking(answer);
            }
        }
        for (auto& answer : components_["responses"]) add_tracking(answer);
        write_out(out_["paths"]);
        for (const char* kind : {"requestBodies", "responses"}) write_out(components_[kind]);
        for (auto& header : components_["headers"]) header.erase("name");
        out_["components"] = std::move(components_);
        out_["components"]["securitySchemes"] = common_.at("securitySchemes");
    }

    static void add_tracking(Json& answer) {
        if (answer.contains("$ref")) return;
        Json& headers = answer["headers"];
        if (headers.is_null()) headers = Json::array();
        for (const char* name : {"TrackingId", "x-ms-correlation-request-id"})
            headers.push_back(name);
    }

    /// The short forms of headers and schemas, at any depth.
    void write_out(Json& value) const {
        if (value.is_array()) {
            for (Json& one : value) write_out(one);
        }
        if (!value.is_object()) return;
        for (auto& [key, member] : value.items()) {
            if (key == "example" || key == "examples") continue;
            if (key == "schema" && member.is_string()) {
                member = reference("schemas", member.get<std::string>());
            } else if (key == "headers" && member.is_array()) {
                Json headers = Json::object();
                for (const Json& one : member) {
                    const auto name = one.get<std::string>();
                    const Json& header = components_.at("headers").at(name);
                    headers[header.value("name", name)] = reference("headers", name);
                }
                member = std::move(headers);
            } else {
                write_out(member);
            }
        }
    }

    static constexpr const char* kinds[] = {"schemas", "parameters", "headers", "requestBodies",
                                            "responses"};
    struct Written {
        Json tag, operation;
    };
    Json common_, components_ = Json::object(), out_;
    std::map<std::string, Written> operations_;
};

}  // namespace

std::string openapi_json(std::span<const Route> routes) {
    return Document(routes).text();
}

pns::Task<Response> get_openapi(Call call) {
    auto build = [] {
        static const auto text = std::make_shared<const std::string>(openapi_json(routes()));
        return text;
    };
    Response response = json_answer(200, {});
    response.shared_body = co_await on_store(call.parts.store, std::move(build));
    co_return response;
}

}  // namespace hub
