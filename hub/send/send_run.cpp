#include "hub/send/send_run.hpp"

#include "hub/template/gcm_alias.hpp"

namespace hub {

namespace {

std::uint64_t mixed(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

}  // namespace

/// FNV-1a.
std::uint64_t stable_hash(std::string_view send_id) {
    std::uint64_t hash = 0xCBF29CE484222325u;
    for (const char c : send_id) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    }
    return hash;
}

Mode mode_of(registry::SendState state) {
    if (state == registry::SendState::canceling) return Mode::drop;
    const bool waits = state == registry::SendState::held || state == registry::SendState::paused;
    return waits ? Mode::hold : Mode::go;
}

std::vector<registry::Bitmap> canary_of(const std::vector<registry::Bitmap>& devices,
                                        std::string_view send_id, std::uint32_t ppm) {
    constexpr std::uint64_t whole_ppm = 1'000'000;
    const std::uint64_t seed = stable_hash(send_id);
    std::vector<registry::Bitmap> chosen(devices.size());
    std::uint64_t least = ~std::uint64_t{0};
    std::size_t least_partition = 0;
    std::uint32_t least_number = 0;
    bool any = false, some = false;
    for (std::size_t p = 0; p < devices.size(); ++p) {
        std::vector<std::uint32_t> numbers;
        for (const std::uint32_t number : devices[p]) {
            const std::uint64_t hash = mixed(seed ^ mixed(std::uint64_t{p} << 32 | number));
            if (hash % whole_ppm < ppm) numbers.push_back(number);
            if (any && hash >= least) continue;
            any = true;
            least = hash;
            least_partition = p;
            least_number = number;
        }
        some = some || !numbers.empty();
        if (!numbers.empty()) chosen[p].addMany(numbers.size(), numbers.data());
    }
    if (any && !some) chosen[least_partition].add(least_number);
    return chosen;
}

void SendRun::prepare(std::size_t lanes, bool gcm_alias) {
    gcm_through_fcmv1 = gcm_alias;
    native.headers = send.headers;
    if (send.format == "template") {
        auto parsed = parse_properties(send.body);
        if (ok(parsed)) properties = std::get<Properties>(std::move(parsed));
    } else if (send.format == "gcm" && gcm_through_fcmv1) {
        auto converted = gcm_to_fcmv1(send.body);
        if (ok(converted)) {
            native.body = std::get<std::string>(std::move(converted));
        } else {
            native_refusal = {pns::Outcome::invalid_notification_format,
                              std::get<Refusal>(std::move(converted)).message};
        }
    } else {
        native.body = send.body;
    }
    for (std::size_t p = 0; p < todo.partitions.size(); ++p) {
        if (!todo.partitions[p].isEmpty()) {
            home = p % lanes;
            break;
        }
    }
}

bool SendRun::first_with_handle(std::string_view platform, std::string_view handle) {
    std::string key(gcm_through_fcmv1 && platform == "gcm" ? "fcmv1" : platform);
    key += ':';
    key += handle;
    std::lock_guard lock(handles_mutex_);
    return handles_seen_.insert(std::move(key)).second;
}

}  // namespace hub
