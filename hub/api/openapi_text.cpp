// What the description of the REST surface says about each route. tests/hub_openapi_test.cpp
// demands one entry for every row of the route table.
//
// It is a table: one entry for each route, with a sentence, its parameters and its answers. Only
// words stand here; paths, rights and bounds come from the route table itself.

#include "hub/api/openapi.hpp"

namespace hub {

namespace {

constexpr std::string_view json = "application/json";
constexpr std::string_view xml = "application/xml";
constexpr std::string_view atom_entry = "application/atom+xml;type=entry;charset=utf-8";
constexpr std::string_view atom_feed = "application/atom+xml;type=feed;charset=utf-8";
constexpr std::string_view plain = "text/plain";
constexpr std::string_view any = "*/*";
constexpr std::string_view none = "";

constexpr RouteParameter format{"ServiceBusNotification-Format", true,
                                "apple, fcmv1, gcm, windows, adm, browser, template and others."};
constexpr RouteParameter tags{"ServiceBusNotification-Tags", true,
                              "Tag expression; absent: everybody."};
constexpr RouteParameter direct{"direct", false, "To handles instead of registrations."};
constexpr RouteParameter handle{"ServiceBusNotification-DeviceHandle", true,
                                "The handle of a direct send."};
constexpr RouteParameter test{"test", false,
                              "To 10 devices at most, answered with the outcome of each."};
constexpr RouteParameter delivery{"PushHub-Delivery", true, "at-least-once or at-most-once."};
constexpr RouteParameter expect{"PushHub-Expect-Audience", true,
                                "1200, 1200+-50 or 1200+-2.5%: another audience answers 409."};
constexpr RouteParameter allow{"PushHub-Allow", true,
                               "broadcast: the ceiling of the hub does not hold."};
constexpr RouteParameter top{"top", false, "Rows in a page."};
constexpr RouteParameter token{"continuation", false, "Of the page before."};
constexpr RouteParameter canary{"PushHub-Canary", true,
                                "1%; hold: this share first, the rest after resume."};
constexpr RouteParameter rate{"PushHub-Rate", true,
                              "500/s, 61/m, 100/h: pushes in each second, minute or hour at most."};
constexpr RouteParameter deadline{"PushHub-Deadline", true,
                                  "A time, after which what is not out is abandoned."};
constexpr RouteParameter platform{"platform", false, "Only of this platform."};
constexpr RouteParameter atom_top{"$top", false, "Rows in a page, 100 unless given."};
constexpr RouteParameter atom_token{"continuationtoken", false,
                                    "x-ms-continuationtoken of the page before."};
constexpr RouteParameter if_match{"If-Match", true, "* or an ETag."};

}  // namespace

const std::vector<RouteText>& route_texts() {
    static const std::vector<RouteText> all{
        {"GET", "/healthz", "process", "Does the process live?", none, 200, plain},
        {"GET", "/readyz", "process", "Does it take work?", none, 200, plain},
        {"GET", "/metrics", "process", "Metrics in Prometheus' text form.", none, 200, plain},
        {"GET", "/version", "process", "Name and version.", none, 200, json},
        {"GET", "/openapi.json", "process", "This description.", none, 200, json},

        {"GET", "/$blobs/{hub}/{container}", "blobs",
         "Blobs of a container; the signature is in the address.", none, 200, xml},
        {"GET", "/$blobs/{hub}/{container}/{name...}", "blobs", "A blob.", none, 200, any},
        {"HEAD", "/$blobs/{hub}/{container}/{name...}", "blobs", "Size and type of a blob.", none,
         200, none},
        {"PUT", "/$blobs/{hub}/{container}/{name...}", "blobs", "Writes a blob.", any, 201, none},

        {"GET", "/", "hubs", "All hubs of the namespace.", none, 200, atom_feed},
        {"GET", "/$Resources/NotificationHubs", "hubs", "All hubs of the namespace.", none, 200,
         atom_feed},
        {"PUT",
         "/{hub}",
         "hubs",
         "Creates a hub, or changes its description.",
         atom_entry,
         201,
         atom_entry,
         {if_match}},
        {"GET", "/{hub}", "hubs", "The description of a hub.", none, 200, atom_entry},
        {"DELETE", "/{hub}", "hubs", "Removes a hub with everything in it.", none, 200, none},

        {"POST", "/{hub}/registrationids", "registrations", "A fresh registration id.", none, 201,
         none},
        {"POST", "/{hub}/registrations", "registrations", "Creates a registration.", atom_entry,
         200, atom_entry},
        {"GET",
         "/{hub}/registrations",
         "registrations",
         "Registrations, all or those of the handle in $filter.",
         none,
         200,
         atom_feed,
         {{"$filter", false, "ChannelUri eq '...' and the like."}, atom_top, atom_token}},
        {"PUT",
         "/{hub}/registrations/{id}",
         "registrations",
         "Creates or updates a registration.",
         atom_entry,
         200,
         atom_entry,
         {if_match}},
        {"GET", "/{hub}/registrations/{id}", "registrations", "A registration.", none, 200,
         atom_entry},
        {"DELETE",
         "/{hub}/registrations/{id}",
         "registrations",
         "Removes a registration.",
         none,
         200,
         none,
         {if_match}},
        {"GET",
         "/{hub}/tags/{tag}/registrations",
         "registrations",
         "Registrations with a tag.",
         none,
         200,
         atom_feed,
         {atom_top, atom_token}},

        {"PUT", "/{hub}/installations/{id}", "installations",
         "Creates or replaces an installation.", json, 200, none},
        {"PATCH", "/{hub}/installations/{id}", "installations",
         "Changes an installation by JSON patch operations.", json, 200, none},
        {"GET", "/{hub}/installations/{id}", "installations", "An installation.", none, 200, json},
        {"DELETE", "/{hub}/installations/{id}", "installations", "Removes an installation.", none,
         204, none},

        {"POST",
         "/{hub}/messages",
         "sends",
         "Sends a notification.",
         any,
         201,
         none,
         {format, tags, direct, handle, test, delivery, canary, rate, deadline, expect, allow}},
        {"POST",
         "/{hub}/messages/$batch",
         "sends",
         "Sends to up to 1,000 handles.",
         "multipart/mixed",
         201,
         none,
         {format, direct, test, delivery, canary, rate, deadline, expect, allow}},
        {"GET", "/{hub}/messages/{id}", "sends", "What became of a send, as the SDKs read it.",
         none, 200, xml},
        {"POST",
         "/{hub}/schedulednotifications",
         "sends",
         "Sends at a later time.",
         any,
         201,
         none,
         {format,
          tags,
          {"ServiceBusNotification-ScheduleTime", true, "2026-11-21T10:00:00, in UTC."},
          delivery,
          canary,
          rate,
          deadline,
          expect,
          allow}},
        {"DELETE", "/{hub}/schedulednotifications/{id}", "sends",
         "Cancels a send that waits for its time.", none, 200, none},

        {"POST", "/{hub}/audience", "audience", "Whom a send would reach, without sending.", json,
         200, json},
        {"GET",
         "/{hub}/devices",
         "devices",
         "Lists and searches installations and registrations.",
         none,
         200,
         json,
         {{"tag", false, "A tag expression."},
          {"user", false, "A user id."},
          {"platform", false, "apns, fcmv1, wns, adm and others."},
          {"handle", false, "How the handle begins."},
          {"state", false, "active, expired or any."},
          top,
          token}},
        {"DELETE", "/{hub}/users/{id}", "devices",
         "Erases a user: installations, registrations, traces.", none, 200, json},

        {"POST", "/{hub}/apns/channels", "channels", "Creates a broadcast channel at Apple.", json,
         201, json},
        {"GET", "/{hub}/apns/channels", "channels", "Broadcast channels at Apple.", none, 200,
         json},
        {"GET", "/{hub}/apns/channels/{id}", "channels", "A broadcast channel.", none, 200, json},
        {"DELETE", "/{hub}/apns/channels/{id}", "channels", "Removes a broadcast channel.", none,
         200, none},
        {"POST", "/{hub}/apns/channels/{id}/messages", "channels",
         "Sends a live activity update through a channel.", json, 201, json},
        {"POST",
         "/{hub}/fcmv1/messages",
         "channels",
         "Sends to a topic or condition of FCM.",
         json,
         201,
         json,
         {{"topic", false, "The topic, or:"}, {"condition", false, "Topics with && and ||."}}},

        {"GET",
         "/{hub}/sends",
         "sends",
         "Sends, newest first.",
         none,
         200,
         json,
         {{"state", false, "Only sends in these states."},
          {"format", false, "Only sends of this format."},
          {"from", false, "Accepted at or after this time."},
          {"to", false, "Accepted at or before this time."},
          top,
          token}},
        {"GET", "/{hub}/sends/{id}", "sends",
         "State, audience, counts, rate and latencies of a send.", none, 200, json},
        {"GET", "/{hub}/sends/{id}/events", "sends", "The same as it changes, until the end.", none,
         200, "text/event-stream"},
        {"POST", "/{hub}/sends/{id}/pause", "sends", "Holds a send.", none, 200, json},
        {"POST", "/{hub}/sends/{id}/resume", "sends", "Lets a held send go on.", none, 200, json},
        {"POST", "/{hub}/sends/{id}/cancel", "sends", "Ends a send; what is out is out.", none, 200,
         json},
        {"GET",
         "/{hub}/sends/{id}/devices",
         "trace",
         "What became of a send, device by device.",
         none,
         200,
         json,
         {{"outcome", false, "Only devices with this outcome."}, top, token}},
        {"GET",
         "/{hub}/devices/{id}/pushes",
         "trace",
         "What a device was sent lately.",
         none,
         200,
         json,
         {top, token}},
        {"GET",
         "/{hub}/retirements",
         "trace",
         "Handles that providers called dead, and why.",
         none,
         200,
         json,
         {{"handle", false, "Of this handle."},
          {"installation", false, "Of this installation."},
          {"registration", false, "Of this registration."},
          top,
          token}},
        {"GET", "/{hub}/retirements/held", "trace",
         "Dead handles held back, because a whole credential looks dead.", none, 200, json},
        {"POST",
         "/{hub}/retirements/held/release",
         "trace",
         "Retires what is held.",
         none,
         200,
         json,
         {platform}},
        {"POST",
         "/{hub}/retirements/held/discard",
         "trace",
         "Forgets what is held.",
         none,
         200,
         json,
         {platform}},

        {"GET", "/{hub}/feedbackcontainer", "feedback", "Signed address of the feedback container.",
         none, 200, plain},
        {"GET", "/{hub}/blobcontainers/{container}", "feedback",
         "Signed address of a container of the blob area.", none, 200, plain},
        {"POST", "/{hub}/jobs", "jobs", "Starts a bulk job.", atom_entry, 201, atom_entry},
        {"GET", "/{hub}/jobs", "jobs", "Bulk jobs, newest first.", none, 200, atom_feed},
        {"GET", "/{hub}/jobs/{id}", "jobs", "A bulk job.", none, 200, atom_entry},
    };
    return all;
}

}  // namespace hub
