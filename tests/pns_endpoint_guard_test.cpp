#include "pns/endpoint_guard.hpp"

#include <catch2/catch.hpp>
#include <functional>
#include <optional>

#include "pns/alarm.hpp"
#include "pns/clock.hpp"
#include "pns/errc.hpp"
#include "pns/handles.hpp"
#include "pns/nursery.hpp"
#include "pns/tls_link.hpp"
#include "tests/support/run_until.hpp"
#include "tests/support/simulators.hpp"

namespace {

pns::EndpointGuard guard_of(const std::vector<std::string>& rules) {
    auto guard = pns::EndpointGuard::parse(rules);
    REQUIRE(guard.has_value());
    return *guard;
}

bool passes(const pns::EndpointGuard& guard, const std::string& url) {
    const auto parsed = pns::parse_url(url);
    return parsed && parsed->secure && guard.allows(parsed->origin);
}

}  // namespace

TEST_CASE("endpoints of the known push services pass", "[pns]") {
    const auto guard = guard_of({});
    for (const char* url : {
             "https://fcm.googleapis.com/fcm/send/abc:def",
             "https://FCM.GoogleApis.com/wp/abc",
             "https://fcm.googleapis.com:443/wp/abc",
             "https://jmt17.google.com/fcm/send/a",
             "https://android.googleapis.com/gcm/send/a",
             "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
             "https://updates-autopush.stage.push.services.mozilla.com/wpush/v1/g",
             "https://web.push.apple.com/QGuQyavXutnMH",
             "https://db5p.notify.windows.com/w/?token=BQYAAA%2b",
         }) {
        INFO(url);
        CHECK(passes(guard, url));
    }
}

TEST_CASE("hostile endpoints are refused by their text, whatever the spelling", "[pns]") {
    // `any` stands for an operator who lets every public name in: the text alone must keep these
    // out.
    const auto any = guard_of({"*"});
    const char* const hostile[] = {
        // schemes
        "http://fcm.googleapis.com/a",
        "ftp://fcm.googleapis.com/a",
        "file:///etc/passwd",
        "gopher://fcm.googleapis.com/",
        "//fcm.googleapis.com/a",
        "fcm.googleapis.com/a",
        "https:/fcm.googleapis.com/a",
        "https:fcm.googleapis.com",
        "javascript:alert(1)",
        "",
        " https://fcm.googleapis.com/a",
        "https ://fcm.googleapis.com/a",
        "https://",
        "https:///a",
        "https://?a",
        "https://#a",
        // user info, and what parsers take for it
        "https://user@fcm.googleapis.com/a",
        "https://user:pass@fcm.googleapis.com/a",
        "https://fcm.googleapis.com@evil.test/a",
        "https://fcm.googleapis.com:443@evil.test/a",
        "https://fcm.googleapis.com%40evil.test/a",
        "https://evil.test\\@fcm.googleapis.com/a",
        "https://evil.test\\.fcm.googleapis.com/a",
        "https://@fcm.googleapis.com/a",
        // ports
        "https://fcm.googleapis.com:22/a",
        "https://fcm.googleapis.com:0/a",
        "https://fcm.googleapis.com:65536/a",
        "https://fcm.googleapis.com:99999999999/a",
        "https://fcm.googleapis.com:/a",
        "https://fcm.googleapis.com:+443/a",
        "https://fcm.googleapis.com:-1/a",
        "https://fcm.googleapis.com:443:443/a",
        "https://fcm.googleapis.com:4 43/a",
        "https://fcm.googleapis.com:0x1bb/a",
        // IPv4, as people write it and as inet_aton reads it
        "https://127.0.0.1/a",
        "https://127.1/a",
        "https://127.0.1/a",
        "https://0/a",
        "https://0.0.0.0/a",
        "https://2130706433/a",
        "https://0x7f000001/a",
        "https://0x7f.1/a",
        "https://0x7f.0x0.0x0.0x1/a",
        "https://017700000001/a",
        "https://0177.0.0.1/a",
        "https://0177.0.0.01/a",
        "https://127.0.0.0x1/a",
        "https://169.254.169.254/latest",
        "https://2852039166/latest",
        "https://0xA9FEA9FE/",
        "https://10.0.0.1/a",
        "https://192.168.0.1/a",
        "https://172.16.0.1/a",
        "https://100.64.0.1/a",
        "https://8.8.8.8/a",
        "https://127.0.0.1./a",
        "https://1.2.3.4.5/a",
        "https://256.0.0.1/a",
        "https://00000000000000000000000177.0.0.1/a",
        "https://127.0.0.1.1/a",
        // IPv6
        "https://[::1]/a",
        "https://[::]/a",
        "https://[::ffff:10.0.0.1]/a",
        "https://[::ffff:7f00:1]/a",
        "https://[0:0:0:0:0:ffff:7f00:1]/a",
        "https://[fe80::1%25lo]/",
        "https://[fc00::1]/a",
        "https://[2001:db8::1]/a",
        "https://[64:ff9b::7f00:1]/a",
        "https://[2606:4700::1111]/a",
        "https://[::1]:443/a",
        "https://::1/a",
        "https://[::127.0.0.1]/a",
        "https://[v1.x]/a",
        "https://[fcm.googleapis.com]/a",
        // names of this host and of inner networks
        "https://localhost/a",
        "https://localhost:443/a",
        "https://LOCALHOST/a",
        "https://localhost./a",
        "https://kubernetes/a",
        "https://metadata/a",
        "https://intranet/a",
        // dots and dashes
        "https://fcm.googleapis.com./a",
        "https://.fcm.googleapis.com/a",
        "https://fcm..googleapis.com/a",
        "https://-fcm.googleapis.com/a",
        "https://fcm-.googleapis.com/a",
        "https://fcm.googleapis.com-/a",
        "https://./a",
        "https://../a",
        "https://fcm_x.googleapis.com/a",
        // Unicode: full-width letters and digits, ideographic and half-width full stops, soft
        // hyphen, zero width space, Kelvin sign, long s, circled digits
        "https://\xef\xbd\x86"
        "cm.googleapis.com/a",
        "https://fcm\xe3\x80\x82googleapis.com/a",
        "https://fcm\xef\xbd\xa1googleapis.com/a",
        "https://fcm\xef\xbc\x8egoogleapis.com/a",
        "https://fcm\xc2\xad.googleapis.com/a",
        "https://fcm\xe2\x80\x8b.googleapis.com/a",
        "https://\xe2\x84\xaa.test/a",
        "https://google\xc5\xbf.test/a",
        "https://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/a",
        "https://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.\xe2\x93\xaa.\xe2\x93\xaa.\xe2\x91\xa0/a",
        "https://m\xc3\xbcnchen.test/a",
        // percent signs, control characters, white space, other brackets
        "https://fcm%2egoogleapis.com/a",
        "https://%31%32%37.0.0.1/a",
        "https://127%2e0.0.1/",
        "https://fcm.googleapis.com%00.evil.test/a",
        "https://fcm.googleapis.com%0d%0aHost:x/a",
        "https://fcm.googleapis.com\t/a",
        "https://fcm.goo\ngleapis.com/a",
        "https://fcm.googleapis.com/a b",
        "https://fcm.googleapis.com/a\r\nX-Evil: 1",
        "https://fcm.googleapis.com/\x7f",
        "https://fcm.googleapis.com/%zz",
        "https://fcm.googleapis.com/%4",
        "https://fcm.googleapis.com/<a>",
        "https://fcm.googleapis.com/\"",
        "https://fcm.googleapis.com/a\\b",
        "https://fcm.googleapis.com/a#b",
        "https://fcm.googleapis.com#@evil.test/",
        "https://{fcm}.googleapis.com/",
        "https://fcm.googleapis.com|evil.test/",
        "https://fcm.googleapis.com,evil.test/a",
        "https://fcm.googleapis.com;evil.test/a",
        "https://fcm.googleapis.com evil.test/a",
    };
    for (const char* url : hostile) {
        INFO(url);
        CHECK_FALSE(passes(any, url));
        CHECK_FALSE(passes(guard_of({}), url));
    }
    CHECK_FALSE(passes(any, "https://" + std::string(60, 'a') + "." + std::string(64, 'b') + ".c"));
    std::string long_name = "a";
    while (long_name.size() < 254) long_name += ".a";
    CHECK_FALSE(passes(any, "https://" + long_name + "/"));
    CHECK_FALSE(passes(any, "https://fcm.googleapis.com/" + std::string(2049, 'a')));
}

TEST_CASE("names that only look like a push service are refused by the list", "[pns]") {
    const auto guard = guard_of({});
    for (const char* url : {
             "https://notify.windows.com.evil.test/a",
             "https://evilnotify.windows.com/a",
             "https://notify.windows.com/a",
             "https://push.apple.com/a",
             "https://evilpush.apple.com/a",
             "https://webpush.apple.com/a",
             "https://fcm.googleapis.com.evil.test/a",
             "https://evil.test/fcm.googleapis.com",
             "https://evil.test/?https://fcm.googleapis.com/",
             "https://xfcm.googleapis.com/a",
             "https://sub.fcm.googleapis.com/a",
             "https://googleapis.com/a",
             "https://fcm.googleapis.co/a",
             "https://push.services.mozilla.com/a",
             "https://push.services.mozilla.com.evil.test/",
             "https://example.org/a",
             "https://xn--fcm-googleapis-com.test/a",
             "https://web.push.apple.com:8443/a",
             "https://fcm-googleapis.com/a",
             "https://fcm.googleapis.com.xn--p1ai/a",
         }) {
        INFO(url);
        CHECK(pns::parse_url(url).has_value());
        CHECK_FALSE(passes(guard, url));
    }
}

TEST_CASE("an operator names the push services that count", "[pns]") {
    const auto own = guard_of({"Push.Example.org", "*.push.test", "other.test:8443"});
    CHECK(passes(own, "https://push.example.org/a"));
    CHECK(passes(own, "https://a.b.push.test/a"));
    CHECK(passes(own, "https://other.test:8443/a"));
    for (const char* url :
         {"https://x.push.example.org/a", "https://push.test/a", "https://other.test/a",
          "https://push.example.org:8443/a", "https://fcm.googleapis.com/a"})
        CHECK_FALSE(passes(own, url));
    CHECK(own.rules_text() == "push.example.org, *.push.test, other.test:8443");

    const auto any = guard_of({"*", "*:8443"});
    CHECK(passes(any, "https://whatever.example/a"));
    CHECK(passes(any, "https://whatever.example:8443/a"));
    CHECK_FALSE(passes(any, "https://whatever.example:8444/a"));

    for (const char* rule :
         {"",         "*.",           "**",         "*x.test",   "a.*.test", "https://a.test",
          "a.test/",  "a.test/x",     "a b.test",   "127.0.0.1", "[::1]",    "localhost",
          "a.test:0", "a.test:70000", "a.test:",    "*:",        "*:0",      ".a.test",
          "a.test.",  "u@a.test",     "*.*.a.test", "a.test?x",  "a.test#x", "-a.test"}) {
        INFO(rule);
        CHECK_FALSE(pns::EndpointGuard::parse({rule}).has_value());
    }
    CHECK_FALSE(pns::EndpointGuard::parse(std::vector<std::string>(257, "a.test")).has_value());
}

TEST_CASE("only addresses of single public hosts are public", "[pns]") {
    struct Case {
        const char* address;
        bool is_public;
    };
    const Case cases[] = {
        {"8.8.8.8", true},
        {"1.1.1.1", true},
        {"142.250.1.95", true},
        {"223.255.255.255", true},
        {"0.0.0.0", false},
        {"0.1.2.3", false},
        {"10.0.0.1", false},
        {"10.255.255.255", false},
        {"9.255.255.255", true},
        {"11.0.0.0", true},
        {"100.63.255.255", true},
        {"100.64.0.0", false},
        {"100.127.255.255", false},
        {"100.128.0.0", true},
        {"127.0.0.1", false},
        {"127.255.255.254", false},
        {"128.0.0.1", true},
        {"169.253.255.255", true},
        {"169.254.169.254", false},
        {"169.255.0.0", true},
        {"172.15.255.255", true},
        {"172.16.0.0", false},
        {"172.31.255.255", false},
        {"172.32.0.0", true},
        {"192.0.0.8", false},
        {"192.0.1.0", true},
        {"192.0.2.1", false},
        {"192.88.99.1", false},
        {"192.168.1.1", false},
        {"192.169.0.0", true},
        {"198.17.255.255", true},
        {"198.18.0.0", false},
        {"198.19.255.255", false},
        {"198.20.0.0", true},
        {"198.51.100.7", false},
        {"203.0.113.7", false},
        {"224.0.0.1", false},
        {"239.255.255.255", false},
        {"240.0.0.1", false},
        {"255.255.255.255", false},
        {"::", false},
        {"::1", false},
        {"::127.0.0.1", false},
        {"::8.8.8.8", false},
        {"::ffff:127.0.0.1", false},
        {"::ffff:10.0.0.1", false},
        {"::ffff:169.254.169.254", false},
        {"::ffff:8.8.8.8", true},
        {"64:ff9b::7f00:1", false},
        {"64:ff9b::a9fe:a9fe", false},
        {"64:ff9b::808:808", true},
        {"64:ff9b:1::1", false},
        {"100::1", false},
        {"2001::1", false},
        {"2001:0:808:808::1", false},
        {"2001:2::1", false},
        {"2001:20::1", false},
        {"2001:1ff::1", false},
        {"2001:200::1", true},
        {"2001:db8::1", false},
        {"2002:7f00:1::", false},
        {"2002:808:808::1", false},
        {"2606:4700:4700::1111", true},
        {"2a00:1450:4001:82a::200a", true},
        {"3fff:fff::1", false},
        {"3fff:1000::1", true},
        {"4000::1", false},
        {"5f00::1", false},
        {"fc00::1", false},
        {"fd12:3456::1", false},
        {"fe80::1", false},
        {"fe80::1%1", false},
        {"fec0::1", false},
        {"ff02::1", false},
    };
    for (const Case& one : cases) {
        INFO(one.address);
        CHECK(pns::is_public_address(boost::asio::ip::make_address(one.address)) == one.is_public);
    }
}

namespace {

/// What opening a link to `target` ends with.
pns::error_code opened(const pns::Target& target) {
    boost::asio::io_context io{1};
    pns::TrustStore trust;
    pns::TlsClientOptions tls;
    tls.alpn = "http/1.1";
    pns::TlsLink::Options options;
    options.host = "push.test";
    options.target = target;
    options.tls = *pns::make_client_context(trust, tls);
    options.alpn = tls.alpn;
    options.connect_timeout_ms = 2'000;
    pns::RunningAlarm alarm(
        io.get_executor(), [](std::int64_t) { return pns::never_ms; }, pns::system_clock());
    pns::TlsLink link(io.get_executor(), std::move(options), alarm);
    pns::Nursery nursery(io.get_executor());
    pns::error_code out;
    bool ended = false;
    struct Opener {
        static pns::Task<void> run(pns::TlsLink& to_open, pns::error_code& result, bool& done) {
            result = co_await to_open.open();
            done = true;
        }
    };
    nursery.start(Opener::run(link, out, ended));
    io.run();
    REQUIRE(ended);
    link.close();
    return out;
}

}  // namespace

TEST_CASE("a name that leads to this host is not connected to when a handle brought it", "[pns]") {
    pns::Target target;
    target.port = 1;  // nobody listens
    // localhost stands for every public name whose owner lets it lead to a private address: what
    // counts is the address after the one resolution, and it is checked before any connect.
    target.host = "localhost";
    target.public_only = true;
    CHECK(opened(target) == pns::errc::address_not_public);
    target.host = "127.0.0.1";
    CHECK(opened(target) == pns::errc::address_not_public);
    target.host = "::1";
    CHECK(opened(target) == pns::errc::address_not_public);
    target.host = "";
    CHECK(opened(target) == pns::errc::resolve_failed);
    target.public_only = false;
    CHECK(opened(target) == pns::errc::resolve_failed);
    target.host = "localhost";
    CHECK(opened(target) == pns::errc::connect_failed);
}

TEST_CASE("a connection takes none of the descriptors that belong to others", "[pns]") {
    pns::Target target;
    target.host = "127.0.0.1";
    target.port = 1;
    target.descriptors_below = 3;  // input, output and errors have those before it
    CHECK(opened(target) == pns::errc::no_descriptors);
    const auto rules = pns::ConnectTo::parse({"a.test:443=127.0.0.1:1"}, 7).value();
    for (const char* host : {"a.test", "b.test"})
        CHECK(rules.resolve(host, 443).descriptors_below == 7);
}
