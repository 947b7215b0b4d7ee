// The blob area over https, in the small part of Azure Blob's REST that clients of feedback and
// jobs need (docs/contracts/anh.md 6.3, 9): list, read with ranges, write whole block blobs. Tested
// by tests/hub_blobs_test.cpp.
//
// There is no SAS of the hub here: the signature in the URL opens one blob or one container. Reads
// and writes go in pieces, each on a store thread, so a file is never in memory as a whole and a
// slow client holds no thread. A request without a valid signature learns nothing, not even
// whether a hub exists.

#include <algorithm>

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/bulk/blobs.hpp"
#include "hub/bulk/byte_range.hpp"
#include "hub/bulk/feedback.hpp"
#include "hub/http/continuation.hpp"
#include "hub/http/request_fields.hpp"
#include "hub/http/responses.hpp"
#include "hub/send/fanout.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"
#include "pns/http_date.hpp"

namespace hub {

namespace {

// Each reader may hold two of them, one read and one on its way, whether it reads or not.
constexpr std::size_t piece_bytes = 64 * 1024;
constexpr std::string_view blobs_list = "blobs";
// Of a listing, before names are escaped: 5,000 names of 50 bytes fit.
constexpr std::size_t list_bytes_max = 2u << 20, blob_frame_bytes = 350;

Response blob_error(int status, std::string_view code, std::string_view message) {
    Response response;
    response.status = status;
    response.headers.emplace_back("Content-Type", "application/xml");
    response.headers.emplace_back("x-ms-error-code", std::string(code));
    response.body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error>";
    append_element(response.body, "Code", code);
    append_element(response.body, "Message", message);
    response.body += "</Error>";
    return response;
}

void add_version(const Request& request, Response& response) {
    const auto asked = request.header("x-ms-version");
    response.headers.emplace_back(
        "x-ms-version", asked.empty() || asked.size() > 32 ? "2020-04-08" : std::string(asked));
}

/// The place that a path names: hub, container and, with a name, blob. A hub, container or name
/// that cannot be reads as one that may not be looked at: who has no signature learns nothing.
std::optional<BlobPlace> place_of(const Parts& parts, const std::vector<std::string>& args) {
    if (args.size() < 2) return std::nullopt;
    const auto hub = parts.hubs.find(args[0]);
    BlobPlace place;
    place.container = lower(args[1]);
    if (!hub || !Blobs::is_container(place.container)) return std::nullopt;
    place.hub_number = hub->row.number;
    place.hub = lower(hub->row.name);
    if (args.size() == 2) return place;
    auto name = Blobs::blob_name(args[2]);
    if (!ok(name)) return std::nullopt;
    place.name = std::get<std::string>(std::move(name));
    return place;
}

bool admits(const Parts& parts, const Request& request, const BlobPlace& place, char right) {
    BlobSignature given;
    given.resource = request.param("sr").value_or("");
    given.rights = request.param("sp").value_or("");
    given.expiry = request.param("se").value_or("");
    given.signature = request.param("sig").value_or("");
    return parts.blobs.admits(place, right, given, request.received_at_ms);
}

/// The place, if the request's signature opens it for `right`.
std::optional<BlobPlace> opened(const Call& call, char right) {
    auto place = place_of(call.parts, call.args);
    if (place && !admits(call.parts, call.request, *place, right)) place.reset();
    return place;
}

Response forbidden() {
    return blob_error(403, "AuthenticationFailed",
                      "The signature of the URL does not allow this, or its time is over.");
}

std::string_view content_type(std::string_view name) {
    if (name.ends_with(".txt")) return "text/plain; charset=utf-8";
    if (name.ends_with(".xml")) return "application/xml; charset=utf-8";
    return "application/octet-stream";
}

/// What became of the devices of a send is kept no longer than the send.
std::optional<BlobFile> open_blob(const Parts& parts, const BlobPlace& place) {
    if (place.container != "errors") return parts.blobs.open(place);
    const auto send = send_of_details(place.name);
    if (parts.registry.send(place.hub_number, send).error() == registry::errc::not_found)
        return std::nullopt;
    return parts.feedback.open_details(place);
}

/// The body of an answer, read piece by piece while it is sent. The blob is opened for each piece,
/// so that a client that does not read holds no descriptor. One that was replaced meanwhile ends
/// the answer short; what feedback is appended is none.
pns::Task<std::string> next_piece(const Parts& parts, BlobPlace place, BlobFacts facts,
                                  std::shared_ptr<ByteRange> left) {
    const auto size = std::min<std::uint64_t>(left->count, piece_bytes);
    auto read = [&parts, place, facts, first = left->first, size]() -> std::string {
        const auto file = open_blob(parts, place);
        if (!file) return {};
        const BlobFacts& now = file->facts();
        const bool grown = place.container == "feedback" && now.bytes >= facts.bytes;
        if (now.etag != facts.etag && !grown) return {};
        return file->read(first, size).value_or("");
    };
    std::string piece = co_await on_store(parts.store, std::move(read));
    left->first += piece.size();
    left->count -= piece.size();
    co_return piece;
}

bool matches(std::string_view condition, std::string_view etag) {
    return condition == "*" || condition == etag ||
           (condition.size() + 2 == etag.size() && condition == etag.substr(1, condition.size()));
}

Response read_blob(const Call& call, const BlobPlace& place, const BlobFacts& facts) {
    const Request& request = call.request;
    const auto if_match = trimmed(request.header("if-match"));
    if (!if_match.empty() && !matches(if_match, facts.etag))
        return blob_error(412, "ConditionNotMet", "The blob is another version.");
    Response response;
    const auto if_none = trimmed(request.header("if-none-match"));
    const bool unchanged = !if_none.empty() && matches(if_none, facts.etag);
    ByteRange range{0, facts.bytes};
    if (unchanged) {
        response.status = 304;
        range.count = 0;
    }
    for (const std::string_view name : {"range", "x-ms-range"}) {  // the second is stronger
        const auto text = trimmed(request.header(name));
        if (text.empty() || unchanged || request.method != "GET") continue;
        const auto asked = read_byte_range(text, facts.bytes);
        if (!asked) {
            Response unsatisfiable = blob_error(416, "InvalidRange", "The range is not there.");
            unsatisfiable.headers.emplace_back("Content-Range",
                                               "bytes */" + std::to_string(facts.bytes));
            return unsatisfiable;
        }
        range = *asked;
        response.status = 206;
    }
    if (response.status == 206) {
        response.headers.emplace_back("Content-Range",
                                      "bytes " + std::to_string(range.first) + "-" +
                                          std::to_string(range.first + range.count - 1) + "/" +
                                          std::to_string(facts.bytes));
    }
    response.headers.emplace_back("Content-Type", std::string(content_type(facts.name)));
    response.headers.emplace_back("ETag", facts.etag);
    response.headers.emplace_back("Last-Modified", pns::http_date(facts.modified_ms));
    response.headers.emplace_back("Accept-Ranges", "bytes");
    response.headers.emplace_back("x-ms-blob-type", "BlockBlob");
    response.more_bytes = range.count;
    if (range.count > 0) {
        auto left = std::make_shared<ByteRange>(range);
        response.more = [&parts = call.parts, place, facts, left] {
            return next_piece(parts, place, facts, left);
        };
    }
    return response;
}

/// Is there a condition of writing that is not understood? Dropped, it would overwrite what it was
/// to keep.
bool has_other_condition(const Request& request) {
    return std::any_of(request.headers.begin(), request.headers.end(), [](const auto& header) {
        return header.first.starts_with("if-") &&
               !(header.first == "if-none-match" && trimmed(header.second) == "*");
    });
}

Response put_answer(Blobs::Put put, const BlobFacts& facts) {
    switch (put) {
        case Blobs::Put::written: {
            Response response = empty_response(201);
            response.headers.emplace_back("ETag", facts.etag);
            response.headers.emplace_back("Last-Modified", pns::http_date(facts.modified_ms));
            return response;
        }
        case Blobs::Put::exists:
            return blob_error(409, "BlobAlreadyExists", "The blob exists.");
        case Blobs::Put::conflict:
            return blob_error(409, "InvalidBlobOrBlock",
                              "A blob has the name of a folder of blobs, or the reverse.");
        case Blobs::Put::full:
            return blob_error(409, "QuotaExceeded",
                              "The blobs of this hub take all that it may have on disk.");
        case Blobs::Put::failed:
            break;
    }
    Response busy = blob_error(503, "ServerBusy", "The blob cannot be written now.");
    busy.headers.emplace_back("Retry-After", "5");
    return busy;
}

Response nearly_full() {
    Response busy = blob_error(503, "ServerBusy", "The disk is nearly full.");
    busy.headers.emplace_back("Retry-After", "60");
    return busy;
}

/// The body goes to the disk as it comes, as long as there is room.
pns::Task<Response> write_blob(const Call& call, const BlobPlace& place) {
    const Request& request = call.request;
    StorePool& store = call.parts.store;
    const Blobs& blobs = call.parts.blobs;
    std::optional<BlobUpload> upload;
    auto begin = [&] { upload.emplace(blobs, place); };
    co_await on_store(store, std::move(begin));
    std::optional<Refusal> refusal;
    for (bool wanted = true; wanted;) {
        if (call.parts.fanout.disk_low()) {
            auto drop = [&] { upload.reset(); };
            co_await on_store(store, std::move(drop));
            co_return nearly_full();
        }
        const auto piece = co_await request.more();
        if (!ok(piece)) refusal = std::get<Refusal>(piece);
        if (refusal || std::get<std::string>(piece).empty()) break;
        auto write = [&] { return upload->write(std::get<std::string>(piece)); };
        wanted = co_await on_store(store, std::move(write));
    }
    Response response;
    const bool fresh_only = trimmed(request.header("if-none-match")) == "*";
    auto finish = [&] {
        if (!refusal) {
            const auto put = upload->commit(fresh_only);
            const auto file = blobs.open(place);
            response = put_answer(put, file ? file->facts() : BlobFacts());
        }
        upload.reset();
    };
    co_await on_store(store, std::move(finish));
    co_return refusal ? error(request, refusal->status, refusal->message) : std::move(response);
}

std::string list_of(const BlobPlace& container, std::string_view prefix) {
    return list_name(blobs_list, container.hub_number, {container.container, prefix});
}

/// Ends a page whose names would make a large answer; a marker leads to the rest.
void bound_bytes(BlobPage& page) {
    std::size_t bytes = 0, count = 0;
    while (count < page.blobs.size() && bytes < list_bytes_max)
        bytes += page.blobs[count++].name.size() + blob_frame_bytes;
    if (count == page.blobs.size()) return;
    page.blobs.resize(count);
    page.next = page.blobs.back().name;
}

std::string listing(const Call& call, const BlobPlace& container, const BlobPage& page,
                    std::string_view prefix, std::string_view marker, std::size_t count_max) {
    std::string out =
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"";
    append_xml(out, "https://" + call.request.host + "/$blobs/" + container.hub + "/");
    out += "\" ContainerName=\"";
    append_xml(out, container.container);
    out += "\">";
    if (!prefix.empty()) append_element(out, "Prefix", prefix);
    if (!marker.empty()) append_element(out, "Marker", marker);
    append_element(out, "MaxResults", std::to_string(count_max));
    out += "<Blobs>";
    for (const auto& blob : page.blobs) {
        out += "<Blob>";
        append_element(out, "Name", blob.name);
        out += "<Properties>";
        append_element(out, "Last-Modified", pns::http_date(blob.modified_ms));
        append_element(out, "Etag", blob.etag);
        append_element(out, "Content-Length", std::to_string(blob.bytes));
        append_element(out, "Content-Type", content_type(blob.name));
        append_element(out, "BlobType", "BlockBlob");
        out += "</Properties></Blob>";
    }
    out += "</Blobs>";
    append_element(
        out, "NextMarker",
        page.next.empty() ? "" : continuation_token(list_of(container, prefix), page.next));
    return out + "</EnumerationResults>";
}

}  // namespace

std::size_t blob_upload_bound(const Parts& parts, const Request& request,
                              const std::vector<std::string>& args) {
    constexpr std::size_t stranger_bytes = 64 * 1024;
    const auto place = place_of(parts, args);
    const bool may_write = place && admits(parts, request, *place, 'w');
    return may_write ? std::size_t{parts.config.blob_upload_bytes_max} : stranger_bytes;
}

pns::Task<Response> list_blobs(Call call) {
    const Request& request = call.request;
    const auto place = opened(call, 'l');
    Response response;
    if (!place) {
        response = forbidden();
    } else if (lower(request.param("restype").value_or("")) != "container") {
        response = blob_error(400, "InvalidQueryParameterValue",
                              "A container answers to restype=container&comp=list.");
    } else if (const auto asked = read_count(request, "maxresults", 1, blob_list_max); !ok(asked)) {
        response = blob_error(400, "InvalidQueryParameterValue", std::get<Refusal>(asked).message);
    } else if (!request.param("comp")) {
        response = empty_response(200);  // the container is there
    } else if (lower(*request.param("comp")) != "list") {
        response = blob_error(400, "InvalidQueryParameterValue",
                              "Of a container only comp=list is known.");
    } else {
        const std::size_t count_max = std::min(std::get<std::size_t>(asked), blob_list_max);
        const std::string prefix(request.param("prefix").value_or(""));
        const std::string given(request.param("marker").value_or(""));
        const auto marker = given.empty() ? std::optional<std::string>("")
                                          : continuation_place(list_of(*place, prefix), given);
        if (!marker) {
            response = blob_error(400, "InvalidQueryParameterValue",
                                  "marker is not one that a list of blobs returned.");
            add_version(request, response);
            co_return response;
        }
        // Some thousand names are more than a lane should write.
        auto read = [&call, &place, &prefix, &marker, &given, count_max] {
            auto page = place->container == "errors"
                            ? call.parts.feedback.list_details(*place, prefix, *marker, count_max)
                            : call.parts.blobs.list(*place, prefix, *marker, count_max);
            bound_bytes(page);
            return listing(call, *place, page, prefix, given, count_max);
        };
        response.body = co_await on_store(call.parts.store, std::move(read));
        response.headers.emplace_back("Content-Type", "application/xml");
    }
    add_version(request, response);
    co_return response;
}

pns::Task<Response> get_blob(Call call) {
    const auto place = opened(call, 'r');
    Response response;
    if (!place) {
        response = forbidden();
    } else {
        auto look = [&call, &place]() -> std::optional<BlobFacts> {
            const auto file = open_blob(call.parts, *place);
            return file ? std::optional(file->facts()) : std::nullopt;
        };
        const auto facts = co_await on_store(call.parts.store, std::move(look));
        response = facts ? read_blob(call, *place, *facts)
                         : blob_error(404, "BlobNotFound", "The blob does not exist.");
    }
    add_version(call.request, response);
    co_return response;
}

pns::Task<Response> put_blob(Call call) {
    const Request& request = call.request;
    const auto place = opened(call, 'w');
    Response response;
    if (!place) {
        response = forbidden();
    } else if (request.param("comp")) {
        response = blob_error(501, "NotImplemented", "Blobs are written whole, not in blocks.");
    } else if (lower(request.header("x-ms-blob-type")) != "blockblob") {
        response = blob_error(400, "InvalidHeaderValue", "x-ms-blob-type must be BlockBlob.");
    } else if (has_other_condition(request)) {
        response = blob_error(400, "InvalidHeaderValue",
                              "A blob is written without a condition, or with If-None-Match: *.");
    } else {
        response = co_await write_blob(call, *place);
    }
    add_version(request, response);
    co_return response;
}

}  // namespace hub
