// What each device gets of a template send, whatever the hashes of templates and variables are.

#include "hub/send/rendering.hpp"
#include "pns/mixing.hpp"

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <string>

#include "pns/account.hpp"
#include "pns/bearer.hpp"
#include "pns/clock.hpp"
#include "registry/keys.hpp"
#include "tests/support/pns_accounts.hpp"

namespace {

struct Desk {
    Desk() {
        send.format = "template";
        send.body = R"({"who":"all"})";
        sender = std::make_unique<pns::Sender>(loop, support::open_account("apns"),
                                               pns::SenderSettings(), pns::Network(), bearers);
        run.emplace(std::make_shared<const hub::HubState>(), registry::frozen(send), 1,
                    registry::Progress{});
        run->prepare(1, false);
        rendering.emplace(*run);
        while (pns::platforms()[platform].name != "apns") ++platform;
    }
    static std::string template_of(const std::string& text) {
        registry::Template source;
        source.body = R"({"aps":{"alert":")" + text + R"("}})";
        return registry::encode_template(source);
    }
    std::string body_of(const std::string& template_bytes, std::uint64_t hash,
                        const std::string& variables = {}) {
        registry::Device device;
        device.platform = "apns";
        device.template_bytes = template_bytes;
        device.template_hash = hash;
        device.variables_bytes = variables;
        const hub::RenderedPush& push = rendering->get(device, platform, *sender, 1);
        return push.prepared ? *push.prepared->body : push.refusal.message;
    }

    boost::asio::io_context loop{1};
    pns::BearerCache bearers{pns::system_clock()};
    registry::Send send;
    std::unique_ptr<pns::Sender> sender;
    std::optional<hub::SendRun> run;
    std::optional<hub::Rendering> rendering;
    std::size_t platform = 0;
};

}  // namespace

TEST_CASE("templates whose hashes meet give each device its own text", "[hub]") {
    Desk desk;
    const std::string mine = Desk::template_of("mine"), theirs = Desk::template_of("theirs");
    for (int round = 0; round < 3; ++round) {
        CHECK(desk.body_of(mine, 7) == R"({"aps":{"alert":"mine"}})");
        CHECK(desk.body_of(theirs, 7) == R"({"aps":{"alert":"theirs"}})");
        CHECK(desk.body_of("no template", 7) == "the stored template cannot be read");
    }
}

TEST_CASE("what was rendered is kept by its bytes", "[hub]") {
    Desk desk;
    const std::string bytes = Desk::template_of("$(name)");
    const auto variables = [](const std::string& name) {
        return registry::encode_variables({{"name", name}});
    };
    for (int i = 0; i < 5'000; ++i) {  // more than is kept
        const std::string name = std::to_string(i % 4'500);
        REQUIRE(desk.body_of(bytes, 9, variables(name)) ==
                R"({"aps":{"alert":")" + name + R"("}})");
    }
    CHECK(desk.body_of(bytes, 9) == R"({"aps":{"alert":""}})");
}

TEST_CASE("the hash of a send's id is the same in every build", "[hub]") {
    CHECK(pns::fnv1a("") == 0xCBF29CE484222325u);
    CHECK(pns::fnv1a("foobar") == 0x85944171F73967E8u);
}
