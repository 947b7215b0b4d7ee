#pragma once

// An account of a provider that does not exist: its answers say by their status what to do, its
// handle is the path.

#include <functional>
#include <string>

#include "pns/account.hpp"
#include "pns/errc.hpp"

namespace support {

struct FakeProvider {
    pns::Account::Protocol protocol = pns::Account::Protocol::h2;
    bool one_stream = false;
    pns::TokenSource tokens = pns::NoToken();
    std::string key = "fake";
    std::string host = "push.test";
    bool host_in_handle = false;  ///< handle is "host/rest"
    bool tokens_per_origin = false;
    std::function<pns::TokenSource(const pns::Origin&)> tokens_of;  ///< then, instead of `tokens`
};

class FakeAccount final : public pns::Account {
  public:
    explicit FakeAccount(FakeProvider provider = {}) : provider_(std::move(provider)) {}

    const pns::Platform& platform() const override { return *pns::platform_by_name("apns"); }
    Protocol protocol() const override { return provider_.protocol; }
    bool starts_with_one_stream() const override { return provider_.one_stream; }
    Hosts hosts() const override {
        return provider_.host_in_handle ? Hosts::channel : Hosts::fixed;
    }
    bool tokens_per_origin() const override { return provider_.tokens_per_origin; }
    pns::TokenSource token_source() const override { return provider_.tokens; }
    std::string token_key() const override { return provider_.key; }
    pns::TokenSource token_source_for(const pns::Origin& origin) const override {
        return provider_.tokens_of ? provider_.tokens_of(origin) : provider_.tokens;
    }
    std::string token_key_for(const pns::Origin& origin) const override {
        return provider_.tokens_of ? provider_.key + ' ' + origin.host : provider_.key;
    }
    pns::Checked<std::shared_ptr<const pns::Prepared>> prepare(
        const pns::Message& message) const override {
        auto out = std::make_shared<pns::Prepared>();
        out->headers = message.headers;
        out->body = std::make_shared<const std::string>(message.body);
        out->expires_at_ms = message.expires_at_ms;
        return std::shared_ptr<const pns::Prepared>(std::move(out));
    }
    pns::Origin origin(std::string_view handle) const override {
        pns::Origin out;
        out.host = provider_.host;
        if (provider_.host_in_handle) out.host = handle.substr(0, handle.find('/'));
        return out;
    }
    std::string authorization(std::string_view token) const override {
        return "bearer " + std::string(token);
    }
    void encode(const pns::Push& push, pns::Encoded& out) const override {
        out.path = "/" + std::string(push.handle);
        out.headers.clear();
        out.headers.emplace_back("x-id", std::to_string(push.id[0]));
        out.body.clear();
    }
    pns::Judgement judge(const pns::Push&, const pns::Answer& answer) const override {
        using pns::Outcome;
        std::string reason = std::to_string(answer.status);
        switch (answer.status) {
            case 200:
                return {pns::Accepted{}};
            case 410:
                return {pns::Dead{Outcome::expired_channel, std::move(reason)}};
            case 403:
                return {pns::Refused{Outcome::invalid_credentials, std::move(reason), true}};
            case 401: {
                pns::Judgement out{
                    pns::Refused{Outcome::invalid_credentials, std::move(reason), true}};
                out.step = pns::Judgement::Step::reauthorise;
                return out;
            }
            case 429: {
                const auto after_ms = std::stoll("0" + std::string(answer.header("x-throttle-ms")));
                pns::Judgement out{
                    pns::RetryLater{Outcome::throttled, std::move(reason), after_ms, true}};
                out.throttle_credential_ms = after_ms;
                return out;
            }
            case 420: {
                pns::Judgement out{
                    pns::RetryLater{Outcome::throttled, std::move(reason), 60'000, true}};
                out.throttle_if_many_ms = 60'000;
                return out;
            }
            case 425: {
                const auto after_ms = std::stoll("0" + std::string(answer.header("x-throttle-ms")));
                pns::Judgement out{
                    pns::RetryLater{Outcome::throttled, std::move(reason), after_ms, true}};
                out.throttle_credential_ms = after_ms;
                out.step = pns::Judgement::Step::earlier_token;
                return out;
            }
            case 500:
                return {pns::RetryLater{Outcome::pns_server_error, std::move(reason), 0}};
            case 502: {
                const auto after_ms = std::stoll("0" + std::string(answer.header("x-wait-ms")));
                return {
                    pns::RetryLater{Outcome::pns_unavailable, std::move(reason), after_ms, true}};
            }
            case 503: {
                pns::Judgement out{
                    pns::RetryLater{Outcome::pns_unavailable, std::move(reason), 0, true}};
                out.step = pns::Judgement::Step::resend_now;
                out.reconnect = true;
                return out;
            }
            default:
                return {pns::Refused{Outcome::unknown_error, std::move(reason)}};
        }
    }

  private:
    FakeProvider provider_;
};

}  // namespace support
