// What reads bytes from outside takes time in proportion to them, up to the most that it is ever
// given. Each row feeds one hostile shape twice, as long as it may be and a quarter of that; four
// times the bytes may cost about four times the time of this thread, and never a second.
#include <time.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/access/sas.hpp"
#include "hub/bulk/blob_url.hpp"
#include "hub/bulk/job_lines.hpp"
#include "hub/bulk/job_xml.hpp"
#include "hub/bulk/line_reader.hpp"
#include "hub/device/atom.hpp"
#include "hub/device/filter.hpp"
#include "hub/device/hub_description.hpp"
#include "hub/device/installation_json.hpp"
#include "hub/device/installation_patch.hpp"
#include "hub/http/continuation.hpp"
#include "hub/http/idempotency_key.hpp"
#include "hub/http/route.hpp"
#include "hub/process/config.hpp"
#include "hub/send/audience_request.hpp"
#include "hub/send/send_request.hpp"
#include "hub/template/gcm_alias.hpp"
#include "hub/template/templates.hpp"
#include "hub/text/json_text.hpp"
#include "hub/text/multipart.hpp"
#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"
#include "pns/account.hpp"
#include "pns/answers.hpp"
#include "pns/certificate_file.hpp"
#include "pns/h1_codec.hpp"
#include "pns/http_date.hpp"
#include "pns/jwt.hpp"
#include "pns/oauth_answer.hpp"
#include "pns/platform.hpp"
#include "pns/sim/credentials.hpp"

namespace {

constexpr std::size_t body_bytes = 64 * 1024;
constexpr std::size_t head_bytes = 8 * 1024;

/// A text of up to that many bytes; `run` must take it or refuse it.
using Make = std::function<std::string(std::size_t bytes)>;
using Run = std::function<void(const std::string& text)>;

/// `before`, then `piece` again and again, then `after`.
Make repeated(std::string before, std::string piece, std::string after = {}) {
    return [=](std::size_t bytes) {
        std::string out = before;
        while (out.size() + piece.size() + after.size() <= bytes) out += piece;
        return out + after;
    };
}

/// The same with the number of the repetition in the place of each '#'.
Make numbered(std::string before, std::string piece, std::string after = {}) {
    return [=](std::size_t bytes) {
        std::string out = before;
        for (std::size_t number = 0;; ++number) {
            std::string next;
            for (const char c : piece) c == '#' ? next += std::to_string(number) : next += c;
            if (out.size() + next.size() + after.size() > bytes) return out + after;
            out += next;
        }
    };
}

double thread_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// What takes less is bounded well enough, whatever its shape: the sanitizers make it five times
/// what it is.
constexpr double cheap_s = 0.03;

double cost_s(const Run& run, const std::string& text) {
    double least = std::numeric_limits<double>::max();
    for (int i = 0; i < 3; ++i) {
        const double begin = thread_seconds();
        run(text);
        least = std::min(least, thread_seconds() - begin);
        if (least < cheap_s || least > 1) break;
    }
    return least;
}

void check_linear(const std::string& name, std::size_t bytes, const Make& make, const Run& run) {
    INFO(name);
    run(make(2048));  // what is made once
    const double whole = cost_s(run, make(bytes));
    CHECK(whole < 1);
    if (whole < cheap_s) return;
    const double quarter = cost_s(run, make(bytes / 4));
    INFO(whole << " s for all, " << quarter << " s for a quarter");
    CHECK(whole < 8 * quarter);
}

struct Shape {
    std::string name;
    Make make;
};

void check_shapes(const std::string& parser, std::size_t bytes, const std::vector<Shape>& shapes,
                  const Run& run) {
    for (const Shape& shape : shapes)
        check_linear(parser + ": " + shape.name, bytes, shape.make, run);
}

hub::Parsed<std::string> as_it_is(std::string_view, std::string_view handle) {
    return std::string(handle);
}

/// Shapes that any reader of JSON or XML meets.
std::vector<Shape> json_shapes() {
    return {{"open arrays", repeated("", "[")},
            {"open objects", repeated("", "{\"a\":")},
            {"empty arrays", repeated("[[]", ",[]", "]")},
            {"empty objects", repeated("[{}", ",{}", "]")},
            {"numbers", repeated("[1", ",1", "]")},
            {"one number", repeated("[1", "1", "]")},
            {"one fraction", repeated("[0.1", "1", "]")},
            {"texts", repeated("[\"\"", ",\"\"", "]")},
            {"one text", repeated("\"", "a", "\"")},
            {"escapes", repeated("\"", "\\u0041", "\"")},
            {"a text without an end", repeated("\"", "\\\"")},
            {"members", numbered("{\"\":1", ",\"#\":1", "}")},
            {"one member again and again", repeated("{\"a\":1", ",\"a\":1", "}")},
            {"members that differ at the end",
             numbered("{\"\":1", ",\"aaaaaaaaaaaaaaaaaaaaaaaa#\":1", "}")},
            {"blanks", repeated("", " ", "{}")},
            {"bytes that are no UTF-8", repeated("\"", "\xC3", "\"")},
            {"UTF-16", repeated(std::string("[\0", 2), std::string("1\0,\0", 4))}};
}

std::vector<Shape> xml_shapes() {
    return {{"open elements", repeated("", "<a>")},
            {"elements", repeated("<r>", "<a/>", "</r>")},
            {"different elements", numbered("<r>", "<a#/>", "</r>")},
            {"attributes", numbered("<r ", "a#='' ", "/>")},
            {"one attribute again and again", repeated("<r ", "a='' ", "/>")},
            {"opening brackets", repeated("", "<")},
            {"comments", repeated("<r>", "<!---->", "</r>")},
            {"open comments", repeated("<r>", "<!--")},
            {"CDATA", repeated("<r>", "<![CDATA[]]>", "</r>")},
            {"open CDATA", repeated("<r>", "<![CDATA[")},
            {"instructions", repeated("<r>", "<?a?>", "</r>")},
            {"DOCTYPE", repeated("<!DOCTYPE a ", "[")},
            {"declarations in a DOCTYPE", repeated("<!DOCTYPE a [", "<!ENTITY a 'a'>", "]><a/>")},
            {"references", repeated("<r>", "&#65;", "</r>")},
            {"references without an end", repeated("<r>", "&#6", "</r>")},
            {"ampersands", repeated("<r>", "&", "</r>")},
            {"roots", repeated("", "<a/>")},
            {"blanks", repeated("<r>", " ", "</r>")},
            {"zeros", repeated("<r>", std::string("\0", 1), "</r>")}};
}

std::vector<Shape> together(std::vector<Shape> a, const std::vector<Shape>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

std::string list_of_tags(std::size_t bytes, bool same) {
    std::string out;
    for (std::size_t number = 0; out.size() + 8 < bytes; ++number)
        out += (out.empty() ? "\"" : ",\"") + (same ? "a" : std::to_string(number)) + "\"";
    return out;
}

/// An installation that holds as many tags, templates and variables as one may.
registry::Installation full_installation() {
    registry::Installation it;
    it.id = "i";
    it.platform = "apns";
    it.push_channel = "old";
    for (int i = 0; i < 1'500; ++i) it.tags.push_back(std::to_string(i));
    for (int i = 0; i < 64; ++i) {
        auto& source = it.templates["t" + std::to_string(i)];
        source.name = "t" + std::to_string(i);
        source.body = "{}";
        for (int k = 0; k < 64; ++k) source.headers.emplace_back("apns-" + std::to_string(k), "1");
    }
    for (int i = 0; i < 256; ++i) it.push_variables[std::to_string(i)] = "v";
    return it;
}

}  // namespace

TEST_CASE("a direct batch costs time in proportion to its bytes", "[hub][bounds]") {
    const auto run = [](const std::string& body) {
        (void)hub::parse_direct_batch("multipart/mixed; boundary=b", body);
    };
    const std::string head = "--b\r\nContent-Disposition: inline";
    const std::string devices = "--b\r\nContent-Disposition: inline; name=devices\r\n\r\n";
    const std::string message =
        "--b\r\nContent-Disposition: inline; name=notification\r\n\r\n{}\r\n" + devices;
    check_shapes("batch", hub::batch_bytes_max,
                 {{"semicolons", repeated(head, ";")},
                  {"names without a value", repeated(head, ";name")},
                  {"semicolons and an end", repeated(head, ";", "=x")},
                  {"parameters", repeated(head, ";a=b")},
                  {"quoted parameters", repeated(head, ";a=\"b\"")},
                  {"an open quote", repeated(head + ";a=\"", ";a=")},
                  {"blanks", repeated(head + ";a=", " ")},
                  {"equals signs", repeated(head + ";", "=")},
                  {"header lines", repeated("--b\r\n", "Content-Disposition: a;name=b\n")},
                  {"lines", repeated("--b\r\n", "\n")},
                  {"lines without a colon", repeated("--b\r\n", "a\n")},
                  {"delimiters", repeated("", "--b\r\n")},
                  {"delimiters within a line", repeated("--b\r\n\r\n", "--b")},
                  {"delimiters that go on", repeated("--b\r\n\r\n", "\n--bx")},
                  {"numbers as handles", repeated(message + "[1", ",1", "]\r\n--b--")},
                  {"handles", repeated(message + "[\"a\"", ",\"a\"", "]\r\n--b--")},
                  {"handles in single quotes", repeated(message + "['a'", ",'a'", "]\r\n--b--")},
                  {"arrays as handles", repeated(message + "[[]", ",[]", "]\r\n--b--")},
                  {"open arrays as handles", repeated(message, "[")}},
                 run);
    // A delimiter that begins at every byte, and nowhere ends.
    const std::string boundary(200, '-');
    check_linear("batch: a long delimiter", hub::batch_bytes_max, repeated("", "-"),
                 [&](const std::string& body) {
                     (void)hub::parse_direct_batch("multipart/mixed; boundary=" + boundary + "x",
                                                   body);
                 });
    check_linear("batch: its type", 2 * head_bytes, repeated("multipart/mixed", ";boundary"),
                 [](const std::string& type) { (void)hub::parse_direct_batch(type, "--b--"); });
}

TEST_CASE("registrations, hubs and jobs cost time in proportion to their bytes", "[hub][bounds]") {
    const std::string entry =
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><content type=\"application/xml\">";
    const std::string gcm =
        "<GcmTemplateRegistrationDescription><GcmRegistrationId>a"
        "</GcmRegistrationId>";
    const std::string gcm_end = "</GcmTemplateRegistrationDescription>";
    const auto registration = [](const std::string& text) {
        (void)hub::parse_registration(text, as_it_is);
        (void)hub::parse_job_line(hub::JobType::import_upsert, text, as_it_is);
        (void)hub::parse_job_line(hub::JobType::import_delete, text, as_it_is);
    };
    const std::vector<Shape> shapes{
        {"tags", numbered(gcm + "<Tags>", "#,", "</Tags>" + gcm_end)},
        {"one tag again and again", repeated(gcm + "<Tags>", "a,", "</Tags>" + gcm_end)},
        {"one tag in both cases", repeated(gcm + "<Tags>", "a,A,", "</Tags>" + gcm_end)},
        {"one long tag", repeated(gcm + "<Tags>", "a", "</Tags>" + gcm_end)},
        {"commas", repeated(gcm + "<Tags>", ",", "</Tags>" + gcm_end)},
        {"variables",
         numbered(gcm + "<PushVariables>{\"\":\"\"", ",\"#\":\"\"", "}</PushVariables>" + gcm_end)},
        {"headers",
         repeated(gcm + "<WnsHeaders>", "<WnsHeader><Header>a</Header><Value>b</Value></WnsHeader>",
                  "</WnsHeaders>" + gcm_end)},
        {"elements", numbered(gcm, "<a#/>", gcm_end)},
        {"expressions",
         numbered(gcm + "<BodyTemplate>{\"\":1", ",\"#\":\"$(a)\"", "}</BodyTemplate>" + gcm_end)},
        {"pieces of one text", repeated(gcm + "<Tags>", "a<!---->", "</Tags>" + gcm_end)},
        {"contents", repeated(entry + "</content>", "<content/>", "</entry>")}};
    check_shapes("registration", body_bytes, together(xml_shapes(), shapes), registration);

    const std::string hub = "<NotificationHubDescription>",
                      hub_end = "</NotificationHubDescription>";
    const auto description = [](const std::string& text) {
        (void)hub::parse_hub_description(text);
    };
    const std::string property = "<Property><Name>GoogleApiKey</Name><Value>a</Value></Property>";
    check_shapes(
        "hub", body_bytes,
        {{"properties", repeated(hub + "<GcmCredential><Properties>", property,
                                 "</Properties></GcmCredential>" + hub_end)},
         {"lists of properties",
          repeated(hub + "<GcmCredential>", "<Properties/>", "</GcmCredential>" + hub_end)},
         {"credentials", repeated(hub, "<GcmCredential/>", hub_end)},
         {"elements", numbered(hub, "<a#/>", hub_end)},
         {"rules", repeated(hub + "<AuthorizationRules>", "<AuthorizationRule/>",
                            "</AuthorizationRules>" + hub_end)},
         {"rights",
          repeated(hub + "<AuthorizationRules><AuthorizationRule><KeyName>a</KeyName><Rights>",
                   "<AccessRights>Listen</AccessRights>",
                   "</Rights></AuthorizationRule></AuthorizationRules>" + hub_end)}},
        description);
    check_shapes("job", body_bytes,
                 {{"properties",
                   numbered("<NotificationHubJob><Type>ExportRegistrations</Type>"
                            "<OutputContainerUri>https://a/b</OutputContainerUri><InputProperties>",
                            "<a><Key>#</Key></a>", "</InputProperties></NotificationHubJob>")}},
                 [](const std::string& text) { (void)hub::parse_job_request(text); });

    const std::string one_line = hub::one_line(std::string(body_bytes, '\n'));
    CHECK(one_line.size() == 5 * body_bytes);
    check_shapes("lines", 4 * body_bytes,
                 {{"line feeds", repeated("", "\n")},
                  {"carriage returns", repeated("", "\r")},
                  {"one line", repeated("", "a")}},
                 [](const std::string& text) {
                     hub::LineReader reader(
                         [&](std::uint64_t at) -> boost::system::result<std::string> {
                             return at < text.size() ? text.substr(at, 256) : std::string();
                         },
                         0, body_bytes);
                     hub::LineReader::Line line;
                     while (reader.next(line) == hub::LineReader::Step::line) {
                     }
                 });
}

TEST_CASE("installations and patches cost time in proportion to their bytes", "[hub][bounds]") {
    const std::string open = R"({"platform":"apns","pushChannel":"ab","tags":[")";
    const std::vector<Shape> shapes{
        {"tags", numbered(open, "#\",\"", "\"]}")},
        {"one tag again and again", repeated(open, "a\",\"", "\"]}")},
        {"templates", numbered(R"({"platform":"apns","pushChannel":"ab","templates":{"":{})",
                               R"(,"#":{"body":"{}"})", "}}")},
        {"variables", numbered(R"({"platform":"apns","pushChannel":"ab","pushVariables":{"":"")",
                               R"(,"#":"")", "}}")},
        {"tiles", numbered(R"({"platform":"wns","pushChannel":"ab","secondaryTiles":{"":{})",
                           R"(,"#":{"pushChannel":"a"})", "}}")},
        {"a channel in a text", repeated(R"({"platform":"browser","pushChannel":")", "[", "\"}")}};
    const auto put = [](const std::string& text) {
        const auto parsed = hub::parse_installation(text, "i", as_it_is, hub::BadTemplates::kept);
        if (hub::ok(parsed)) (void)hub::installation_json(std::get<registry::Installation>(parsed));
    };
    check_shapes("installation", body_bytes, together(json_shapes(), shapes), put);

    const registry::Installation full = full_installation();
    const auto patch = [&](const std::string& text) {
        (void)hub::patch_installation(full, text, as_it_is, hub::BadTemplates::kept);
    };
    const auto operations = [](const std::string& operation) {
        return numbered("[" + operation, "," + operation, "]");
    };
    const auto listed = [](const char* op, bool same) {
        return [=](std::size_t bytes) {
            std::string out = "[";
            // A few operations, each as large as it may be.
            for (std::size_t part = 0; part < 4; ++part)
                out += std::string(part > 0 ? "," : "") + R"({"op":")" + op +
                       R"(","path":"/tags","value":[)" + list_of_tags(bytes / 4 - 64, same) + "]}";
            return out + "]";
        };
    };
    const std::string path = R"({"op":"add","path":")";
    check_shapes(
        "patch", body_bytes,
        together(
            json_shapes(),
            {{"tags", listed("add", false)},
             {"one tag again and again", listed("add", true)},
             {"tags that replace", listed("replace", false)},
             {"single tags", operations(path + R"(/tags","value":"#x"})")},
             {"tags that go", operations(R"({"op":"remove","path":"/tags/#"})")},
             {"templates", operations(path + R"(/templates/x#","value":{"body":"{}"}})")},
             {"headers", operations(path + R"(/templates/t1/headers/apns-#","value":"1"})")},
             {"variables", operations(path + R"(/pushVariables/v#","value":"1"})")},
             {"tiles", operations(path + R"(/secondaryTiles/v#","value":{"pushChannel":"1"}})")},
             {"a path of slashes", repeated("[" + path, "/", "\",\"value\":1}]")},
             {"a path of escapes", repeated("[" + path + "/tags/", "~1", "\",\"value\":1}]")},
             {"a list in a text",
              repeated("[" + path + R"(/tags","value":"[\"a\")", R"(,\"a\")", "]\"}]")}}),
        patch);
}

TEST_CASE("templates and messages cost time in proportion to their bytes", "[hub][bounds]") {
    const auto compile = [](const char* platform) {
        return [=](const std::string& text) {
            registry::Template source;
            source.name = "t";
            source.body = text;
            if (std::string(platform) == "wns") source.headers = {{"X-WNS-Type", "wns/raw"}};
            const auto compiled = hub::compile_template(platform, source);
            if (!hub::ok(compiled)) return;
            const std::string large(60'000, '1');
            (void)hub::render(std::get<hub::CompiledTemplate>(compiled), {{"a", large}}, {});
        };
    };
    const std::vector<Shape> shapes{
        {"expressions", numbered("{\"\":1", ",\"#\":\"$(a,1)\"", "}")},
        {"numbers", numbered("{\"\":1", ",\"#\":\"#(a)\"", "}")},
        {"tokens", repeated("{\"\":\"{$(a,1)", "+.(a,1)", "}\"}")},
        {"tokens of nothing", repeated("{\"\":\"{$(a,0)", "+$(b)", "}\"}")},
        {"quoted texts", repeated("{\"\":\"{'a'", "+'a'", "}\"}")},
        {"one quoted text", repeated("{\"\":\"{'", "''", "'}\"}")},
        {"defaults", repeated("{\"\":\"$(a:{", "a", "})\"}")},
        {"blanks", repeated("{\"\":\"{", " ", "}\"}")}};
    check_shapes("template", body_bytes, together(json_shapes(), shapes), compile("fcmv1"));
    check_shapes("template", body_bytes,
                 together(xml_shapes(),
                          {{"expressions", repeated("<r>", "<a b='$(a,1)'>$(a,1)</a>", "</r>")},
                           {"mixed content", repeated("<r>a", "<a/>a", "</r>")}}),
                 compile("wns"));
    check_shapes("properties", body_bytes, json_shapes(), [](const std::string& text) {
        (void)hub::parse_properties(text);
        (void)hub::gcm_to_fcmv1(text);
        (void)hub::gcm_to_fcmv1("{\"data\":" + text + "}");
        (void)hub::parse_audience_request(text);
    });
    const hub::Config config;
    for (const char* format : {"apple", "fcmv1", "gcm", "windows", "template", "browser", "hms"}) {
        check_shapes(std::string("message to ") + format, body_bytes,
                     together(json_shapes(), xml_shapes()), [&](const std::string& text) {
                         hub::Request request;
                         request.headers = {{"servicebusnotification-format", format}};
                         (void)hub::read_send(request, text, config);
                     });
    }
}

TEST_CASE("what a request's head has costs time in proportion to its bytes", "[hub][bounds]") {
    const hub::Config config;
    const std::vector<hub::Route> table{
        {"GET", "/{hub}/registrations", hub::Right::none, 0, nullptr},
        {"GET", "/{hub}/devices", hub::Right::none, 0, nullptr, hub::Trait::problems, "tag user"},
        {"GET", "/{hub}/a/{name...}", hub::Right::none, 0, nullptr}};
    const auto target = [&](const std::string& text) {
        hub::Request request;
        request.method = "GET";
        request.target = text;
        request.host = "h";
        if (!hub::parse_target(request)) return;
        const auto routed = hub::match(table, "GET", request.segments);
        if (const auto* matched = std::get_if<hub::Matched>(&routed))
            (void)hub::check_query(*matched->route, request);
    };
    check_shapes("target", head_bytes,
                 {{"slashes", repeated("", "/")},
                  {"segments", repeated("", "/a")},
                  {"ampersands", repeated("/a/registrations?", "&")},
                  {"segments of one argument", repeated("/h/a", "/a")},
                  {"parameters", numbered("/a/registrations?", "#=&")},
                  {"parameters of ours", numbered("/a/devices?", "#=&")},
                  {"one parameter again and again", repeated("/a/registrations?", "a&")},
                  {"escapes", repeated("/a/registrations?", "%41")}},
                 target);
    check_shapes("filter", head_bytes,
                 {{"terms", repeated("", "ChannelUri eq 'a' and ")},
                  {"quotes", repeated("ChannelUri eq '", "''", "'")},
                  {"blanks", repeated("", " ")},
                  {"a word", repeated("", "a")}},
                 [](const std::string& text) { (void)hub::parse_filter(text); });
    check_shapes("token", head_bytes,
                 {{"fields", numbered("SharedAccessSignature ", "#=&")},
                  {"ampersands", repeated("SharedAccessSignature ", "&")},
                  {"escapes", repeated("SharedAccessSignature sig=a&se=1&skn=a&sr=", "%25")},
                  {"slashes", repeated("SharedAccessSignature sig=a&se=1&skn=a&sr=h://h", "/")}},
                 [](const std::string& text) {
                     hub::SasCheck check;
                     check.authorization = text;
                     check.host = "h";
                     check.path = "/a";
                     (void)hub::check_sas(check);
                     (void)hub::rule_named_in(text);
                     (void)hub::continuation_place("list", text);
                     (void)hub::parse_blob_url(text);
                     (void)hub::parse_time_ms(text);
                     (void)hub::parse_duration_ms(text);
                     (void)pns::parse_retry_after_ms(text, 0);
                 });
    check_shapes("tag expression", config.expression_bytes_max,
                 {{"parentheses", repeated("", "(")},
                  {"negations", repeated("", "!")},
                  {"tags", numbered("a", "||a#")},
                  {"one tag again and again", repeated("a", "&&a")},
                  {"tags in turn", numbered("a", "&&(b||a#)")},
                  {"tags and their negations", numbered("a", "||a#||!a#")},
                  {"nested in turn", repeated("", "(a||b&&")},
                  {"dollars", repeated("", "$")},
                  {"system tags", numbered("a", "||$UserId:{#}")},
                  {"blanks", repeated("", " ")}},
                 [&](const std::string& text) {
                     hub::Request request;
                     request.headers = {{"servicebusnotification-tags", text}};
                     (void)hub::plan_of(text, config);
                 });
    const auto with_headers = [&](const std::string& text) {
        hub::Request request;
        request.headers = {{"servicebusnotification-format", "apple"}};
        std::string_view left = text;
        while (!left.empty()) {
            const std::size_t end = std::min(left.find('\n'), left.size());
            request.headers.emplace_back(std::string(left.substr(0, end)), "1");
            left.remove_prefix(std::min(end + 1, left.size()));
        }
        (void)hub::read_send(request, "{}", config);
        (void)hub::request_fingerprint(request);
        (void)hub::read_idempotency_key(request);
    };
    check_shapes("headers", 2 * head_bytes,
                 {{"of APNs", numbered("", "apns-#\n")},
                  {"of APNs with x", numbered("", "x-apns-#\n")},
                  {"of a send", numbered("", "pushhub-#\n")},
                  {"keys", repeated("", "idempotency-key\n")}},
                 with_headers);
}

TEST_CASE("what providers and their credentials say costs time in proportion to its bytes",
          "[hub][bounds]") {
    std::vector<std::unique_ptr<pns::Account>> accounts;
    for (const char* name : {"apns", "fcmv1", "wns", "adm", "browser", "hms"}) {
        auto opened = pns::open_account(pns::sim::make_credential(name).credential);
        accounts.push_back(std::get<std::unique_ptr<pns::Account>>(std::move(opened)));
    }
    const std::size_t answer_bytes = pns::H1Parser::body_bytes_max;
    const auto answer_of = [](int status, const std::string& text) {
        pns::Answer answer;
        answer.status = status;
        answer.body = text;
        return answer;
    };
    const std::string detail =
        R"({"@type":"a","errorCode":"b","violations":[],"fieldViolations":[]})";
    const std::vector<Shape> answers =
        together(json_shapes(),
                 {{"details", repeated(R"({"error":{"details":[)" + detail, "," + detail, "]}}")}});
    for (const auto& account : accounts) {
        // Anybody may name the host of a browser's subscription; vendors answer some hundred bytes.
        const bool of_strangers = account == accounts[4];
        const std::size_t bytes = of_strangers ? answer_bytes : body_bytes;
        check_shapes("answer", bytes, answers, [&](const std::string& text) {
            pns::Push push;
            push.handle = "a";
            (void)account->judge(push, answer_of(400, text));
        });
        check_shapes("payload", body_bytes, json_shapes(), [&](const std::string& text) {
            for (const std::string& body :
                 {text, R"({"message":)" + text + "}", R"({"message":{"android":)" + text + "}}",
                  R"({"aps":)" + text + "}"}) {
                pns::Message message;
                message.body = body;
                (void)account->prepare(message);
            }
        });
    }
    check_shapes("answer of a token endpoint", answer_bytes, answers, [&](const std::string& text) {
        (void)pns::read_oauth_answer(answer_of(200, text));
    });
    check_shapes("handle", body_bytes, json_shapes(), [](const std::string& text) {
        for (const pns::Platform& platform : pns::platforms())
            (void)platform.normalise_handle(text);
    });
    check_shapes("key", 4 * body_bytes,
                 {{"base64", repeated("", "MIIB")},
                  {"line ends", repeated("", "\\n")},
                  {"heads", repeated("", "-----BEGIN PRIVATE KEY-----\n")},
                  {"sequences", repeated("", "\x30\x80")},
                  {"long sequences", repeated("", "\x30\x84\x7f\xff\xff\xff")}},
                 [](const std::string& text) {
                     (void)pns::Key::read_private(text);
                     (void)pns::Key::read_private(pns::base64(text));
                     (void)pns::read_certificate_file(text, "");
                     (void)pns::certificate_end_s(text);
                 });
    check_shapes("answer over HTTP/1.1", answer_bytes,
                 {{"head", repeated("HTTP/1.1 200 OK\r\n", "a: b\r\n")},
                  {"one line", repeated("HTTP/1.1 200 OK\r\na: ", "b")},
                  {"chunks",
                   repeated("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\na\r\n")},
                  {"chunk extensions",
                   repeated("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1", ";a=b")},
                  {"informational answers", repeated("", "HTTP/1.1 100 Continue\r\n\r\n")}},
                 [](const std::string& text) {
                     pns::H1Parser whole, pieces;
                     (void)whole.feed(text);
                     for (std::size_t at = 0; at < text.size(); at += 256) {
                         if (pieces.feed(std::string_view(text).substr(at, 256)) !=
                             pns::H1Parser::Step::more)
                             break;
                     }
                 });
}

TEST_CASE("bounds hold while a document is read", "[hub][bounds]") {
    const auto message_of = [](const auto& parsed) {
        return hub::ok(parsed) ? std::string() : std::get<hub::Refusal>(parsed).message;
    };
    const auto patched = [&](const std::string& patch) {
        return message_of(
            hub::patch_installation(full_installation(), patch, as_it_is, hub::BadTemplates::kept));
    };
    CHECK(patched(R"([{"op":"add","path":"/templates/one-more","value":{"body":"{}"}}])") ==
          "Operation 1: The installation has more than 64 templates.");
    CHECK(patched(R"([{"op":"add","path":"/templates/one-more/body","value":"{}"}])") ==
          "Operation 1: The installation has more than 64 templates.");
    CHECK(patched(R"([{"op":"add","path":"/pushVariables/one-more","value":"v"}])") ==
          "Operation 1: The installation has more than 256 push variables.");
    CHECK(patched(R"([{"op":"add","path":"/templates/t1/headers/apns-more","value":"v"}])") ==
          "Operation 1: the template has more than 64 headers.");
    CHECK(patched(R"([{"op":"add","path":"/templates/t1/headers/apns-1","value":"v"}])").empty());
    // Repetitions of what is there, and of itself, are dropped; the first spelling stays.
    const auto again =
        hub::patch_installation(full_installation(),
                                R"([{"op":"add","path":"/tags","value":["7","New","new"]},
            {"op":"add","path":"/tags/-","value":"NEW"}])",
                                as_it_is, hub::BadTemplates::kept);
    REQUIRE(hub::ok(again));
    const auto& tags = std::get<hub::PatchedInstallation>(again).value.tags;
    CHECK(tags.size() == 1'501);
    CHECK(tags.back() == "New");

    // One patch after the other: the tags of templates count for the size of the installation.
    registry::Installation grown = full_installation();
    std::string refused;
    for (int i = 0; i < 64 && refused.empty(); ++i) {
        std::string list;
        for (int k = 0; k < 1'200; ++k)
            list += (k > 0 ? ",\"" : "\"") + std::to_string(10'000 + k) + "\"";
        auto result =
            hub::patch_installation(grown,
                                    R"([{"op":"add","path":"/templates/t)" + std::to_string(i) +
                                        R"(/tags","value":[)" + list + "]}]",
                                    as_it_is, hub::BadTemplates::kept);
        refused = message_of(result);
        if (refused.empty()) grown = std::get<hub::PatchedInstallation>(std::move(result)).value;
    }
    CHECK(refused ==
          "The installation has more than 65536 bytes of tags, templates, tiles and push "
          "variables.");

    const auto many = repeated("[1", ",1", "]")(body_bytes);
    CHECK(message_of(hub::read_json(many, "It")) == "It has more than 16384 values.");
    const auto handles = repeated(
        "--b\r\nContent-Disposition: a; name=notification\r\n\r\n{}\r\n"
        "--b\r\nContent-Disposition: a; name=devices\r\n\r\n[\"a\"",
        ",\"a\"", "]\r\n--b--")(body_bytes);
    CHECK(message_of(hub::parse_direct_batch("multipart/mixed; boundary=b", handles)) ==
          "The devices part has more than 4000 values.");

    hub::Request request;
    request.headers = {{"servicebusnotification-format", "apple"}};
    for (int i = 0; i < 65; ++i) request.headers.emplace_back("x-apns-" + std::to_string(i), "1");
    CHECK(message_of(hub::read_send(request, "{}", hub::Config())) ==
          "The send has more than 64 headers for providers.");
    request.headers.pop_back();
    CHECK(message_of(hub::read_send(request, "{}", hub::Config())).empty());
}

TEST_CASE("a reference to what is no character is refused in XML", "[hub][bounds]") {
    const auto read = [](const std::string& text) {
        pugi::xml_document document;
        return hub::read_xml(text, document).value_or(hub::Refusal{200, ""}).status;
    };
    for (const char* reference : {"&#0;", "&#00;", "&#x0;", "&#x000;", "&#xD800;", "&#xdfff;",
                                  "&#55296;", "&#x110000;", "&#9999999999999999999;"}) {
        INFO(reference);
        CHECK(read("<a>b" + std::string(reference) + "c</a>") == 400);
        CHECK(read("<a b='" + std::string(reference) + "'/>") == 400);
        // There it is text.
        CHECK(read("<a><![CDATA[" + std::string(reference) + "]]></a>") == 200);
        CHECK(read("<a><!--" + std::string(reference) + "--></a>") == 200);
    }
    for (const char* other :
         {"&#65;", "&#x41;", "&#x10FFFF;", "&#9;", "&amp;#0;", "&#;", "&#x;", "&# 0;", "&#0"}) {
        INFO(other);
        CHECK(read("<a>b" + std::string(other) + "c</a>") == 200);
    }
    std::string wide = "\xFF\xFE";
    for (const char c : std::string("<a>&#0;</a>")) wide += {c, '\0'};
    CHECK(read(wide) == 400);
}
