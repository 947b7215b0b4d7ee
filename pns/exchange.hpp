#pragma once

// One request that uses a hub's credential and is no push (APNs channel management), over an HTTP/2
// connection of its own. It shares the provider token with all senders of the credential, and a
// refused token is renewed once, under the same rules.

#include <functional>
#include <string>

#include "pns/account.hpp"
#include "pns/bearer.hpp"
#include "pns/task.hpp"

namespace pns {

struct ExchangeRequest {
    Origin origin;
    std::string method;  ///< GET, POST or DELETE
    std::string path;
    Headers headers;  ///< names lower case, without authorization
    std::string body;
};

struct ExchangeAnswer {
    int status = 0;
    Headers headers;  ///< names lower case
    std::string body;
    bool body_cut = false;
    std::string_view header(std::string_view name) const {  ///< first value, or empty
        for (const auto& [key, value] : headers)
            if (key == name) return value;
        return {};
    }
    /// As an account judges answers; views into this.
    template <class Use>
    auto judged_by(const Use& use, std::int64_t now_ms) const {
        std::vector<std::pair<std::string_view, std::string_view>> views(headers.begin(),
                                                                         headers.end());
        Answer answer;
        answer.status = status;
        answer.headers = views;
        answer.body = body;
        answer.body_cut = body_cut;
        answer.now_ms = now_ms;
        return use(answer);
    }
};

constexpr std::size_t exchange_body_bytes_max = 1024 * 1024;

/// `account` outlives the task. A token that has to be fetched is waited for. `token_refused` says
/// whether an answer calls for a new token. Ends within the timeouts of `settings` and of a fetch,
/// twice at most; may be cancelled.
Task<Result<ExchangeAnswer>> exchange(Executor executor, const Account& account,
                                      ExchangeRequest request, const SenderSettings& settings,
                                      const Network& network, BearerCache& bearers,
                                      std::function<bool(const ExchangeAnswer&)> token_refused);

}  // namespace pns
