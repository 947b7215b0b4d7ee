#pragma once

// The body of PUT /{hub}: a hub description in its Atom entry (docs/contracts/anh.md 10.1).

#include <string>

namespace support {

/// `title`: the element that names the hub; empty = there is none.
inline std::string hub_entry(const std::string& children, const std::string& title = {}) {
    return "<entry xmlns=\"http://www.w3.org/2005/Atom\">" +
           (title.empty() ? "" : "<title type=\"text\">" + title + "</title>") +
           "<content type=\"application/xml\"><NotificationHubDescription "
           "xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
           "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">" +
           children + "</NotificationHubDescription></content></entry>";
}

}  // namespace support
