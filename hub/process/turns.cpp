// Tested by tests/hub_turns_test.cpp.

#include "hub/process/turns.hpp"

#include <boost/system/errc.hpp>

#include "hub/process/loops.hpp"

namespace hub {

pns::Task<std::optional<Turns::Turn>> Turns::enter(std::string key) {
    auto start = [this, &key](Entered entered) { ask(std::move(key), std::move(entered)); };
    auto turn = co_await committed<Turn>(std::move(start));
    if (!turn) co_return std::nullopt;
    co_return std::move(*turn);
}

void Turns::ask(std::string key, Entered entered) {
    bool at_once = false;
    {
        const std::lock_guard lock(mutex_);
        const auto [place, is_free] = waiting_.try_emplace(key);
        if (!is_free && place->second.size() < waiting_max_) {
            place->second.push_back(std::move(entered));
            return;
        }
        at_once = is_free;
    }
    // Not under the lock: a turn that nobody takes is left again.
    if (at_once) {
        entered(Turn(*this, std::move(key)));
    } else {
        namespace errc = boost::system::errc;
        entered(errc::make_error_code(errc::resource_unavailable_try_again));
    }
}

void Turns::leave(const std::string& key) {
    Entered next;
    {
        const std::lock_guard lock(mutex_);
        const auto place = waiting_.find(key);
        if (place->second.empty()) {
            waiting_.erase(place);
            return;
        }
        next = std::move(place->second.front());
        place->second.pop_front();
    }
    next(Turn(*this, key));
}

}  // namespace hub
