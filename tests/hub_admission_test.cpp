// Every way in which a send begins goes through one door: the same bounds, the same record, and
// nothing left of what was declined.

#include "hub/send/admission.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <catch2/catch.hpp>
#include <variant>

#include "tests/support/just_now.hpp"
#include "tests/support/world.hpp"

namespace {

using support::apple_body;
using support::handle_of;
using support::World;
using Headers = std::vector<std::pair<std::string, std::string>>;

struct Way {
    const char* name;
    std::string path;
    Headers headers;
    std::string body;
    std::uint64_t devices;
};

std::vector<Way> ways() {
    const std::string batch =
        "--b\r\nContent-Disposition: inline; name=notification\r\n"
        "Content-Type: application/json\r\n\r\n" +
        apple_body +
        "\r\n--b\r\nContent-Disposition: inline; name=devices\r\n"
        "Content-Type: application/json\r\n\r\n[\"" +
        handle_of("apns", 1) + "\",\"" + handle_of("apns", 2) + "\"]\r\n--b--\r\n";
    return {
        {"by tags", "/app/messages", {{"servicebusnotification-tags", "all"}}, apple_body, 3},
        {"to everybody", "/app/messages", {}, apple_body, 4},
        {"as a test", "/app/messages?test=true", {}, apple_body, 4},
        {"direct",
         "/app/messages?direct",
         {{"servicebusnotification-devicehandle", handle_of("apns", 1)}},
         apple_body,
         1},
        {"as a batch",
         "/app/messages/$batch?direct",
         {{"content-type", "multipart/mixed; boundary=b"}},
         batch,
         2},
        {"scheduled",
         "/app/schedulednotifications",
         {{"servicebusnotification-scheduletime", support::just_now()},
          {"servicebusnotification-tags", "all"}},
         apple_body,
         3},
    };
}

std::uint64_t sends(World& world) {
    const auto body = world.call("GET", "/app/sends").body;
    std::uint64_t found = 0;
    for (auto at = body.find(R"("id":)"); at != std::string::npos;
         at = body.find(R"("id":)", at + 1))
        ++found;
    return found;
}

}  // namespace

TEST_CASE("every way to send meets the same bounds and reaches whom it should", "[hub]") {
    World world({}, {"apns"});
    for (int i = 0; i < 3; ++i)
        world.install("i" + std::to_string(i), "apns", handle_of("apns", i));
    world.install("i3", "apns", handle_of("apns", 3), R"("tags":["other"])");
    std::uint64_t kept = 0, pushed = 0;
    for (const Way& way : ways()) {
        INFO(way.name);
        const auto post = [&](const std::string& expected) {
            Headers headers = way.headers;
            headers.emplace_back("servicebusnotification-format", "apple");
            headers.emplace_back("pushhub-expect-audience", expected);
            return world.call("POST", way.path, way.body, headers);
        };
        const auto declined = post("9");
        CHECK(declined.status == 409);
        CHECK(declined.body.find("audience-unexpected") != std::string::npos);
        CHECK(declined.body.find(R"("audience":)" + std::to_string(way.devices)) !=
              std::string::npos);
        CHECK(post("nine").status == 400);
        CHECK(sends(world) == kept);
        CHECK(world.sim("apns").counters().accepted == pushed);
        const auto taken = post(std::to_string(way.devices));
        INFO(taken.body);
        REQUIRE(taken.status == 201);
        pushed += way.devices;
        CHECK(support::comes_true([&] { return world.sim("apns").counters().accepted == pushed; }));
        CHECK(sends(world) == ++kept);
    }
    CHECK(world.sim("apns").counters().doubles == 0);
}

TEST_CASE("a send that reaches nobody is in the ledger, and has ended", "[hub]") {
    World world({}, {"apns"});
    const auto told = world.finish(world.send("apple", "nobody", apple_body));
    CHECK(told.state == "NoTargetFound");
    CHECK(told.devices() == 0);
    CHECK(told.ended_at_ms >= told.enqueued_at_ms);
    CHECK(world.sim("apns").counters().accepted == 0);
}

TEST_CASE("a direct send without handles reaches nobody, and never everybody", "[hub]") {
    World world({}, {"apns"});
    for (int i = 0; i < 3; ++i)
        world.install("i" + std::to_string(i), "apns", handle_of("apns", i));
    hub::Parts& parts = world.parts();
    hub::NewSend wanted{parts.hubs.find("app"), {}, {}, hub::Reach::handles};
    wanted.send.id = "1234567890";
    wanted.send.format = "apple";
    wanted.send.body = apple_body;
    boost::asio::io_context loop;
    auto future = boost::asio::co_spawn(loop, parts.admission.accept(std::move(wanted)),
                                        boost::asio::use_future);
    loop.run();
    const auto outcome = future.get();
    const auto* declined = std::get_if<hub::Admission::Declined>(&outcome);
    REQUIRE(declined != nullptr);
    CHECK(std::get<hub::Refusal>(*declined).status == 400);
    CHECK(sends(world) == 0);
    CHECK(world.sim("apns").counters().accepted == 0);
}
