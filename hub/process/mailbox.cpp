// Tested by tests/hub_loops_test.cpp.

#include "hub/process/mailbox.hpp"

#include <boost/asio/post.hpp>

namespace hub {

namespace {

thread_local Mailbox* of_this_lane = nullptr;
thread_local bool collecting = false;
thread_local std::vector<Mailbox*> filled;  // while collecting

}  // namespace

Mailbox* Mailbox::here() {
    return of_this_lane;
}

void Mailbox::set_here(Mailbox* mailbox) {
    of_this_lane = mailbox;
}

void Mailbox::collect() {
    collecting = true;
}

void Mailbox::deliver() {
    collecting = false;
    for (Mailbox* mailbox : filled) mailbox->send_off();
    filled.clear();
}

void Mailbox::put(std::shared_ptr<Letter> letter) {
    {
        const std::lock_guard lock(mutex_);
        letters_.push_back(std::move(letter));
        if (letters_.size() > 1) return;  // the first one is on its way, and takes this one along
    }
    if (collecting) {
        filled.push_back(this);
    } else {
        send_off();
    }
}

void Mailbox::send_off() {
    boost::asio::post(lane_, [this] { open_all(); });
}

void Mailbox::open_all() {
    std::vector<std::shared_ptr<Letter>> letters;
    {
        const std::lock_guard lock(mutex_);
        letters.swap(letters_);
    }
    for (const auto& letter : letters) letter->open();
}

}  // namespace hub
