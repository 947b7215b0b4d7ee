#pragma once

// What a codec says about bytes it will not take, and the error body of the wire contract
// (docs/contracts/anh.md 2.5). Pure values, any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace hub {

/// The HTTP status to answer and the reason in words; never holds a secret or a handle.
struct Refusal {
    int status = 400;
    std::string message;
    friend bool operator==(const Refusal&, const Refusal&) = default;
};

template <class T>
using Parsed = std::variant<T, Refusal>;

template <class T>
bool ok(const std::variant<T, Refusal>& parsed) {
    return std::holds_alternative<T>(parsed);
}

inline Refusal bad_request(std::string message) {
    return {400, std::move(message)};
}

/// `<Error><Code/><Detail/></Error>`: no namespace, no XML declaration, this order.
std::string error_xml(int status, std::string_view message, std::string_view tracking_id,
                      std::int64_t now_ms);

}  // namespace hub
