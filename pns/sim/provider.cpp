// Tested by tests/pns_sim_test.cpp.
#include "pns/sim/provider.hpp"

#include <openssl/rand.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "pns/handles.hpp"
#include "pns/jwt.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t tokens_max = 10'000;

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::string_view Request::header(std::string_view name) const {
    for (const H2Header& header : headers)
        if (header.name == name) return header.value;
    return {};
}

std::string TokenDesk::issue(std::int64_t now_ms, std::int64_t life_s) {
    std::array<unsigned char, 24> random{};
    RAND_bytes(random.data(), static_cast<int>(random.size()));
    const std::lock_guard lock(mutex_);
    if (expiry_ms_.size() >= tokens_max)
        std::erase_if(expiry_ms_, [&](const auto& entry) { return entry.second <= now_ms; });
    if (expiry_ms_.size() >= tokens_max) expiry_ms_.clear();
    std::string token = prefix_ + std::to_string(++issued_) + '.' +
                        base64url({reinterpret_cast<char*>(random.data()), random.size()});
    expiry_ms_[token] = now_ms + life_s * 1000;
    return token;
}

TokenDesk::State TokenDesk::check(std::string_view token, std::int64_t now_ms,
                                  std::int64_t& good_until_ms) const {
    const std::lock_guard lock(mutex_);
    const auto found = expiry_ms_.find(token);
    if (found == expiry_ms_.end()) return State::unknown;
    good_until_ms = found->second;
    return found->second > now_ms ? State::good : State::expired;
}

void TokenDesk::revoke_all() {
    const std::lock_guard lock(mutex_);
    expiry_ms_.clear();
    epoch_.fetch_add(1, std::memory_order_release);
}

Provider::Provider(const SimOptions& options, RuleBook& rules, Journal& journal)
    : options_(options), rules_(rules), journal_(journal) {}

std::int64_t Provider::now_ms() const {
    const std::int64_t now = options_.clock_ms
                                 ? options_.clock_ms()
                                 : std::chrono::duration_cast<std::chrono::milliseconds>(
                                       std::chrono::system_clock::now().time_since_epoch())
                                       .count();
    return now + clock_offset_ms_.load(std::memory_order_relaxed);
}

Reply Provider::answer(const Request& request, Visit& visit) {
    const std::int64_t now = now_ms();
    if (is_token_request(request)) {
        Reply reply = mint(request, now);
        journal_.token(reply.status == 200);
        return reply;
    }
    const std::int64_t now_us = std::chrono::duration_cast<std::chrono::microseconds>(
                                    std::chrono::system_clock::now().time_since_epoch())
                                    .count();
    journal_.received(now_us);
    Incoming push;
    Reply reply;
    if (auto refusal = check(request, visit, now, push)) {
        reply = std::move(*refusal);
    } else {
        const Behaviour behaviour = rules_.pick(push.handle).value_or(Behaviour{});
        switch (behaviour.act) {
            case Act::never:
                reply.end = Reply::End::never;
                reply.word = "never answered";
                break;
            case Act::reset:
                reply.end = Reply::End::reset;
                reply.word = "stream reset";
                break;
            case Act::close:
                reply.end = Reply::End::close;
                reply.word = "connection closed";
                break;
            default:
                reply = act(behaviour, push, now);
        }
        if (reply.end != Reply::End::answer) reply.status = 0;
        if (!behaviour.retry_after.empty())
            reply.headers.emplace_back("retry-after", behaviour.retry_after);
        reply.delay_ms = behaviour.delay_ms;
        reply.trusted = true;
    }
    if (!reply.accepted && reply.status != 0)
        reply.word = std::to_string(reply.status) + (reply.word.empty() ? "" : " " + reply.word);
    journal_.record(now_us, push.handle, push.id, request.body, reply.status, reply.word,
                    reply.accepted);
    return reply;
}

TokenDesk::State Provider::check_bearer(const TokenDesk& desk, const Request& request, Visit& visit,
                                        std::int64_t now_ms) const {
    const std::string_view authorization = request.header("authorization");
    const std::uint64_t epoch = desk.epoch();
    if (!authorization.empty() && authorization == visit.authorization &&
        epoch == visit.good_epoch && now_ms < visit.good_until_ms)
        return TokenDesk::State::good;
    constexpr std::size_t scheme_bytes = 7;
    if (authorization.size() <= scheme_bytes ||
        !same_ignoring_case(authorization.substr(0, scheme_bytes), "bearer "))
        return TokenDesk::State::unknown;
    std::int64_t good_until_ms = 0;
    const auto state = desk.check(authorization.substr(scheme_bytes), now_ms, good_until_ms);
    if (state == TokenDesk::State::good) {
        visit.authorization = authorization;
        visit.good_until_ms = good_until_ms;
        visit.good_epoch = epoch;
    }
    return state;
}

std::unique_ptr<Provider> make_provider(const SimOptions& options, RuleBook& rules,
                                        Journal& journal) {
    if (options.platform == "apns") return make_apns(options, rules, journal);
    if (options.platform == "fcmv1") return make_fcm(options, rules, journal);
    if (options.platform == "wns") return make_wns(options, rules, journal);
    if (options.platform == "adm") return make_adm(options, rules, journal);
    return nullptr;
}

Reply reply_of(int status, std::string word, std::string body) {
    Reply reply;
    reply.status = status;
    reply.word = std::move(word);
    reply.body = std::move(body);
    return reply;
}

Reply rule_answer(const Behaviour& behaviour, std::string made_body) {
    Reply reply = reply_of(behaviour.status, behaviour.reason,
                           behaviour.body.empty() ? std::move(made_body) : behaviour.body);
    reply.headers = behaviour.headers;
    reply.accepted = behaviour.status == 200;
    return reply;
}

std::string percent_decoded(std::string_view text, bool plus_is_space) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 &&
            hex_value(text[i + 2]) >= 0) {
            out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
            i += 2;
        } else {
            out += plus_is_space && text[i] == '+' ? ' ' : text[i];
        }
    }
    return out;
}

std::map<std::string, std::string> read_form(std::string_view text) {
    std::map<std::string, std::string> out;
    while (!text.empty()) {
        const std::string_view field = text.substr(0, text.find('&'));
        text.remove_prefix(std::min(field.size() + 1, text.size()));
        const std::size_t equals = std::min(field.find('='), field.size());
        const std::string_view value = field.substr(std::min(equals + 1, field.size()));
        out[percent_decoded(field.substr(0, equals), true)] = percent_decoded(value, true);
    }
    return out;
}

Reply token_reply(const std::string& token, const std::string& expires_in_json,
                  std::string_view type) {
    Reply reply = reply_of(200, {},
                           R"({"access_token":")" + token + R"(","expires_in":)" + expires_in_json +
                               R"(,"token_type":")" + std::string(type) + "\"}");
    reply.headers.emplace_back("content-type", "application/json");
    return reply;
}

Reply token_refusal(int status, std::string_view error, std::string_view description) {
    const nlohmann::json body = {{"error", error}, {"error_description", description}};
    Reply reply = reply_of(status, std::string(error), body.dump());
    reply.headers.emplace_back("content-type", "application/json");
    return reply;
}

}  // namespace pns::sim
