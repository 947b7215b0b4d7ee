#include "hub/api/routes.hpp"

#include <catch2/catch.hpp>

namespace {

std::vector<std::string> split(std::string_view path) {
    std::vector<std::string> segments;
    while (!path.empty()) {
        path.remove_prefix(1);
        const auto segment = path.substr(0, path.find('/'));
        if (!segment.empty()) segments.emplace_back(segment);
        path.remove_prefix(segment.size());
    }
    return segments;
}

/// The pattern that answers, or "404", or "405 " and what is allowed.
std::string answers(std::string_view method, std::string_view path) {
    const auto segments = split(path);
    const auto found = hub::match(hub::routes(), method, segments);
    if (const auto* matched = std::get_if<hub::Matched>(&found)) {
        return std::string(matched->route->pattern);
    }
    const auto& none = std::get<hub::NoRoute>(found);
    return none.status == 404 ? "404" : "405 " + none.allow;
}

}  // namespace

TEST_CASE("every operation of the contract finds its route in every spelling", "[hub]") {
    struct Row {
        std::string_view method, path, expected;
    };
    const std::vector<Row> rows{
        {"GET", "/", "/"},
        {"GET", "/$Resources/NotificationHubs/", "/$Resources/NotificationHubs"},
        {"GET", "/$resources/notificationhubs", "/$Resources/NotificationHubs"},
        {"PUT", "/orders", "/{hub}"},
        {"GET", "/orders/", "/{hub}"},
        {"DELETE", "/orders", "/{hub}"},
        {"POST", "/orders/registrationIDs", "/{hub}/registrationids"},
        {"POST", "/orders/registrationids/", "/{hub}/registrationids"},
        {"POST", "/orders/Registrations", "/{hub}/registrations"},
        {"GET", "/orders/registrations/", "/{hub}/registrations"},
        {"PUT", "/orders/Registrations/1-2-3", "/{hub}/registrations/{id}"},
        {"GET", "/orders/registrations/1-2-3", "/{hub}/registrations/{id}"},
        {"DELETE", "/orders/registrations/1-2-3", "/{hub}/registrations/{id}"},
        {"GET", "/orders/tags/a/registrations", "/{hub}/tags/{tag}/registrations"},
        {"PUT", "/orders/installations/x", "/{hub}/installations/{id}"},
        {"PATCH", "/orders/Installations/x", "/{hub}/installations/{id}"},
        {"GET", "/orders/installations/x", "/{hub}/installations/{id}"},
        {"DELETE", "/orders/installations/x/", "/{hub}/installations/{id}"},
        {"POST", "/orders/Messages", "/{hub}/messages"},
        {"POST", "/orders/messages/", "/{hub}/messages"},
        {"POST", "/orders/messages/$batch", "/{hub}/messages/$batch"},
        {"POST", "/orders/messages/$BATCH/", "/{hub}/messages/$batch"},
        {"GET", "/orders/messages/NH-1", "/{hub}/messages/{id}"},
        {"GET", "/healthz", "/healthz"},
        {"GET", "/readyz", "/readyz"},
        {"GET", "/metrics", "/metrics"},
        {"GET", "/version", "/version"},
        {"GET", "/orders/feedbackcontainer", "/{hub}/feedbackcontainer"},
        {"GET", "/orders/blobcontainers/jobs", "/{hub}/blobcontainers/{container}"},
        {"POST", "/orders/Jobs", "/{hub}/jobs"},
        {"GET", "/orders/jobs/", "/{hub}/jobs"},
        {"GET", "/orders/jobs/2518", "/{hub}/jobs/{id}"},
        {"GET", "/$blobs/orders/jobs", "/$blobs/{hub}/{container}"},
        {"GET", "/$blobs/registrations/jobs", "/$blobs/{hub}/{container}"},
        {"GET", "/$blobs/orders/jobs/a", "/$blobs/{hub}/{container}/{name...}"},
        {"HEAD", "/$Blobs/orders/jobs/ns//orders/1/Output.txt",
         "/$blobs/{hub}/{container}/{name...}"},
        {"PUT", "/$blobs/orders/jobs/registrations", "/$blobs/{hub}/{container}/{name...}"},
        {"DELETE", "/$blobs/orders/jobs/a/b", "405 GET, HEAD, PUT"},
        {"GET", "/orders/nothing", "404"},
        {"POST", "/orders/messages/$batch/x", "404"},
        {"GET", "/orders/tags/a", "404"},
        {"GET", "/a/b/c/d/e/f/g/h/i/j", "404"},
        {"GET", "/orders/messages/$batch", "405 POST"},
        {"PATCH", "/orders", "405 PUT, GET, DELETE, HEAD"},
        {"GET", "/orders/messages", "405 POST"},
        {"get", "/orders", "405 PUT, GET, DELETE, HEAD"},
        {"POST", "/orders/installations/x", "405 PUT, PATCH, GET, DELETE, HEAD"},
        {"PUT", "/healthz", "405 GET, HEAD"},
        {"HEAD", "/healthz", "/healthz"},
        {"HEAD", "/orders/messages", "405 POST"},
    };
    for (const auto& row : rows) {
        INFO(row.method << " " << row.path);
        CHECK(answers(row.method, row.path) == row.expected);
    }
}

TEST_CASE("arguments come decoded, in order, the hub first", "[hub]") {
    const std::vector<std::string> segments{"Orders", "TAGS", "a/b", "Registrations"};
    const auto found = hub::match(hub::routes(), "GET", segments);
    CHECK(std::get<hub::Matched>(found).args == std::vector<std::string>{"Orders", "a/b"});
    const std::vector<std::string> blob{"$blobs", "orders", "jobs", "ns", "a/b", "Output.txt"};
    const auto rest = hub::match(hub::routes(), "GET", blob);
    CHECK(std::get<hub::Matched>(rest).args ==
          std::vector<std::string>{"orders", "jobs", "ns/a/b/Output.txt"});
    const std::vector<std::string> deep(21, "$blobs");
    CHECK(std::get<hub::NoRoute>(hub::match(hub::routes(), "GET", deep)).status == 404);
}

TEST_CASE("the table is sound", "[hub]") {
    for (const auto& route : hub::routes()) {
        INFO(route.method << " " << route.pattern);
        CHECK(route.handler != nullptr);
        CHECK(route.body_bytes_max >= 64 * 1024);
        CHECK(route.body_bytes_max <= 512 * 1024);  // the bound of an HTTP/2 stream
        CHECK((route.right == hub::Right::none) ==
              (!route.names_hub && route.right != hub::Right::manage_namespace));
        CHECK(answers(route.method, route.pattern) == route.pattern);
    }
}
