// Tested by tests/hub_trace_test.cpp, tests/fuzz_queries.cpp.

#include "hub/http/paging.hpp"

#include <charconv>

#include "hub/http/continuation.hpp"

namespace hub {

Parsed<AskedPage> read_paging(const Request& request, std::string_view list) {
    AskedPage asked;
    if (const auto top = request.param("top")) {
        const char* const end = top->data() + top->size();
        const auto [stop, failure] = std::from_chars(top->data(), end, asked.top);
        if (failure != std::errc() || stop != end || asked.top == 0 || asked.top > page_rows_max)
            return bad_request("top must be a whole number from 1 to " +
                               std::to_string(page_rows_max) + ".");
    }
    const auto token = request.param("continuation");
    if (token && !token->empty()) {
        auto place = continuation_place(list, *token);
        if (!place)
            return bad_request("continuation must be what an earlier page of this list returned.");
        asked.after = std::move(*place);
    }
    return asked;
}

}  // namespace hub
