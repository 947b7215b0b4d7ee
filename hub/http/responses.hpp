#pragma once

// What the handlers of the wire contract share: refusals and store errors as the contract's
// responses.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/http/http.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/errc.hpp"
#include "registry/registration.hpp"

namespace hub {

constexpr std::string_view xml_type = "application/xml; charset=utf-8";

/// `refusal` in the contract's error body.
Response refused(const Request& request, const Refusal& refusal);
/// A registry error: 404, 410, 412, 429 or 503; `missing` is the text of a 404.
Response refused(const Request& request, boost::system::error_code code, std::string_view missing);
/// 429 with Retry-After.
Response busy(const Request& request, std::string_view what);
/// An empty body with the content type the real service uses.
Response empty_response(int status);

/// "api-version=2020-06" as the request has it; empty: none, or one that no client writes. All that
/// addresses in answers repeat of a query: a page has a thousand of them.
std::string version_query(const Request& request);

/// https://<host>/<first>/<second>...: segments percent-encoded, with the request's api-version.
std::string absolute_url(const Request& request, const std::vector<std::string>& segments);

/// The two first segments of the request's path as they were written: https://<host>/<hub>/<noun>.
std::string collection_url(const Request& request);
/// Where a thing is that a POST to such a collection has made, with the request's api-version.
std::string location_of(const Request& request, std::string_view id);

/// The place in the `continuationtoken` of a request for a page of `list`; empty: there is none.
/// Clients return it raw or percent-encoded once more, so it is decoded until stable
/// (docs/contracts/anh.md 3.7). Nothing: not a token of this list.
std::optional<std::string> read_continuation(const Request& request, std::string_view list);
/// If-Match: `*`, `"*"`, `"3"`, `W/"3"`, `3` (docs/contracts/anh.md 3.5); absent: no condition.
/// One that is blank, or there twice, is refused: dropped, it would let through what it should
/// hold.
Parsed<registry::Precondition> read_if_match(const Request& request);

}  // namespace hub
