// Tested by tests/hub_http_client_test.cpp.
//
// A call runs on the thread that makes it: drive() lets libcurl work in slices of `slice_ms`, and
// between two of them looks at the stop flag and at the deadline, which each byte moves. libcurl
// calls back into this file only in between, from the same thread: on_header and on_body fill the
// reply, on_room gives the body, and whatever they refuse ends the call. Connections stay for the
// next call to the same host; options do not, prepare() sets all of them anew.

#include "hub/process/http_client.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "pns/text.hpp"

namespace hub {

namespace {

constexpr int slice_ms = 100;  // how soon a stop is seen
constexpr std::size_t headers_max = 200;

struct FreeList {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderLines = std::unique_ptr<curl_slist, FreeList>;

void append(HeaderLines& lines, const std::string& line) {
    curl_slist* longer = curl_slist_append(lines.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    (void)lines.release();
    lines.reset(longer);
}

/// libcurl's HOST:PORT:ADDRESS:PORT; empty HOST and PORT mean any.
std::string route_to(const pns::Target& target) {
    const bool v6 = target.host.find(':') != std::string::npos;
    return "::" + (v6 ? "[" + target.host + "]" : target.host) + ":" + std::to_string(target.port);
}

}  // namespace

std::string_view HttpReply::header(std::string_view lower_name) const {
    for (const auto& [name, value] : headers)
        if (name == lower_name) return value;
    return {};
}

struct HttpClient::Impl {
    Impl(const pns::Clock& given_clock, Settings given)
        : clock(given_clock),
          settings(std::move(given)),
          multi(curl_multi_init()),
          easy(curl_easy_init()) {
        if (multi == nullptr || easy == nullptr) throw std::bad_alloc();
    }
    ~Impl() {
        curl_easy_cleanup(easy);
        curl_multi_cleanup(multi);
    }

    template <class Value>
    void set(CURLoption option, Value value) {
        curl_easy_setopt(easy, option, value);
    }
    void prepare(const HttpCall& wanted);
    CURLcode drive();
    void moved() { deadline_ms = clock.steady_ms() + settings.timeout_ms; }
    int status() const {
        long code = 0;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
        return static_cast<int>(code);
    }

    static int on_connected(void* self, char*, char*, int, int) {
        static_cast<Impl*>(self)->moved();
        return CURL_PREREQFUNC_OK;
    }
    static std::size_t on_header(char* line, std::size_t, std::size_t size, void* self) {
        return static_cast<Impl*>(self)->take_header({line, size}) ? size : 0;
    }
    static std::size_t on_body(char* bytes, std::size_t, std::size_t size, void* self) {
        return static_cast<Impl*>(self)->take_body({bytes, size}) ? size : 0;
    }
    static std::size_t on_room(char* room, std::size_t, std::size_t size, void* self) {
        return static_cast<Impl*>(self)->give_body({room, size});
    }
    static int on_rewind(void* self, curl_off_t offset, int) {
        static_cast<Impl*>(self)->sent = static_cast<std::uint64_t>(offset);
        return CURL_SEEKFUNC_OK;
    }
    bool take_header(std::string_view line);
    bool take_body(std::string_view bytes);
    std::size_t give_body(std::span<char> room);

    const pns::Clock& clock;
    const Settings settings;
    CURLM* const multi;
    CURL* const easy;
    const HttpCall* call = nullptr;
    std::uint64_t body_bytes = 0, sent = 0;
    HeaderLines headers, routes;
    HttpReply reply;
    bool enough = false;  // we ended the call ourselves, what has come is the answer
    std::string why;
    std::int64_t deadline_ms = 0;
};

HttpClient::HttpClient(const pns::Clock& clock, Settings settings)
    : impl_(std::make_unique<Impl>(clock, std::move(settings))) {}
HttpClient::~HttpClient() = default;

bool HttpClient::Impl::take_header(std::string_view line) {
    moved();
    if (line.starts_with("HTTP/")) {  // also after a 100 Continue
        reply.headers.clear();
        return true;
    }
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) return true;
    if (reply.headers.size() == headers_max) return false;
    reply.headers.emplace_back(pns::lower(line.substr(0, colon)),
                               pns::trimmed(line.substr(colon + 1)));
    return true;
}

bool HttpClient::Impl::take_body(std::string_view bytes) {
    moved();
    if (call->on_bytes) {
        enough = !call->on_bytes(status(), bytes);
        return !enough;
    }
    const bool fits = bytes.size() <= call->body_bytes_max - reply.body.size();
    if (!fits && status() < 300) {
        why = "the service sent more than it was asked for";
        return false;
    }
    reply.body += bytes.substr(0, call->body_bytes_max - reply.body.size());
    enough = !fits;
    return fits;
}

std::size_t HttpClient::Impl::give_body(std::span<char> room) {
    moved();
    room = room.first(std::min<std::uint64_t>(room.size(), body_bytes - sent));
    if (call->read_body) {
        if (!room.empty() && !call->read_body(sent, room)) {
            why = "the file to send cannot be read";
            return CURL_READFUNC_ABORT;
        }
    } else {
        std::memcpy(room.data(), call->body.data() + sent, room.size());
    }
    sent += room.size();
    return room.size();
}

void HttpClient::Impl::prepare(const HttpCall& wanted) {
    call = &wanted;
    reply = {};
    why.clear();
    enough = false;
    sent = 0;
    body_bytes = wanted.read_body ? wanted.read_body_bytes : wanted.body.size();
    curl_easy_reset(easy);
    set(CURLOPT_URL, wanted.url.c_str());
    set(CURLOPT_PATH_AS_IS, 1L);
    set(CURLOPT_PROTOCOLS_STR, "https,http");
    set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
    set(CURLOPT_PROXY, "");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_QUICK_EXIT, 1L);  // a stop does not wait for the DNS
    set(CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
    if (!settings.ca_file.empty()) {
        set(CURLOPT_CAINFO, settings.ca_file.c_str());
        if (!settings.system_anchors) set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
    }
    set(CURLOPT_CUSTOMREQUEST, wanted.method.c_str());
    if (wanted.method != "GET" || body_bytes > 0) {
        set(CURLOPT_UPLOAD, 1L);
        set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(body_bytes));
        set(CURLOPT_READFUNCTION, &Impl::on_room);
        set(CURLOPT_READDATA, this);
        set(CURLOPT_SEEKFUNCTION, &Impl::on_rewind);
        set(CURLOPT_SEEKDATA, this);
    }
    set(CURLOPT_PREREQFUNCTION, &Impl::on_connected);
    set(CURLOPT_PREREQDATA, this);
    set(CURLOPT_HEADERFUNCTION, &Impl::on_header);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEFUNCTION, &Impl::on_body);
    set(CURLOPT_WRITEDATA, this);
    headers.reset();
    append(headers, "Expect:");  // no waiting for a 100 Continue
    for (const std::string& line : wanted.headers) append(headers, line);
    set(CURLOPT_HTTPHEADER, headers.get());
    routes.reset();
    if (wanted.connect_to) {
        append(routes, route_to(*wanted.connect_to));
        set(CURLOPT_CONNECT_TO, routes.get());
    }
}

CURLcode HttpClient::Impl::drive() {
    moved();
    if (curl_multi_add_handle(multi, easy) != CURLM_OK) return CURLE_FAILED_INIT;
    auto result = CURLE_OPERATION_TIMEDOUT;
    for (bool over = false; !over;) {
        int running = 0, left = 0;
        if (curl_multi_perform(multi, &running) != CURLM_OK) break;
        if (const CURLMsg* ended = curl_multi_info_read(multi, &left)) {
            result = ended->data.result;
            break;
        }
        const bool stops = settings.stop != nullptr && *settings.stop;
        over = stops || clock.steady_ms() >= deadline_ms;
        if (over) why = stops ? "the process stops" : "the service did not answer in time";
        if (!over) curl_multi_poll(multi, nullptr, 0, slice_ms, nullptr);
    }
    curl_multi_remove_handle(multi, easy);
    return result;
}

std::variant<HttpReply, HttpFailure> HttpClient::call(const HttpCall& wanted) {
    Impl& impl = *impl_;
    impl.prepare(wanted);
    const CURLcode result = impl.drive();
    if (result == CURLE_OK || impl.enough) {
        impl.reply.status = impl.status();
        return std::move(impl.reply);
    }
    HttpFailure failure;
    failure.why = std::move(impl.why);
    switch (result) {
        case CURLE_PEER_FAILED_VERIFICATION:
            failure.why = "its certificate is not trusted";
            failure.hopeless = true;
            break;
        case CURLE_SSL_CACERT_BADFILE:
            failure.why = "the file of trust anchors cannot be read";
            failure.hopeless = true;
            break;
        case CURLE_COULDNT_RESOLVE_HOST:
            failure.why = "the host's name has no address";
            break;
        case CURLE_COULDNT_CONNECT:
            failure.why = "no address of the host accepts connections";
            break;
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_URL_MALFORMAT:
            failure.why = "its address is no URL of HTTP";
            failure.hopeless = true;
            break;
        default:
            if (failure.why.empty()) failure.why = curl_easy_strerror(result);
    }
    return failure;
}

}  // namespace hub
