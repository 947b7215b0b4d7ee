#include "hub/send/send_run.hpp"

#include "hub/template/gcm_alias.hpp"
#include "pns/mixing.hpp"

namespace hub {

Mode mode_of(registry::SendState state) {
    if (state == registry::SendState::canceling) return Mode::drop;
    const bool waits = state == registry::SendState::held || state == registry::SendState::paused;
    return waits ? Mode::hold : Mode::go;
}

std::vector<registry::Bitmap> canary_of(const std::vector<registry::Bitmap>& devices,
                                        std::string_view send_id, std::uint32_t ppm) {
    constexpr std::uint64_t whole_ppm = 1'000'000;
    const std::uint64_t seed = pns::fnv1a(send_id);
    std::vector<registry::Bitmap> chosen(devices.size());
    std::uint64_t least = ~std::uint64_t{0};
    std::size_t least_partition = 0;
    std::uint32_t least_number = 0;
    bool any = false, some = false;
    for (std::size_t p = 0; p < devices.size(); ++p) {
        std::vector<std::uint32_t> numbers;
        for (const std::uint32_t number : devices[p]) {
            const std::uint64_t hash = pns::mixed(
                (seed ^ pns::mixed((std::uint64_t{p} << 32 | number) + pns::golden_gap)) +
                pns::golden_gap);
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

}  // namespace hub
