// Messages to FCM topics and conditions (docs/contracts/pns.md 2.3): Firebase keeps who subscribed,
// the hub only hands the message over. JSON. Tested by tests/hub_channels_test.cpp.
//
//   POST /{hub}/fcmv1/messages?topic=news                 {"message":{…},"validate_only":false}
//   POST /{hub}/fcmv1/messages?condition='a' in topics    the same
//
// 201 {"outcome","providerId"} once Firebase has taken it.

#include <algorithm>

#include "hub/api/handlers.hpp"
#include "hub/api/one_push.hpp"
#include "hub/http/problem.hpp"
#include "hub/text/json_text.hpp"

namespace hub {

namespace {

constexpr std::size_t topic_bytes_max = 900;
constexpr std::size_t condition_bytes_max = 4'096;
constexpr std::size_t condition_topics_max = 5;
constexpr std::string_view bad_topic =
    "A topic has 1 to 900 letters, digits or - _ . ~ %, without /topics/ before them.";

bool is_topic(std::string_view text) {
    return !text.empty() && text.size() <= topic_bytes_max &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || c == '.' || c == '~' || c == '%';
           });
}

/// Bounds only: the grammar is Firebase's.
std::optional<std::string> fault_of_condition(std::string_view text) {
    const bool printable =
        std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
    if (text.empty() || text.size() > condition_bytes_max || !printable)
        return "A condition has 1 to 4096 printable ASCII characters.";
    constexpr std::string_view member = " in topics";
    std::size_t topics = 0;
    for (auto at = text.find(member); at != std::string_view::npos;
         at = text.find(member, at + member.size()))
        ++topics;
    if (topics == 0) return "A condition names topics as in: 'news' in topics && 'de' in topics.";
    if (topics > condition_topics_max) return "A condition may name at most 5 topics.";
    return std::nullopt;
}

}  // namespace

pns::Task<Response> post_topic_message(Call call) {
    const Request& request = call.request;
    const auto topic = request.param("topic");
    const auto condition = request.param("condition");
    if (topic.has_value() == condition.has_value()) {
        co_return problem(request, 400, "invalid-target",
                          "Exactly one of the parameters topic and condition is needed.");
    }
    pns::Message message;
    message.target = topic ? pns::Message::Target::topic : pns::Message::Target::condition;
    if (topic && !is_topic(*topic)) co_return problem(request, 400, "invalid-target", bad_topic);
    if (condition) {
        if (const auto fault = fault_of_condition(*condition))
            co_return problem(request, 400, "invalid-target", *fault);
    }
    message.body = json_in_utf8(request.body);
    if (auto refusal = check_json(message.body, "The body")) co_return problem(request, *refusal);
    std::string target(topic ? *topic : *condition);
    const auto result = co_await push_once(call, "fcmv1", std::move(message), std::move(target));
    co_return one_push_answer(request, result, "Firebase does not know the target.");
}

}  // namespace hub
