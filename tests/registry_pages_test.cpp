// A page of registrations ends by count or by bytes, and leads to all that is behind it.
#include <catch2/catch.hpp>
#include <functional>
#include <set>
#include <string>

#include "registry/page_fill.hpp"
#include "registry/reader.hpp"
#include "tests/support/registry_fixture.hpp"

using namespace registry_test;

namespace {

constexpr std::size_t body_bytes = 60'000;

Registration large(int number, bool templated) {
    Registration out;
    out.id = "1-" + std::to_string(1'000 + number) + "-1";
    out.platform = "gcm";
    out.handle = "one";
    out.tags = {"all"};
    if (templated) {
        out.body.emplace();
        out.body->body = std::string(body_bytes, 'x');
    }
    return out;
}

}  // namespace

TEST_CASE("pages end by bytes, in lists of all, of a tag and of a handle", "[registry]") {
    const TempDirectory directory;
    Options options;
    options.directory = directory.path();
    Opened registry(options);
    const std::uint32_t hub = registry.hub("orders", 2);
    std::set<std::string> all;
    for (int i = 0; i < 90; ++i) {
        auto value = large(i, i % 3 != 0);
        all.insert(value.id);
        REQUIRE(registry.put(hub, std::move(value)).has_value());
    }
    using Read = std::function<Result<Page>(const std::string& after)>;
    const std::vector<std::pair<std::string, Read>> lists{
        {"all", [&](const auto& after) { return registry->list(hub, "", after, 1'000); }},
        {"tag", [&](const auto& after) { return registry->list(hub, "all", after, 1'000); }},
        {"handle",
         [&](const auto& after) { return registry->with_handle(hub, "one", after, 50); }}};
    for (const auto& [name, read] : lists) {
        INFO(name);
        std::set<std::string> seen;
        std::string after;
        std::size_t pages = 0, rows = 0;
        do {
            const auto page = read(after);
            REQUIRE(page.has_value());
            REQUIRE_FALSE(page->registrations.empty());
            std::size_t bytes = 0;
            for (const Registration& one : page->registrations) {
                bytes += bytes_of(one);
                seen.insert(one.id);
                ++rows;
            }
            CHECK(bytes < PageFill::page_bytes + body_bytes + 1'000);
            after = page->next;
        } while (!after.empty() && ++pages < 20);
        CHECK(pages >= 3);
        CHECK(rows == all.size());
        CHECK(seen == all);
    }
    CHECK(registry->with_handle(hub, "one", "x", 50).error() == errc::not_found);
    CHECK(registry->with_handle(hub, "another", {}, 50)->registrations.empty());
}
