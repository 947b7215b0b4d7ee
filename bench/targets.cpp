#include "bench/targets.hpp"

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include "pns/mixing.hpp"
#include "pns/text.hpp"

namespace bench {
namespace {

constexpr std::size_t es256_token_bytes = 170, oauth_token_bytes = 180;

// The key and secret of RFC 8291's example: one point serves every device, as only the sink reads
// what is encrypted to it.
constexpr std::string_view browser_keys =
    R"("p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg")";
// RFC 8188: salt, record size and key id before the record, a delimiter and a tag in it.
constexpr std::size_t encrypted_overhead_bytes = 86 + 17;

std::string fcm_token(std::uint64_t number) {
    return token_of(number).substr(0, 22) + ":APA91b" + token_of(number + 1) +
           token_of(number + 2).substr(0, 56);
}

}  // namespace

std::uint64_t mixed(std::uint64_t x) {
    return pns::mixed((x + 1) * pns::golden_gap);
}

std::string token_of(std::uint64_t number) {
    std::string out;
    out.reserve(64);
    for (std::uint64_t word = 0; word < 4; ++word) {
        const std::uint64_t x = mixed(number * 4 + word);
        for (int nibble = 60; nibble >= 0; nibble -= 4)
            out += "0123456789ABCDEF"[(x >> nibble) & 15];
    }
    return out;
}

std::vector<std::pair<std::string, std::string>> Target::send_headers() const {
    if (template_header.empty()) return {};
    return {{pns::lower(template_header), template_header_value}};
}

std::string Target::handle(std::uint64_t number, const std::string& host) const {
    if (platform == "apns") return token_of(number);
    if (platform == "fcmv1") return fcm_token(number);
    // A certificate for *.notify.windows.com, or of a push service: any label will do.
    const std::string name = host.starts_with("*.") ? "updates" + host.substr(1) : host;
    if (platform == "wns") return "https://" + name + path(number);
    return R"({"endpoint":"https://)" + name + path(number) + "\"," + std::string(browser_keys) +
           "}";
}

std::string Target::path(std::uint64_t number) const {
    if (platform == "apns") return "/3/device/" + pns::lower(token_of(number));
    if (platform == "fcmv1") return "/v1/projects/bench/messages:send";
    if (platform == "wns") return "/w/?token=" + token_of(number);
    return "/wpush/v2/" + token_of(number);
}

std::string Target::request_body() const {
    if (platform == "fcmv1")
        return R"({"message":{"token":")" + fcm_token(0) + "\"," +
               body.substr(body.find('{', 1) + 1);
    if (platform == "browser") return std::string(body.size() + encrypted_overhead_bytes, 'x');
    return body;
}

std::vector<std::string> Target::request_headers(const Sink& sink) const {
    if (platform == "apns")
        return {"authorization: bearer " + std::string(es256_token_bytes, 'x'),
                "apns-topic: " + sink.credential(platform).properties.at("AppName"),
                "apns-push-type: alert", "apns-id: 6f0d1c7e-27d5-4b0e-9d3a-0e4f4bb0d2a1"};
    const std::string bearer = "authorization: Bearer " + std::string(oauth_token_bytes, 'x');
    if (platform == "fcmv1") return {bearer, "content-type: application/json"};
    if (platform == "wns")
        return {bearer, "content-type: text/xml", "x-wns-type: wns/toast",
                "x-wns-requestforstatus: true"};
    return {"authorization: vapid t=" + std::string(es256_token_bytes, 'x') +
                ", k=" + std::string(87, 'x'),
            "content-type: application/octet-stream", "content-encoding: aes128gcm",
            "ttl: 2419200"};
}

const std::vector<Target>& targets() {
    static const std::vector<Target> all = [] {
        const std::string text = "Race cancelled: fog on the course. New start 14:30 CET.";
        std::vector<Target> out(4);
        out[0].platform = "apns";
        out[0].format = "apple";
        out[0].body = R"({"aps":{"alert":")" + text + "\"}}";
        out[0].template_body = R"({"aps":{"alert":"%"}})";
        out[1].platform = "fcmv1";
        out[1].format = "fcmv1";
        out[1].body = R"({"message":{"notification":{"body":")" + text + "\"}}}";
        out[1].template_body = R"({"message":{"notification":{"body":"%"}}})";
        const std::string toast =
            R"(<toast><visual><binding template="ToastText01"><text id="1">%</text></binding></visual></toast>)";
        out[2].platform = "wns";
        out[2].format = "windows";
        out[2].template_body = toast;
        out[2].body = toast;
        out[2].body.replace(toast.find('%'), 1, text);
        out[2].template_header = "X-WNS-Type";
        out[2].template_header_value = "wns/toast";
        out[2].h1 = true;
        out[3].platform = "browser";
        out[3].format = "browser";
        out[3].body = R"({"title":"Race","body":")" + text + "\"}";
        out[3].template_body = R"({"title":"Race","body":"%"})";
        return out;
    }();
    return all;
}

const Target& target(std::string_view platform) {
    for (const Target& one : targets())
        if (one.platform == platform) return one;
    throw std::invalid_argument("no such target: " + std::string(platform));
}

std::vector<std::string> target_names() {
    std::vector<std::string> names;
    for (const Target& one : targets()) names.push_back(one.platform);
    return names;
}

}  // namespace bench
