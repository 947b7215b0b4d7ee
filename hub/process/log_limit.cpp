// Tested by tests/hub_log_test.cpp.

#include "hub/process/log_limit.hpp"

#include <utility>

namespace hub {

// Where all places are taken, those that come late share one.
LogLimit::Count& LogLimit::count_of(std::string_view key, std::int64_t now_ms) {
    auto found = counts_.find(key);
    if (found == counts_.end()) {
        if (counts_.size() >= keys_max) {
            std::erase_if(counts_, [&](const auto& one) {
                return over(one.second, now_ms) && one.second.left_out == 0;
            });
        }
        if (counts_.size() >= keys_max) key = {};
        found = counts_.try_emplace(std::string(key), Count{now_ms, 0, 0}).first;
    }
    if (over(found->second, now_ms)) {
        found->second.since_ms = now_ms;
        found->second.lines = 0;
    }
    return found->second;
}

std::optional<std::uint64_t> LogLimit::allow(std::string_view key, std::int64_t now_ms) {
    const std::lock_guard lock(mutex_);
    if (over(total_, now_ms)) total_ = {now_ms, 0, 0};
    Count& count = count_of(key, now_ms);
    if (count.lines >= per_key_ || total_.lines >= all_) {
        ++count.left_out;
        return std::nullopt;
    }
    ++count.lines;
    ++total_.lines;
    return std::exchange(count.left_out, 0);
}

}  // namespace hub
