// Tested by tests/pns_sim_faults_test.cpp.
//
// The table has one row for each fault and variant: where it strikes, what it costs, whether
// HTTP/1.1 has it. Faults are read from JSON or from one line and chosen by count, share, time,
// handle or header. A coin that is a hash of seed and ordinal decides shares, so a run can be
// repeated. The book is asked for each connection and request, under one lock.
#include "pns/sim/faults.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "pns/mixing.hpp"
#include "pns/sim/provider.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;
using enum FaultPoint;
using enum FaultEffect;

constexpr std::size_t faults_max = 1'000;
constexpr std::uint32_t count_max = 0xffffffff;

double coin(std::uint64_t seed, std::uint64_t a, std::uint64_t b) {
    const std::uint64_t x = seed ^ (a + 1) * golden_gap ^ (b + 1) * 0xd6e8feb86659fd93U;
    return static_cast<double>(mixed(x) >> 11) * 0x1.0p-53;
}

/// "F05", "F05 garbage", "F05:garbage".
const FaultRow* named_row(std::string_view name, std::string_view variant) {
    if (name.size() < 3 || (name[0] != 'F' && name[0] != 'f')) return nullptr;
    int number = 0;
    const auto [end, error] = std::from_chars(name.data() + 1, name.data() + 3, number);
    if (error != std::errc() || end != name.data() + 3) return nullptr;
    if (name.size() > 3) {
        if (name[3] != ' ' && name[3] != ':') return nullptr;
        variant = name.substr(4);
    }
    return fault_row(number, variant);
}

std::string unknown_fault(std::string_view name) {
    return "no such fault: " + std::string(name.substr(0, 40)) +
           "; GET /faults or --list-faults lists them";
}

bool read_member(Fault& fault, const std::string& name, const Json& value) {
    const bool counts = value.is_number_integer() && value >= 0 && value <= count_max;
    if (name == "share" && value.is_number()) {
        fault.share = value.get<double>();
        return fault.share >= 0 && fault.share <= 1;
    }
    if (name == "nth" && counts)
        fault.nth = value.get<std::uint64_t>();
    else if (name == "every" && counts)
        fault.every = value.get<std::uint64_t>();
    else if (name == "times" && counts)
        fault.times = value.get<std::uint32_t>();
    else if (name == "after_ms" && counts)
        fault.after_ms = value.get<std::int64_t>();
    else if (name == "for_ms" && counts)
        fault.for_ms = value.get<std::int64_t>();
    else if (name == "ms" && counts)
        fault.ms = value.get<std::int64_t>();
    else if (name == "code" && counts)
        fault.code = value.get<std::uint32_t>();
    else if (name == "prefix" && value.is_string())
        fault.prefix = value.get<std::string>();
    else if (name == "header" && value.is_string())
        fault.header = value.get<std::string>();
    else if (name == "value" && value.is_string())
        fault.value = value.get<std::string>();
    else if (name == "text" && value.is_string())
        fault.text = value.get<std::string>();
    else if (name == "taken" && value == "yes")
        fault.taken = Fault::Taken::yes;
    else if (name == "taken" && value == "no")
        fault.taken = Fault::Taken::no;
    else if (name == "taken" && value == "half")
        fault.taken = Fault::Taken::half;
    else
        return false;
    return true;
}

std::variant<Fault, std::string> read_fault(const Json& json) {
    Fault fault;
    if (json.is_string()) {
        fault.row = named_row(json.get<std::string>(), {});
        if (!fault.row) return unknown_fault(json.get<std::string>());
        return fault;
    }
    if (!json.is_object()) return "a fault is a name or an object";
    const std::string name = json.contains("fault") && json["fault"].is_string()
                                 ? json["fault"].get<std::string>()
                                 : std::string();
    const std::string variant = json.contains("variant") && json["variant"].is_string()
                                    ? json["variant"].get<std::string>()
                                    : std::string();
    if (json.contains("rule")) {
        fault.rule = read_behaviour(json["rule"]);
        if (!fault.rule) return "a rule is not known: " + json["rule"].dump();
    } else {
        fault.row = named_row(name, variant);
        if (!fault.row) return unknown_fault(variant.empty() ? name : name + ' ' + variant);
    }
    for (const auto& [member, value] : json.items())
        if (member != "fault" && member != "variant" && member != "rule" &&
            !read_member(fault, member, value))
            return "a fault's member is not known or out of range: " + member;
    return fault;
}

FaultPoint point_of(const Fault& fault) {
    return fault.rule ? FaultPoint::request : fault.row->point;
}

}  // namespace

const std::vector<FaultRow>& fault_rows() {
    static const std::vector<FaultRow> rows = {
        {1, "", request, harmless, true,
         "GOAWAY NO_ERROR with the highest id; what is in flight is answered, then closed. "
         "HTTP/1.1: connection: close"},
        {2, "", request, unprocessed, false,
         "GOAWAY with an id below this stream and those that follow"},
        {3, "", request, harmless, false,
         "graceful GOAWAY in two steps: 2^31-1, after `ms` (20) the real id"},
        {4, "", request, harmless, false, "GOAWAY, all is answered, the socket is never closed"},
        {4, "mute", request, ambiguous, false, "GOAWAY, nothing more is answered or closed"},
        {5, "", request, harmless, false, "GOAWAY with {\"reason\":`text`} (Shutdown)"},
        {5, "certificate", request, harmless, false,
         "GOAWAY with the reason BadCertificateEnvironment"},
        {5, "empty", request, harmless, false, "GOAWAY with an error code and no data"},
        {5, "garbage", request, harmless, false, "GOAWAY with 16 KiB of garbage"},
        {5, "oversize", request, ambiguous, false,
         "GOAWAY with 64 KiB of garbage: longer than a frame may be"},
        {6, "", connection, down, true, "GOAWAY right after the handshake. HTTP/1.1: close"},
        {7, "", request, unprocessed, false, "RST_STREAM REFUSED_STREAM"},
        {8, "", request, ambiguous, false, "RST_STREAM INTERNAL_ERROR before the answer"},
        {8, "cancel", request, ambiguous, false, "RST_STREAM CANCEL before the answer"},
        {8, "calm", request, ambiguous, false, "RST_STREAM ENHANCE_YOUR_CALM before the answer"},
        {9, "", request, harmless, false, "RST_STREAM after the answer's HEADERS"},
        {10, "", request, harmless, false,
         "SETTINGS lowers the stream limit to 1, after `ms` (20) to half of what it was"},
        {10, "zero", request, harmless, false,
         "SETTINGS lowers the stream limit to 0, after `ms` (20) it is back"},
        {11, "", request, harmless, false, "SETTINGS INITIAL_WINDOW_SIZE 0, after `ms` (20) 65535"},
        {11, "frame", request, harmless, false, "SETTINGS MAX_FRAME_SIZE 65536, then 16384"},
        {11, "table", request, harmless, false, "SETTINGS HEADER_TABLE_SIZE 0, then 65536"},
        {12, "", connection, harmless, false, "no SETTINGS for `ms` (200)"},
        {12, "never", connection, down, false, "no SETTINGS at all"},
        {13, "", connection, ambiguous, false, "no WINDOW_UPDATE: bodies stall after 64 KiB"},
        {14, "", request, ambiguous, true,
         "the peer goes deaf: nothing is read, written or closed for `ms` (60000)"},
        {15, "", request, ambiguous, true, "TCP reset"},
        {15, "handshake", connection, down, true, "TCP reset between handshake and SETTINGS"},
        {16, "", request, ambiguous, true, "half a frame header (status line), then the end"},
        {16, "headers", request, ambiguous, true, "half of the answer's HEADERS, then the end"},
        {16, "short", request, harmless, true,
         "an answer shorter than its content-length, then the end of the stream"},
        {16, "json", request, answered, true, "status 500 with truncated JSON"},
        {17, "", request, ambiguous, true, "a frame beyond the size limit. HTTP/1.1: no HTTP"},
        {17, "padding", request, ambiguous, false, "padding longer than its frame"},
        {17, "hpack", request, ambiguous, false, "an HPACK index beyond the table"},
        {17, "continuation", request, ambiguous, false, "HEADERS with 100000 empty CONTINUATIONs"},
        {17, "stream0", request, ambiguous, false, "DATA on stream 0"},
        {18, "", request, harmless, false, "an answer with 100 KiB of headers"},
        {18, "many", request, harmless, false, "an answer with 10000 small headers"},
        {18, "body", request, harmless, true, "an answer with a body of 10 MiB"},
        {19, "", request, harmless, true, "the answer comes `ms` (1000) late"},
        {19, "never", request, ambiguous, true, "the answer never comes"},
        {20, "", request, harmless, true, "the body of the answer drips: one byte every `ms` (50)"},
        {21, "", request, answered, true, "503"},
        {21, "after", request, answered, true, "503 with Retry-After `text` (1)"},
        {22, "", request, answered, true, "429 with Retry-After in seconds (`text`: 1)"},
        {22, "date", request, answered, true,
         "429 with Retry-After as HTTP date, at most two seconds ahead"},
        {22, "absent", request, answered, true, "429 without Retry-After"},
        {22, "negative", request, answered, true, "429 with Retry-After -5"},
        {22, "absurd", request, answered, true, "429 with Retry-After 1000000000"},
        {23, "", request, answered, true, "500 (choose the poisoned handle with `prefix`)"},
        {24, "", request, harmless, true, "every token handed out so far has expired"},
        {25, "", token, harmless, true, "the token endpoint answers `ms` (200) late"},
        {25, "500", token, harmless, true, "the token endpoint answers 500"},
        {25, "malformed", token, harmless, true, "the token endpoint answers broken JSON"},
        {25, "string", token, harmless, true, "expires_in is a string"},
        {25, "tiny", token, harmless, true, "expires_in is 1"},
        {25, "missing", token, harmless, true, "expires_in is missing"},
        {26, "", request, answered, true, "the credential is refused (401 or 403)"},
        {27, "", connection, down, true, "TLS: the certificate has expired"},
        {27, "name", connection, down, true, "TLS: a certificate for another name"},
        {27, "ca", connection, down, true, "TLS: an unknown authority"},
        {27, "tls11", connection, down, true, "TLS: nothing newer than 1.1"},
        {27, "alpn", connection, down, false, "TLS: no protocol is agreed on by ALPN"},
        {27, "stall", connection, down, true, "TLS: silence after the ClientHello"},
        {27, "alert", connection, down, true, "TLS: an alert after the ClientHello"},
        {27, "client", connection, down, true, "TLS: a client certificate is demanded"},
        {28, "", now, down, true,
         "names: played by what the client resolves, not by the simulator (see --connect-to)"},
        {29, "", connection, down, true, "accepted and closed at once"},
        {29, "refused", now, down, true, "nobody listens for `ms` (300)"},
        {29, "queue", now, down, true, "nobody accepts for `ms` (300)"},
        {30, "", request, harmless, false, "the answer's HEADERS come twice"},
        {30, "informational", request, harmless, true, "103 before the answer"},
        {30, "trailers", request, harmless, true, "trailers after the answer"},
        {30, "push", request, ambiguous, false, "a PUSH_PROMISE that nobody allowed"},
        {31, "", request, ambiguous, false, "an answer on a stream that the client has cancelled"},
        {32, "", request, answered, true, "every handle is called gone"},
        {33, "", request, answered, true, "gone since ten days ago: before it registered"},
        {33, "equal", request, answered, true, "gone since now"},
        {33, "after", request, answered, true, "gone since a minute ahead"},
        {34, "", request, harmless, true,
         "accepted, with a new handle where the provider has that"},
        {35, "", now, answered, true, "the provider's clock is two hours ahead"},
        {35, "behind", now, answered, true, "the provider's clock is two hours behind"},
        {36, "", request, ambiguous, true, "closed at the moment a request is written"},
    };
    return rows;
}

const FaultRow* fault_row(int number, std::string_view variant) {
    const auto& rows = fault_rows();
    const auto found = std::find_if(rows.begin(), rows.end(), [&](const FaultRow& row) {
        return row.number == number && row.variant == variant;
    });
    return found == rows.end() ? nullptr : &*found;
}

std::string fault_name(const FaultRow& row) {
    std::string out = row.number < 10 ? "F0" : "F";
    out += std::to_string(row.number);
    if (!row.variant.empty()) out.append(" ").append(row.variant);
    return out;
}

std::variant<std::vector<Fault>, std::string> read_faults(const Json& json, bool h1) {
    if (!json.is_object()) return "faults must be a JSON object";
    std::vector<Fault> out;
    const Json list = json.value("faults", Json::array());
    if (!list.is_array() || list.size() > faults_max)
        return "faults must be a list of at most " + std::to_string(faults_max);
    for (const Json& item : list) {
        auto fault = read_fault(item);
        if (auto* wrong = std::get_if<std::string>(&fault)) return std::move(*wrong);
        out.push_back(std::get<Fault>(std::move(fault)));
    }
    if (!json.contains("mix")) return out;
    const double share = json["mix"].is_number() ? json["mix"].get<double>() : -1;
    if (!(share >= 0 && share <= 1)) return "mix must be a number from 0 to 1";
    std::vector<Fault> mixed;
    if (json.contains("of")) {
        if (!json["of"].is_array()) return "of must be a list of names";
        for (const Json& name : json["of"]) {
            auto fault = read_fault(name);
            if (auto* wrong = std::get_if<std::string>(&fault)) return std::move(*wrong);
            mixed.push_back(std::get<Fault>(std::move(fault)));
        }
    } else {
        for (const FaultRow& row : fault_rows())
            if (row.point == FaultPoint::request && (row.h1 || !h1)) {
                mixed.emplace_back();
                mixed.back().row = &row;
            }
    }
    for (Fault& fault : mixed) {
        fault.share = share / static_cast<double>(mixed.size());
        out.push_back(std::move(fault));
    }
    return out;
}

std::variant<std::vector<Fault>, std::string> read_faults_line(std::string_view text, bool h1) {
    Json list = Json::array();
    while (!text.empty()) {
        const std::string_view item = text.substr(0, text.find(','));
        text.remove_prefix(std::min(item.size() + 1, text.size()));
        const std::size_t equals = std::min(item.find('='), item.size());
        Json one = {{"fault", item.substr(0, equals)}};
        if (equals < item.size()) {
            const Json share = Json::parse(item.substr(equals + 1), nullptr, false);
            if (!share.is_number()) return "a share must be a number from 0 to 1";
            one["share"] = share;
        }
        list.push_back(std::move(one));
    }
    return read_faults({{"faults", std::move(list)}}, h1);
}

void FaultBook::replace(std::vector<Fault> faults, std::int64_t now_ms, std::uint64_t seed) {
    const std::lock_guard lock(mutex_);
    armed_.clear();
    for (Fault& fault : faults)
        armed_.push_back({std::make_shared<const Fault>(std::move(fault)), 0});
    arrivals_ = {};
    set_ms_ = now_ms;
    seed_.store(seed, std::memory_order_relaxed);
    any_.store(!armed_.empty(), std::memory_order_release);
}

FaultHit FaultBook::on_connection(std::int64_t now_ms) {
    if (!any()) return nullptr;
    const std::lock_guard lock(mutex_);
    return pick(FaultPoint::connection, ++arrivals_[0], now_ms, nullptr, {});
}

FaultHit FaultBook::on_token(std::int64_t now_ms) {
    if (!any()) return nullptr;
    const std::lock_guard lock(mutex_);
    return pick(FaultPoint::token, ++arrivals_[1], now_ms, nullptr, {});
}

FaultHit FaultBook::on_request(const Request& request, std::string_view handle,
                               std::int64_t now_ms) {
    if (!any()) return nullptr;
    const std::lock_guard lock(mutex_);
    return pick(FaultPoint::request, ++arrivals_[2], now_ms, &request, handle);
}

FaultHit FaultBook::pick(FaultPoint point, std::uint64_t ordinal, std::int64_t now_ms,
                         const Request* request, std::string_view handle) {
    for (std::size_t i = 0; i < armed_.size(); ++i) {
        Armed& armed = armed_[i];
        const Fault& fault = *armed.fault;
        if (point_of(fault) != point) continue;
        if (fault.times != 0 && armed.spent >= fault.times) continue;
        if (fault.nth != 0 && fault.nth != ordinal) continue;
        if (fault.every != 0 && ordinal % fault.every != 0) continue;
        const std::int64_t since_ms = now_ms - set_ms_;
        if (since_ms < fault.after_ms) continue;
        if (fault.for_ms != 0 && since_ms >= fault.after_ms + fault.for_ms) continue;
        if (!handle.starts_with(fault.prefix)) continue;
        if (request && !fault.header.empty()) {
            const std::string_view said = request->header(fault.header);
            if (said.empty() || (!fault.value.empty() && said != fault.value)) continue;
        }
        if (fault.share < 1 && coin(seed(), i, ordinal) >= fault.share) continue;
        ++armed.spent;
        return armed.fault;
    }
    return nullptr;
}

bool FaultBook::is_taken(const Fault& fault, std::string_view handle, std::uint64_t ordinal) const {
    if (fault.taken != Fault::Taken::half) return fault.taken == Fault::Taken::yes;
    return coin(seed(), static_cast<std::uint64_t>(place_of(handle, seed()) * 1e9), ordinal) < 0.5;
}

}  // namespace pns::sim
