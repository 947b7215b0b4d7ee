#pragma once

// One cell of the fault matrix: a real sender against a faithful simulator with one fault, in one
// delivery mode, judged by the simulator's journal (docs/contracts/pns.md 8.9). A mixture has
// several faults at once, and every eighth push is a bad one.

#include <boost/asio/post.hpp>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include "pns/alarm.hpp"
#include "pns/bearer.hpp"
#include "pns/clock.hpp"
#include "pns/handles.hpp"
#include "pns/nursery.hpp"
#include "pns/sim/platforms.hpp"
#include "pns/sim/webpush.hpp"
#include "tests/support/simulators.hpp"

namespace support {

enum class Mode : std::uint8_t { at_least_once, at_most_once };

struct Cell {
    std::string platform;
    const pns::sim::FaultRow* row = nullptr;
    Mode mode = Mode::at_least_once;
    std::uint64_t seed = 1;
    std::vector<const pns::sim::FaultRow*> others;  ///< of a mixture, beside `row`
};

struct CellResult {
    std::vector<std::string> problems;
    std::size_t delivered = 0, dead = 0, refused = 0, deferred = 0, unknown = 0, resends = 0;
    std::uint64_t struck = 0;
    pns::sim::Counters counters;
    std::int64_t ms = 0;
};

inline std::string cell_handle(const std::string& platform, std::size_t i) {
    const std::string number = std::to_string(10'000 + i);
    if (platform == "apns") return "ABCD0" + number;
    if (platform == "wns") return "https://db5p.notify.windows.com/?token=" + number;
    if (platform == "browser")
        return pns::sim::subscription(
            made_credential(platform).trust,
            "https://updates.push.services.mozilla.com/wpush/v2/device" + number);
    return "handle:" + number;
}

inline pns::Message cell_message(const std::string& platform) {
    if (platform == "apns") return message_of(R"({"aps":{"alert":"hello"}})");
    if (platform == "wns") return message_of("<toast/>", {{"x-wns-type", "wns/toast"}});
    if (platform == "adm") return message_of(R"({"data":{"a":"b"}})");
    if (platform == "browser") return message_of("hello");
    return message_of(platform == "hms" ? R"({"message":{"data":"{}"}})"
                                        : R"({"message":{"data":{"a":"b"}}})");
}

class CellRun final : private pns::PushOwner {
  public:
    explicit CellRun(const Cell& cell) : cell_(cell), resume_(io_.get_executor()) {}

    CellResult run() {
        const auto began_ms = pns::system_clock().steady_ms();
        auto options = sim_options(cell_.platform);
        options.ca = test_ca();
        options.seed = cell_.seed;
        options.latency.model = pns::sim::Latency::Model::uniform;
        options.latency.high_ms = 4;
        const auto sim = start_sim(std::move(options));
        strike(*sim);
        submit_all(*sim);
        pns::Nursery nursery(io_.get_executor());
        nursery_ = &nursery;
        boost::asio::post(io_, [this] { pump(); });
        io_.run_for(std::chrono::seconds(20));
        if (finals_ < devices_.size()) {
            need(false, "stuck: " + std::to_string(devices_.size() - finals_) + " pushes open");
            stopping_ = true;
            nursery.start(sender_->stop(0));
            io_.restart();
            io_.run_for(std::chrono::seconds(5));
        }
        result_.counters = sim->counters();
        const auto name = pns::sim::fault_name(*cell_.row);
        if (result_.counters.faults.count(name)) result_.struck = result_.counters.faults[name];
        if (is_mixed()) result_.struck = result_.counters.faults_total;
        judge(*sim);
        result_.ms = pns::system_clock().steady_ms() - began_ms;
        return std::move(result_);
    }

  private:
    using Kind = pns::Verdict::Kind;
    using Effect = pns::sim::FaultEffect;
    struct Device {
        std::string handle;
        pns::Push push;
        unsigned attempts = 0, verdicts = 0, unsent = 0;
        bool lost_once = false, final = false;
        std::int64_t due_ms = 0;
        std::optional<pns::Verdict> last;
    };

    bool is_mixed() const { return !cell_.others.empty(); }
    static bool is_bad(std::size_t device) { return device % 8 == 0; }
    int number() const { return cell_.row->number; }
    std::string_view variant() const { return cell_.row->variant; }
    /// Nothing can be delivered, however often it is tried. A clock that is wrong matters where the
    /// sender signs with its own.
    bool is_down_for_good() const {
        const bool signs =
            cell_.platform == "apns" || cell_.platform == "fcmv1" || cell_.platform == "browser";
        if (number() == 27 && variant() == "alpn" && cell_.platform == "browser")
            return false;  // a push service without ALPN is spoken to in HTTP/1.1
        return number() == 27 || number() == 26 || (number() == 35 && signs);
    }
    /// Several devices were told 429, and no pause was named or too long a one: the credential
    /// rests for a minute.
    bool is_held_for_long() const {
        if (number() != 22) return false;
        if (variant() == "absurd") return cell_.platform == "adm" || cell_.platform == "hms";
        return cell_.platform == "adm" && (variant() == "absent" || variant() == "negative");
    }
    /// Huawei says in the body of a 200 whether the push was taken.
    bool spoils_the_code() const {
        return cell_.platform == "hms" &&
               ((number() == 16 && !variant().empty() && variant() != "headers") ||
                (number() == 18 && variant() == "body"));
    }
    bool is_by_stream() const {
        if (is_mixed()) return false;
        return number() == 8 || number() == 31 || (number() == 19 && cell_.row->h1);
    }
    /// Noticed by a timeout of requests only, or ends connections with requests on them.
    bool is_silent() const {
        return is_mixed() || cell_.row->effect == Effect::ambiguous || number() == 12 ||
               number() == 15 || number() == 27;
    }
    /// Nobody listens, or the handshake never ends.
    bool is_down() const { return cell_.row->effect == Effect::down; }

    void strike(pns::sim::Simulator& sim) {
        pns::sim::Fault fault;
        fault.row = cell_.row;
        switch (cell_.row->point) {
            case pns::sim::FaultPoint::connection:
                fault.times = number() == 27 ? 0 : 2;
                break;
            case pns::sim::FaultPoint::request:
                fault.share = 0.25;
                // Connections that end without an answer are waited for: at most 1, 2 and 4 s.
                fault.times = is_silent() && !is_by_stream() ? 3 : 5;
                break;
            case pns::sim::FaultPoint::token:
                fault.times = 1;
                break;
            case pns::sim::FaultPoint::now:
                fault.ms = 150;
                break;
        }
        if (number() == 24) fault.times = 1;
        if (number() == 26 || number() == 32 || number() == 33) {
            fault.share = 1;
            fault.times = 0;
        }
        if (number() == 19 && variant().empty()) fault.ms = 60;
        if (number() == 20) fault.ms = 3;
        if (number() == 12 || number() == 25) fault.ms = 60;
        std::vector<pns::sim::Fault> faults(1, fault);
        if (is_mixed()) {
            faults.front().share = mixed_share;
            for (const auto* row : cell_.others) {
                faults.push_back(faults.front());
                faults.back().row = row;
                faults.back().ms = row->number == 19 ? 60 : row->number == 20 ? 3 : 0;
            }
            spoil_some(sim);
        }
        sim.set_faults(std::move(faults), cell_.seed);
    }

    void spoil_some(pns::sim::Simulator& sim) const {
        nlohmann::json handles;
        for (std::size_t i = 0; i < count; ++i) {
            if (is_bad(i)) handles[cell_handle(cell_.platform, i)] = i % 16 ? "gone" : "bad_handle";
        }
        sim.set_rules(rules_of(cell_.platform, {{"handles", handles}}));
    }

    void submit_all(const pns::sim::Simulator& sim) {
        pns::SenderSettings settings = pns::default_settings(cell_.platform);
        // Short where the fault is a silence; else a slow machine must not look like one.
        settings.request_timeout_ms = is_silent() ? (is_by_stream() ? 1'000 : 400) : 5'000;
        settings.connect_timeout_ms = is_silent() || is_down() ? 400 : 2'000;
        settings.ping_idle_ms = cell_.platform == "fcmv1" ? 0 : 150;
        settings.ping_timeout_ms = is_silent() && !is_by_stream() ? 150 : 2'000;
        settings.drain_ms_max = is_silent() ? 300 : 5'000;
        const auto& credential = made_credential(cell_.platform).credential;
        sender_ = pns::Sender::create(io_, credential, settings, network_of(sim), bearers_);
        auto message = cell_message(cell_.platform);
        if (number() == 13 && cell_.platform == "apns")
            message.body = R"({"aps":{"alert":")" + std::string(3'000, 'x') + "\"}}";
        auto prepared = sender_->prepare(message);
        if (const auto* refusal = std::get_if<pns::Refusal>(&prepared)) FAIL(refusal->message);
        devices_.resize(count);
        for (std::size_t i = 0; i < count; ++i) {
            devices_[i].handle = cell_handle(cell_.platform, i);
            pns::Push& push = devices_[i].push;
            push.handle = devices_[i].handle;
            push.prepared = std::get<std::shared_ptr<const pns::Prepared>>(prepared);
            push.id[0] = static_cast<std::uint8_t>(i >> 8);
            push.id[1] = static_cast<std::uint8_t>(i);
            push.owner = this;
            push.index = static_cast<std::uint32_t>(i);
            waiting_.push_back(&push);
        }
    }

    /// Submits what is due, and comes back for the rest.
    void pump() {
        const auto at_ms = pns::system_clock().steady_ms();
        std::int64_t next_ms = pns::never_ms;
        std::vector<pns::Push*> later;
        for (pns::Push* push : waiting_) {
            Device& device = devices_[push->index];
            if (device.due_ms > at_ms || sender_->room() == 0) {
                later.push_back(push);
                next_ms = std::min(next_ms, std::max(device.due_ms, at_ms + 5));
                continue;
            }
            ++device.attempts;
            sender_->submit(*push);
        }
        waiting_ = std::move(later);
        if (next_ms == pns::never_ms) return;
        resume_.expires_at(
            std::chrono::steady_clock::time_point(std::chrono::milliseconds(next_ms)));
        resume_.async_wait([this](const boost::system::error_code& ec) {
            if (!ec) pump();
        });
    }

    void on_verdict(pns::Push& push, pns::Verdict&& verdict) override {
        Device& device = devices_[push.index];
        ++device.verdicts;
        device.last.emplace(std::move(verdict));
        if (device.final) {
            need(false, "a second final verdict");
            return;
        }
        const bool lost = device.last->kind() == Kind::lost;
        device.lost_once = device.lost_once || lost;
        std::int64_t wait_ms = 0;
        if (const auto* later = device.last->get<pns::RetryLater>()) wait_ms = later->after_ms;
        const auto* unsent = device.last->get<pns::NotSent>();
        if (unsent != nullptr) wait_ms = std::max<std::int64_t>(unsent->after_ms, 200);
        const bool again = ((unsent != nullptr || device.last->kind() == Kind::retry_later) &&
                            wait_ms <= patience_ms) ||
                           (lost && cell_.mode == Mode::at_least_once);
        if (unsent != nullptr) ++device.unsent;
        const unsigned tried = device.attempts - (is_down_for_good() ? 0 : device.unsent);
        if (again && tried < (is_down_for_good() ? 2 : attempts_max) && !stopping_) {
            device.due_ms = pns::system_clock().steady_ms() + std::max<std::int64_t>(wait_ms, 20);
            waiting_.push_back(&push);
            boost::asio::post(io_, [this] { pump(); });
            return;
        }
        device.final = true;
        // Of what is down, or held, for long one push stays behind to find out whether it still is.
        const std::size_t left = is_down_for_good() ? kept_max : is_held_for_long() ? 1 : 0;
        if (++finals_ + left >= devices_.size() && !stopping_) {
            stopping_ = true;
            // What waits here for its time stays put off: the sender has no room any more.
            for (const pns::Push* one : std::exchange(waiting_, {})) {
                devices_[one->index].final = true;
                ++finals_;
            }
            nursery_->start(sender_->stop(300));
        }
    }

    void need(bool good, const std::string& otherwise) {
        if (!good && result_.problems.size() < 10) result_.problems.push_back(otherwise);
    }

    void judge(const pns::sim::Simulator& sim) {
        std::map<std::string, unsigned> taken;
        for (const auto& entry : sim.entries(true)) ++taken[entry.handle];
        for (const Device& device : devices_) {
            const unsigned times = taken.count(device.handle) ? taken[device.handle] : 0;
            need(device.verdicts == device.attempts, "verdicts differ from submits");
            if (!device.last) continue;
            switch (device.last->kind()) {
                case Kind::accepted:
                    ++result_.delivered;
                    need(times >= 1, "called delivered, never taken (" +
                                         std::string(device.last->reason()) + ")");
                    break;
                case Kind::dead:
                case Kind::suspect:
                    ++result_.dead;
                    break;
                case Kind::refused:
                    ++result_.refused;
                    break;
                case Kind::retry_later:
                case Kind::not_sent:
                    ++result_.deferred;
                    break;
                case Kind::lost:
                    ++result_.unknown;
                    break;
            }
            need(times <= 1 || device.lost_once, "a double without any doubt");
            if (cell_.mode == Mode::at_most_once) need(times <= 1, "a double in at-most-once");
            // Not unknown, not delivered: then it must not have been taken.
            if (device.last->kind() != Kind::accepted && !device.lost_once)
                need(times == 0, "taken, but called " + std::string(device.last->reason()));
        }
        result_.resends = static_cast<std::size_t>(sender_->figures().resends);
        is_mixed() ? judge_mixture() : judge_effect();
        judge_connections();
    }

    void judge_effect() {
        const auto& c = result_.counters;
        const auto all = devices_.size();
        // Requests are written before SETTINGS have come: a connection that ends there leaves
        // doubt.
        const bool ambiguous = cell_.row->effect == Effect::ambiguous || number() == 15 ||
                               (number() == 12 && !variant().empty()) || spoils_the_code();
        const bool at_least = cell_.mode == Mode::at_least_once;
        if (number() == 32 || number() == 33) {
            need(result_.dead == all && c.accepted == 0, "not every handle was called dead");
            judge_timestamps();
        } else if (is_down_for_good()) {
            need(number() == 35 || (result_.delivered == 0 && c.accepted == 0),
                 "delivered with a credential or peer that must not be trusted");
            need(result_.dead == 0, "handles called dead for a fault of the credential");
            need(c.received <= 2 * all + 16, "did not stop");
        } else if (number() == 24 && (cell_.platform == "apns" || cell_.platform == "browser")) {
            // A token it signed itself minutes ago cannot have expired: told as a clock fault.
            need(result_.delivered + result_.refused == all, "neither delivered nor refused");
            need(result_.dead == 0, "handles called dead for a fault of the credential");
        } else if (number() == 23 ||
                   (number() == 16 && variant() == "json" && !spoils_the_code())) {
            // Some ask for a longer pause than this cell is patient.
            need(result_.delivered + result_.deferred == all, "lost under server errors");
            need(result_.deferred <= (cell_.platform == "apns" ? 0 : result_.struck),
                 "more put off than struck");
            need(c.doubles == 0, "doubles");
        } else if (number() == 22 || number() == 21) {
            need(result_.delivered + result_.deferred == all, "lost under throttling");
            need(result_.deferred == 0 || variant() == "absurd" || variant() == "absent" ||
                     variant() == "negative" ||  // no number of seconds: as if it were absent
                     cell_.platform != "apns",   // the others hold the whole credential
                 "throttling outlasted its end");
        } else if (ambiguous) {
            need(at_least ? result_.delivered == all : result_.delivered + result_.unknown == all,
                 at_least ? "a loss in at-least-once" : "neither delivered nor unknown");
            if (!at_least && is_by_stream())
                need(result_.unknown == result_.struck, "unknown differs from what was struck");
        } else {
            need(result_.delivered == all, "not everything was delivered");
            need(c.doubles == 0, "doubles");
            need(result_.unknown == 0, "doubt without reason");
        }
    }

    void judge_mixture() {
        std::size_t good = 0, delivered = 0, unknown = 0, dead = 0, wrong = 0;
        for (const Device& device : devices_) {
            const Kind kind = device.last->kind();
            const bool bad = is_bad(device.push.index);
            good += !bad;
            delivered += !bad && kind == Kind::accepted;
            unknown += !bad && kind == Kind::lost;
            dead += bad && (kind == Kind::dead || kind == Kind::suspect || kind == Kind::lost);
            wrong += bad && kind == Kind::accepted;
        }
        const bool at_least = cell_.mode == Mode::at_least_once;
        need(delivered + (at_least ? 0 : unknown) == good,
             at_least ? "a loss in at-least-once" : "neither delivered nor unknown");
        need(wrong == 0, "a bad push was called delivered");
        // An answer that a fault spoils may lose the word about its handle.
        need(good + dead + result_.struck >= devices_.size(), "bad handles were not called dead");
    }

    void judge_timestamps() {
        if (cell_.platform != "apns" || number() != 33) return;
        const auto at_ms = pns::system_clock().wall_ms();
        for (const Device& device : devices_) {
            const auto since = device.last->get<pns::Dead>()->dead_since_ms;
            if (variant().empty()) need(since < at_ms - 9 * 86'400'000LL, "timestamp not kept");
            // A time to come would prune registrations that are made only now.
            if (variant() == "after")
                need(since <= at_ms && since > at_ms - 60'000, "a time to come was kept");
        }
    }

    void judge_connections() {
        const auto& c = result_.counters;
        need(c.above_limit == 0, "streams above the limit: " + std::to_string(c.above_limit));
        need(c.after_goaway == 0, "streams after GOAWAY: " + std::to_string(c.after_goaway));
        need(c.tokens_minted <= 4, "tokens minted: " + std::to_string(c.tokens_minted));
        need(c.provider_tokens_seen <= 3,
             "provider tokens: " + std::to_string(c.provider_tokens_seen));
        const std::uint64_t bound = (sim_is_h1() ? 3 * count : 24) * (1 + cell_.others.size());
        need(c.connects <= bound, "connects: " + std::to_string(c.connects));
    }
    bool sim_is_h1() const {
        return pns::sim::sim_platform(cell_.platform)->alpn.front() == "http/1.1";
    }

    static constexpr std::size_t count = 80;
    static constexpr double mixed_share = 0.05;
    static constexpr unsigned attempts_max = 40;
    static constexpr std::int64_t patience_ms = 2'500;
    static constexpr std::size_t kept_max = 4;  ///< one an origin

    Cell cell_;
    boost::asio::io_context io_{1};
    boost::asio::steady_timer resume_;
    pns::BearerCache bearers_{pns::system_clock()};
    std::unique_ptr<pns::Sender> sender_;
    std::deque<Device> devices_;
    std::vector<pns::Push*> waiting_;
    pns::Nursery* nursery_ = nullptr;
    std::size_t finals_ = 0;
    bool stopping_ = false;
    CellResult result_;
};

}  // namespace support
