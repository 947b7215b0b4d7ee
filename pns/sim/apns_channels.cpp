// Tested by tests/pns_sim_faults_test.cpp.
//
// ChannelDesk keeps the channels of one app under a mutex, up to Apple's limit. manage() answers
// the management calls; check() tests a broadcast before the rule of its channel decides. The
// helpers for refusals and ids serve pns/sim/apns.cpp too.
#include "pns/sim/apns_channels.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "pns/apns_channels.hpp"
#include "pns/handles.hpp"
#include "pns/jwt.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::size_t channels_max = 10'000;
constexpr std::size_t broadcast_bytes_max = 5120;

std::mt19937_64& random_source() {
    static thread_local std::mt19937_64 random{std::random_device{}()};
    return random;
}

bool is_number(std::string_view text) {
    return !text.empty() && text.size() <= 18 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool is_uuid(std::string_view text) {
    if (text.size() != 36) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        const char c = text[i];
        const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (dash ? c != '-' : !hex) return false;
    }
    return true;
}

std::string make_uuid() {
    std::array<char, 40> text{};
    const auto a = random_source()(), b = random_source()();
    const int size =
        std::snprintf(text.data(), text.size(), "%08x-%04x-4%03x-8%03x-%012llx",
                      static_cast<unsigned>(a >> 32), static_cast<unsigned>(a >> 16 & 0xffff),
                      static_cast<unsigned>(a & 0xfff), static_cast<unsigned>(b >> 48 & 0xfff),
                      static_cast<unsigned long long>(b & 0xffffffffffffU));
    return {text.data(), static_cast<std::size_t>(size)};
}

Reply apns_refusal(int status, const std::string& reason) {
    return reply_of(status, reason, R"({"reason":")" + reason + "\"}");
}

std::string ChannelDesk::request_id(const Request& request) {
    const std::string_view id = request.header("apns-request-id");
    return is_uuid(id) ? lower(id) : make_uuid();
}

Reply ChannelDesk::manage(const Request& request) {
    const std::string head = "/1/apps/" + app_ + '/';
    const std::string_view path = request.path;
    Reply reply;
    if (!path.starts_with(head)) {
        reply = apns_refusal(400, "TopicDisallowed");
    } else if (const auto rest = path.substr(head.size()); rest == "all-channels") {
        reply = request.method == "GET" ? all() : apns_refusal(405, "MethodNotAllowed");
    } else if (rest != "channels") {
        reply = apns_refusal(404, "BadPath");
    } else if (request.method == "POST") {
        reply = create(request);
    } else {
        reply = one(request, std::string(request.header("apns-channel-id")));
    }
    reply.headers.emplace_back("apns-request-id", request_id(request));
    reply.trusted = true;
    return reply;
}

Reply ChannelDesk::create(const Request& request) {
    if (request.body.empty()) return apns_refusal(400, "PayloadEmpty");
    const Json body = Json::parse(request.body, nullptr, false);
    if (!body.is_object()) return apns_refusal(400, "BadRequestPayload");
    const Json policy = body.value("message-storage-policy", Json());
    // A client in wide use writes it in small letters.
    const Json type = body.value("push-type", Json());
    if (!type.is_string() || lower(type.get_ref<const std::string&>()) != "liveactivity")
        return apns_refusal(400, "InvalidPushType");
    if (policy != 0 && policy != 1) return apns_refusal(400, "BadRequestPayload");
    std::array<char, 16> bytes{};
    for (char& c : bytes) c = static_cast<char>(random_source()() & 255);
    std::string id = base64({bytes.data(), bytes.size()});
    const std::lock_guard lock(mutex_);
    if (policies_.size() >= channels_max) return apns_refusal(400, "CannotCreateChannelConfig");
    policies_.emplace(id, policy.get<int>());
    Reply reply = reply_of(201, {});
    reply.headers.emplace_back("apns-channel-id", std::move(id));
    return reply;
}

Reply ChannelDesk::one(const Request& request, const std::string& id) {
    if (request.method != "GET" && request.method != "DELETE")
        return apns_refusal(405, "MethodNotAllowed");
    if (id.empty()) return apns_refusal(400, "MissingChannelId");
    const std::lock_guard lock(mutex_);
    const auto found = policies_.find(id);
    if (found == policies_.end())
        return request.method == "DELETE" ? apns_refusal(404, "BadPath")
                                          : apns_refusal(400, "ChannelNotRegistered");
    if (request.method == "DELETE") {
        policies_.erase(found);
        return reply_of(204, {});
    }
    return reply_of(
        200, {},
        Json{{"message-storage-policy", found->second}, {"push-type", "LiveActivity"}}.dump());
}

Reply ChannelDesk::all() const {
    Json ids = Json::array();
    const std::lock_guard lock(mutex_);
    for (const auto& [id, policy] : policies_) ids.push_back(id);
    return reply_of(200, {}, Json{{"channels", std::move(ids)}}.dump());
}

std::optional<Reply> ChannelDesk::check(const Request& request, Incoming& push) {
    if (request.path != "/4/broadcasts/apps/" + app_) return apns_refusal(400, "TopicDisallowed");
    if (request.method != "POST") return apns_refusal(405, "MethodNotAllowed");
    const std::string id(request.header("apns-channel-id"));
    if (id.empty()) return apns_refusal(400, "MissingChannelId");
    push.handle = std::string(channel_prefix) + id;
    if (request.header("apns-push-type").empty()) return apns_refusal(400, "MissingPushType");
    if (request.header("apns-push-type") != "liveactivity")
        return apns_refusal(400, "InvalidPushType");
    const std::string_view priority = request.header("apns-priority");
    if (priority != "1" && priority != "5" && priority != "10")
        return apns_refusal(400, "BadPriority");
    const std::string_view expiration = request.header("apns-expiration");
    if (!is_number(expiration)) return apns_refusal(400, "BadExpirationDate");
    {
        const std::lock_guard lock(mutex_);
        const auto found = policies_.find(id);
        if (found == policies_.end()) return apns_refusal(400, "ChannelNotRegistered");
        if (found->second == 0 && expiration.find_first_not_of('0') != std::string_view::npos)
            return apns_refusal(400, "BadExpirationDate");
    }
    if (request.body.empty()) return apns_refusal(400, "PayloadEmpty");
    if (request.body.size() > broadcast_bytes_max) return apns_refusal(413, "PayloadTooLarge");
    const Json body = Json::parse(request.body, nullptr, false);
    const Json aps = body.is_object() ? body.value("aps", Json()) : Json();
    const Json event = aps.is_object() ? aps.value("event", Json()) : Json();
    if (event != "update" && event != "end") return apns_refusal(400, "BadRequestPayload");
    return std::nullopt;
}

Reply ChannelDesk::acted(const Behaviour& behaviour) {
    switch (behaviour.act) {
        case Act::gone:
            return apns_refusal(400, "ChannelNotRegistered");
        case Act::bad_handle:
            return apns_refusal(400, "BadChannelId");
        case Act::wrong_app:
            return apns_refusal(400, "TopicDisallowed");
        case Act::throttled:
            return apns_refusal(429, "TooManyRequests");
        case Act::server_error:
            return apns_refusal(500, "InternalServerError");
        case Act::unavailable:
            return apns_refusal(503, "ServiceUnavailable");
        case Act::answer:
            return rule_answer(behaviour, Json{{"reason", behaviour.reason}}.dump());
        default:
            break;
    }
    Reply reply = reply_of(200, {});
    reply.accepted = true;
    return reply;
}

}  // namespace pns::sim
