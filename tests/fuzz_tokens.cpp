// Continuation tokens, and the places that they name: whoever forges a token may name any place of
// any list. Walked row by row from there, a list ends and shows what it shows at once; no place
// leads to anything that the list does not have.
// Inputs: up to 4096 bytes, a token.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/http/continuation.hpp"
#include "registry/registry.hpp"
#include "registry/trace_store.hpp"
#include "tests/support/registry_fixture.hpp"

namespace {

constexpr std::int64_t now_ms = 1'795'200'000'000;
constexpr std::uint32_t traced_hub = 3;
constexpr std::size_t rows_max = 30;  // more than any list here has

void require(bool holds) {
    if (!holds) std::abort();
}

/// One page: its rows by name, and the place where the next one begins.
struct Page {
    std::vector<std::string> rows;
    std::string next;
};
/// Nothing: the place is none of this list.
using List = std::function<std::optional<Page>(std::string_view after, std::size_t count_max)>;

/// All rows from `start` on. Nothing: it is no place of the list.
std::optional<std::vector<std::string>> walk(const List& list, std::string start,
                                             std::size_t count_max) {
    constexpr std::size_t pages_max = 60;
    std::optional<std::vector<std::string>> rows;
    for (std::size_t pages = 0;; ++pages) {
        require(pages < pages_max);
        const auto page = list(start, count_max);
        require(page || !rows);  // a place that a page gave is one of the list
        if (!page) return rows;
        require(page->rows.size() <= count_max);
        if (!rows) rows.emplace();
        rows->insert(rows->end(), page->rows.begin(), page->rows.end());
        if (page->next.empty()) return rows;
        start = page->next;
    }
}

registry::TraceEvent event_of(std::string_view send, std::string_view device, std::uint32_t number,
                              std::uint8_t attempt) {
    registry::TraceEvent event;
    event.hub = traced_hub;
    event.send_id = send;
    event.enqueued_at_ms = now_ms - 2'000;
    event.device_id = event.registration_id = device;
    event.number = number;
    event.platform = "apns";
    event.attempt = attempt;
    event.at_ms = now_ms - 1'000 + attempt;
    event.retry_at_ms = attempt == 1 ? now_ms : 0;
    event.outcome = attempt == 1 ? "Throttled" : "Success";
    return event;
}

/// A few rows of each kind.
class Stores {
  public:
    Stores() : registry_(registry_test::options_in(directory_.path())) {
        hub_ = registry_.hub("orders", 2);
        const auto other = registry_.hub("other", 1);
        for (const char* id : {"1-1-1", "1-2-1", "7-1-9"}) {
            registry_.put(hub_, registry_test::registration(id, "h", {"t"})).value();
            registry_.put(other, registry_test::registration(id, "h", {"t"})).value();
        }
        for (const char* id : {"a", "B", "b", "phone"}) {
            auto value = registry_test::installation(id, "h", {"t"});
            value.templates["n"] = {"n", "{}", {}, "", "", {}};
            registry_.install(hub_, value).value();
            registry_.install(other, value).value();
        }
        for (const char* id : {"NH-20261121-1", "NH-20261121-2", "NH-20261122-1"}) {
            registry::Send send;
            send.id = id;
            send.format = "apple";
            send.body = "{}";
            send.enqueued_at_ms = now_ms;
            registry::Progress done;
            done.state = registry::SendState::no_target;
            registry_.accept(hub_, send, {}, done).value();
        }
        registry::TraceOptions options;
        options.directory = directory_.path();
        std::string why;
        auto opened = registry::TraceStore::open(options, why);
        if (!opened) throw std::runtime_error(why);
        trace_ = std::move(*opened);
        fill_trace();
        make_lists();
        for (auto& [list, rows] : lists_) rows = walk(list, "", rows_max).value();
    }
    /// A list, and all its rows.
    const std::pair<List, std::vector<std::string>>& list(std::size_t i) const {
        return lists_[i % lists_.size()];
    }

  private:
    void add(List list) { lists_.emplace_back(std::move(list), std::vector<std::string>()); }

    void fill_trace() {
        std::string events;
        for (std::uint32_t number = 0; number < 4; ++number) {
            const std::string device = "phone" + std::to_string(number / 2);
            for (const std::uint8_t attempt : {std::uint8_t{1}, std::uint8_t{2}})
                registry::append_trace_event(
                    events, event_of(number < 2 ? "s" : "s2", device, number, attempt));
        }
        for (const std::uint32_t number : {7u, 8u, 9u})
            registry::append_trace_event(events, event_of("s", "phone", number, 2));
        require(trace_->write_events(events).has_value());
        std::vector<registry::RetirementRecord> records(3);
        for (std::size_t i = 0; i < records.size(); ++i) {
            records[i].hub = traced_hub;
            records[i].at_ms = now_ms - static_cast<std::int64_t>(i);
            records[i].platform = "apns";
            records[i].installation_id = "phone";
            records[i].reason = std::to_string(i);
        }
        require(trace_->write_retirements(records).has_value());
        const registry::NewDetails details[] = {{traced_hub, "a", now_ms, "text"},
                                                {traced_hub, "a/b", now_ms, "text"},
                                                {traced_hub, "c", now_ms, "text"}};
        require(trace_->write_details(details).has_value());
    }

    void make_lists() {
        using Query = registry::DeviceQuery;
        for (const bool few : {true, false}) {
            add([this, few](std::string_view after, std::size_t count_max) {
                Query query;
                query.plan = registry_test::plan_of("t");
                query.after = after;
                if (!after.empty()) query.after[0] = after[0] % 2 == 0 ? 'r' : 'i';
                query.count_max = count_max;
                if (!few) query.reads_max = 1;
                const auto found = registry_->devices(hub_, query);
                require(found.has_value());
                Page page{{}, found->next};
                for (const auto& one : found->devices)
                    page.rows.push_back(one.installation ? "i" + one.installation->id
                                                         : "r" + one.registration->id);
                return std::optional(std::move(page));
            });
        }
        const auto registrations = [](const registry::Result<registry::Page>& found) {
            require(found.has_value());
            Page page{{}, found->next};
            for (const auto& one : found->registrations) page.rows.push_back(one.id);
            return std::optional(std::move(page));
        };
        for (const std::string_view tag : {"", "t"}) {
            add([this, tag, registrations](std::string_view after, std::size_t count_max) {
                return registrations(registry_->list(hub_, tag, after, count_max));
            });
        }
        add([this](std::string_view after, std::size_t count_max) {
            registry::SendQuery query;
            query.below = after;
            query.count_max = count_max;
            const auto found = registry_->list_sends(hub_, query);
            require(found.has_value());
            Page page{{}, found->next};
            for (const auto& [send, progress] : found->sends) page.rows.push_back(send.id);
            return std::optional(std::move(page));
        });
        make_trace_lists();
    }

    void make_trace_lists() {
        const auto pushes = [](const registry::Result<registry::TracePage>& found) {
            if (!found && found.error() == registry::errc::not_found) return std::optional<Page>();
            require(found.has_value());
            Page page{{}, found->next};
            for (const auto& push : found->pushes) {
                require(!push.attempts.empty());
                page.rows.push_back(push.send_id + ' ' + push.device_id + ' ' +
                                    std::to_string(push.attempts.size()));
            }
            return std::optional(std::move(page));
        };
        add([this, pushes](std::string_view after, std::size_t count_max) {
            return pushes(trace_->of_send(traced_hub, "s", "", after, count_max, now_ms));
        });
        add([this, pushes](std::string_view after, std::size_t count_max) {
            return pushes(trace_->of_device(traced_hub, registry::DeviceKind::installation, "phone",
                                            after, count_max, now_ms));
        });
        add([this](std::string_view after, std::size_t count_max) -> std::optional<Page> {
            const auto found =
                trace_->retirements_of_device(traced_hub, "phone", after, count_max, now_ms);
            if (!found && found.error() == registry::errc::not_found) return std::nullopt;
            require(found.has_value());
            Page page{{}, found->next};
            for (const auto& one : found->records) page.rows.push_back(one.reason);
            return page;
        });
        add([this](std::string_view after, std::size_t count_max) {
            const auto found = trace_->list_details(traced_hub, "", after, count_max, now_ms);
            require(found.has_value());
            Page page;
            for (const auto& one : *found) page.rows.push_back(one.name);
            if (found->size() == count_max) page.next = found->back().name;
            return std::optional(std::move(page));
        });
    }

    registry_test::TempDirectory directory_;
    registry_test::Opened registry_;
    std::uint32_t hub_ = 0;
    std::unique_ptr<registry::TraceStore> trace_;
    std::vector<std::pair<List, std::vector<std::string>>> lists_;
};

void check_list(const List& list, const std::vector<std::string>& all, std::string_view after) {
    const auto at_once = walk(list, std::string(after), rows_max);
    require(walk(list, std::string(after), 1) == at_once);
    for (const auto& row : at_once.value_or(std::vector<std::string>()))
        require(std::find(all.begin(), all.end(), row) != all.end());
}

void check_token(std::string_view kind, std::string_view filter, std::string_view text) {
    const auto list = hub::list_name(kind, 1, {filter, "b"});
    (void)hub::continuation_place(list, text);
    const auto token = hub::continuation_token(list, text);
    const auto place = hub::continuation_place(list, token);
    require(place || text.empty() || token.size() > 4'096);
    if (place) require(*place == text);
    require(!hub::continuation_place(hub::list_name(kind, 2, {filter, "b"}), token));
    require(!hub::continuation_place(hub::list_name(kind, 1, {"b", filter}), token) ||
            filter == "b");
    require(
        !hub::continuation_place(hub::list_name(kind, 1, {std::string(filter) + "\n1:b"}), token));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const Stores stores;
    if (size < 1) return 0;
    const std::string_view text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    const auto& [list, rows] = stores.list(bytes[0]);
    check_list(list, rows, text);
    const auto first = std::min(text.find('\n'), text.size());
    check_token("kind", text.substr(0, first), text.substr(first));
    return 0;
}
