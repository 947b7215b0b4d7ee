// Tested by tests/pns_sim_test.cpp.
//
// answer() is the way of every request: token endpoint, management, or a push, which is checked,
// gets its behaviour from the rules and perhaps a fault, is answered and entered into the journal.
// Each provider overrides the checks and the answers. The reply says when and how it goes out;
// sending it is the connection's business. Nothing here blocks.
#include "pns/sim/provider.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

#include "pns/clock.hpp"
#include "pns/handles.hpp"
#include "pns/http_date.hpp"
#include "pns/jwt.hpp"
#include "pns/sim/platforms.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t tokens_max = 10'000;

/// The number behind `"key":`, wherever it stands in the text.
std::optional<std::int64_t> number_at(std::string_view text, const std::string& key) {
    const std::string quoted = '"' + key + "\":";
    const std::size_t at = text.find(quoted);
    if (at == std::string_view::npos) return std::nullopt;
    text.remove_prefix(at + quoted.size());
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    std::int64_t out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() ? std::optional(out) : std::nullopt;
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
    const std::int64_t now = options_.clock_ms ? options_.clock_ms() : system_clock().wall_ms();
    return now + clock_offset_ms_.load(std::memory_order_relaxed);
}

Reply Provider::answer(const Request& request, Visit& visit) {
    const std::int64_t now = now_ms();
    if (is_token_request(request)) return answer_token(request, now);
    if (auto reply = administer(request, visit, now)) return std::move(*reply);
    const std::int64_t now_us = system_clock().wall_us();
    const auto began = std::chrono::steady_clock::now();
    journal_.received(now_us);
    Incoming push;
    bool gone = false;
    Reply reply = decide(request, visit, now, push, gone);
    finish(request, visit, push, reply, now);
    if (reply.end != Reply::End::answer) reply.status = 0;
    if (!reply.accepted && reply.status != 0)
        reply.word = std::to_string(reply.status) + (reply.word.empty() ? "" : " " + reply.word);
    reply.delay_ms += reply.accepted ? visit.latency_ms : visit.latency_refused_ms;

    Entry entry;
    entry.arrival_us = now_us;
    entry.answer_us = reply.status == 0 ? 0 : now_us + reply.delay_ms * 1000;
    entry.connection = visit.connection;
    entry.stream = visit.stream;
    entry.status = static_cast<std::int16_t>(reply.status);
    entry.accepted = reply.accepted;
    if (reply.fault && reply.fault->row)
        entry.fault = static_cast<std::uint8_t>(reply.fault->row->number);
    Journal::Told told;
    told.handle = push.handle;
    told.id = push.id;
    told.body = push.opened.empty() ? request.body : std::string_view(push.opened);
    told.word = reply.word;
    told.credential = request.header("authorization");
    told.gone = gone;
    if (!options_.order_key.empty()) told.order = number_at(request.body, options_.order_key);
    journal_.record(std::move(entry), told);
    journal_.served(std::chrono::duration_cast<std::chrono::microseconds>(
                        std::chrono::steady_clock::now() - began)
                        .count());
    return reply;
}

Reply Provider::decide(const Request& request, Visit& visit, std::int64_t now_ms, Incoming& push,
                       bool& gone) {
    const auto refused = [&] { return check(request, visit, now_ms, push); };
    if (auto refusal = refused()) return std::move(*refusal);
    Behaviour behaviour = rules_.pick(push.handle).value_or(Behaviour{});
    FaultHit fault;
    if (faults_ && faults_->any())
        fault = faults_->on_request(request, push.handle, system_clock().steady_ms());
    if (fault && fault->row && visit.h1 && !fault->row->h1) fault.reset();
    Reply reply;
    bool credential_refused = false;
    if (fault) {
        journal_.fault(fault->row ? fault_name(*fault->row) : "rule");
        const int number = fault->row ? fault->row->number : 0;
        if (number == 24) {
            revoke_tokens();
            if (auto refusal = refused()) return std::move(*refusal);
        }
        credential_refused = number == 26;
        if (fault->rule) behaviour = *fault->rule;
        if (apply(*fault, behaviour, now_ms)) fault.reset();
    }
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
            reply = credential_refused ? refuse_credential(push) : act(behaviour, push, now_ms);
    }
    gone = behaviour.act == Act::gone;
    if (!behaviour.retry_after.empty())
        reply.headers.emplace_back("retry-after", behaviour.retry_after);
    reply.delay_ms = behaviour.delay_ms;
    reply.trusted = !credential_refused;
    if (fault) strike(fault, push, reply);
    return reply;
}

/// Faults that are answers like others. False: it is about how the answer goes out.
bool Provider::apply(const Fault& fault, Behaviour& behaviour, std::int64_t now_ms) const {
    if (fault.rule) return true;
    const std::string_view variant = fault.row->variant;
    const std::string one = fault.text.empty() ? "1" : fault.text;
    const auto is = [&](Act act) {
        behaviour = Behaviour();
        behaviour.act = act;
        return true;
    };
    switch (fault.row->number) {
        case 16:
            if (variant == "json") is(Act::server_error);
            return false;
        case 21:
            is(Act::unavailable);
            if (variant == "after") behaviour.retry_after = one;
            return true;
        case 22:
            is(Act::throttled);
            if (variant.empty()) behaviour.retry_after = one;
            if (variant == "date") behaviour.retry_after = http_date(now_ms + 2'000);
            if (variant == "negative") behaviour.retry_after = "-5";
            if (variant == "absurd") behaviour.retry_after = "1000000000";
            return true;
        case 23:
            return is(Act::server_error);
        case 24:
        case 26:
            return true;
        case 32:
            return is(Act::gone);
        case 33:
            is(Act::gone);
            behaviour.timestamp_ms = now_ms;
            if (variant.empty()) behaviour.timestamp_ms -= 10 * 86'400'000LL;
            if (variant == "after") behaviour.timestamp_ms += 60'000;
            return true;
        case 34:
            is(Act::rotate);
            behaviour.to = fault.text;
            return true;
        default:
            return false;
    }
}

/// Decides whether the push counts as taken, and leaves the rest to whoever sends the reply.
void Provider::strike(const FaultHit& fault, const Incoming& push, Reply& reply) {
    const FaultRow& row = *fault->row;
    bool taken = row.effect != FaultEffect::unprocessed;
    if (row.effect == FaultEffect::ambiguous)
        taken = faults_->is_taken(*fault, push.handle, ordinal_.fetch_add(1));
    if (!taken && reply.accepted) {
        reply.accepted = false;
        reply.word = fault_name(row);
    }
    // These end the stream without a status.
    if (row.effect == FaultEffect::unprocessed || row.effect == FaultEffect::ambiguous)
        reply.status = 0;
    if (row.number == 19) reply.delay_ms += fault->ms > 0 ? fault->ms : 1'000;
    reply.fault = fault;
}

Reply Provider::refuse_credential(const Incoming&) {
    return reply_of(401, "credential revoked");
}

Reply Provider::answer_token(const Request& request, std::int64_t now_ms) {
    Reply reply = mint(request, now_ms);
    const FaultHit fault =
        faults_ && reply.status == 200 ? faults_->on_token(system_clock().steady_ms()) : FaultHit();
    if (fault && fault->row) {
        journal_.fault(fault_name(*fault->row));
        const std::string_view variant = fault->row->variant;
        if (variant.empty()) reply.delay_ms += fault->ms > 0 ? fault->ms : 200;
        if (variant == "500") reply = token_refusal(500, "internal_failure", "try again later");
        if (variant == "malformed") reply.body.resize(reply.body.size() / 2);
        if (variant == "string" || variant == "tiny" || variant == "missing") {
            nlohmann::json body = nlohmann::json::parse(reply.body, nullptr, false);
            if (variant == "tiny") body["expires_in"] = 1;
            if (variant == "missing") body.erase("expires_in");
            if (variant == "string" && body["expires_in"].is_number())
                body["expires_in"] = body["expires_in"].dump();
            reply.body = body.dump();
        }
    }
    journal_.token(reply.status == 200, system_clock().wall_us());
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
    const SimPlatform* platform = sim_platform(options.platform);
    return platform ? platform->make(options, rules, journal) : nullptr;
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
