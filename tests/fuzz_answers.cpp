// Arbitrary bytes as a provider's answer, as a payload and as a handle: nothing crashes, every
// verdict keeps its bounds.
// Inputs: up to 262144 bytes, an answer of a provider.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "pns/account.hpp"
#include "pns/answers.hpp"
#include "pns/http_date.hpp"
#include "pns/jwt.hpp"
#include "pns/sim/credentials.hpp"
#include "pns/sim/h1_request.hpp"

namespace {

constexpr std::string_view names[] = {"apns", "fcmv1", "wns", "adm", "browser", "hms"};

const std::vector<std::unique_ptr<pns::Account>>& accounts() {
    static const std::vector<std::unique_ptr<pns::Account>> all = [] {
        std::vector<std::unique_ptr<pns::Account>> out;
        for (const auto name : names) {
            auto opened = pns::open_account(pns::sim::make_credential(name).credential);
            out.push_back(std::move(std::get<std::unique_ptr<pns::Account>>(opened)));
        }
        return out;
    }();
    return all;
}

void demand(bool holds) {
    if (!holds) std::abort();
}

bool printable(std::string_view text) {
    for (char c : text)
        if (c < ' ' || c > '~') return false;
    return true;
}

std::string_view take_line(std::string_view& text) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    return line;
}

void judge(const pns::Account& account, int status, bool cut, std::string_view text) {
    constexpr std::string_view known[] = {
        "retry-after",          "x-wns-status", "x-wns-error-description",
        "x-wns-continue-after", "apns-id",      "x-amzn-requestid"};
    std::vector<std::pair<std::string_view, std::string_view>> headers;
    for (const auto name : known) headers.emplace_back(name, take_line(text));
    pns::Push push;
    push.handle = "handle-7f3a9c";
    pns::Answer answer;
    answer.status = status;
    answer.headers = headers;
    answer.body = text;
    answer.body_cut = cut;
    answer.now_ms = 1'795'200'000'000;
    const pns::Judgement got = account.judge(push, answer);
    demand(got.throttle_credential_ms >= 0 &&
           got.throttle_credential_ms <= pns::retry_after_ms_max);
    if (const auto* later = got.verdict.get<pns::RetryLater>())
        demand(later->after_ms >= 0 && later->after_ms <= pns::retry_after_ms_max);
    demand(got.verdict.reason().size() <= 200 && printable(got.verdict.reason()));
    demand(got.verdict.reason().find(push.handle) == std::string::npos);
    if (const auto* accepted = got.verdict.get<pns::Accepted>())
        demand(accepted->provider_id.size() <= 128 && printable(accepted->provider_id));
    demand(got.verdict.kind() != pns::Verdict::Kind::not_sent);
    demand((got.verdict.kind() == pns::Verdict::Kind::accepted) ==
           (got.verdict.outcome() == pns::Outcome::success));
    demand((status >= 200 && status <= 202) || got.verdict.kind() != pns::Verdict::Kind::accepted);
    if (got.verdict.kind() == pns::Verdict::Kind::dead) demand(status >= 400);
}

void prepare(const pns::Account& account, std::string_view text) {
    pns::Message message;
    message.headers.emplace_back("apns-push-type", take_line(text));
    message.headers.emplace_back("x-wns-type", take_line(text));
    message.headers.emplace_back("topic", take_line(text));
    message.body = text;
    auto prepared = account.prepare(message);
    const auto* ready = std::get_if<std::shared_ptr<const pns::Prepared>>(&prepared);
    if (!ready) return;
    pns::Push push;
    push.handle = "handle";
    push.prepared = *ready;
    pns::Encoded encoded;
    account.encode(push, encoded);
    demand(!encoded.path.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 4) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 3, size - 3);
    constexpr int statuses[] = {200, 400, 401, 403, 404, 406, 410, 412, 413, 429, 500, 502, 503};
    const auto& account = *accounts()[data[0] % std::size(names)];
    switch (data[0] / std::size(names) % 4) {
        case 0:
        case 1:
            judge(account, data[1] < 200 ? statuses[data[1] % 13] : data[1] * 256 + data[2],
                  data[2] % 2 == 1, text);
            break;
        case 2:
            prepare(account, text);
            break;
        default: {
            for (const pns::Platform& platform : pns::platforms()) {
                auto checked = platform.normalise_handle(text);
                auto* once = std::get_if<std::string>(&checked);
                if (!once) continue;
                auto again = platform.normalise_handle(*once);
                demand(std::holds_alternative<std::string>(again) &&
                       std::get<std::string>(again) == *once);
            }
            pns::split_jwt(text);
            pns::sim::H1Reader reader(1000);
            pns::sim::H1Request request;
            reader.feed(text);
            for (int i = 0; i < 10 && reader.take(request) == pns::sim::H1Reader::State::complete;
                 ++i) {
            }
        }
    }
    return 0;
}
