// Tested by tests/hub_routes_test.cpp.

#include "hub/api/routes.hpp"

#include <array>

#include "hub/api/handlers.hpp"

namespace hub {

namespace {

constexpr std::size_t body_bytes = 64 * 1024;     // docs/contracts/anh.md 2.5: 413 above 64 KB
constexpr std::size_t batch_bytes = 512 * 1024;   // a message and up to 1,000 handles
constexpr std::size_t hub_bytes = 256 * 1024;     // a description with all credentials
constexpr std::size_t no_body_bytes = 64 * 1024;  // some clients send a body nobody asked for

// What clients of Azure Blob append, on which nothing here depends, is taken as well: their time
// limit, how a list is grouped and what it should say besides. An upload in blocks has an answer of
// its own.
constexpr std::string_view list_parameters =
    "sr sp se sig restype comp prefix marker maxresults delimiter include timeout";
constexpr std::string_view blob_parameters = "sr sp se sig timeout";
constexpr std::string_view upload_parameters = "sr sp se sig timeout comp blockid";
constexpr std::string_view hubs_parameters = "$top $skip continuationtoken";

constexpr std::array table{
    Route{"GET", "/healthz", Right::none, no_body_bytes, get_healthz, Trait::health},
    Route{"GET", "/readyz", Right::none, no_body_bytes, get_readyz, Trait::health},
    Route{"GET", "/metrics", Right::none, no_body_bytes, get_metrics, Trait::health},
    Route{"GET", "/version", Right::none, no_body_bytes, get_version, Trait::health},
    Route{"GET", "/openapi.json", Right::none, no_body_bytes, get_openapi},

    // Authorised by the signature of the URL.
    Route{"GET", "/$blobs/{hub}/{container}", Right::none, no_body_bytes, list_blobs,
          list_parameters},
    Route{"GET", "/$blobs/{hub}/{container}/{name...}", Right::none, no_body_bytes, get_blob,
          blob_parameters},
    Route{"HEAD", "/$blobs/{hub}/{container}/{name...}", Right::none, no_body_bytes, get_blob,
          blob_parameters},
    Route{"PUT", "/$blobs/{hub}/{container}/{name...}", Right::none, no_body_bytes, put_blob,
          Trait::pieces, upload_parameters, blob_upload_bound},

    Route{"GET", "/", Right::manage_namespace, no_body_bytes, list_hubs, hubs_parameters},
    Route{"GET", "/$Resources/NotificationHubs", Right::manage_namespace, no_body_bytes, list_hubs,
          hubs_parameters},
    Route{"PUT", "/{hub}", Right::manage_namespace, hub_bytes, put_hub},
    Route{"GET", "/{hub}", Right::manage, no_body_bytes, get_hub},
    Route{"DELETE", "/{hub}", Right::manage_namespace, no_body_bytes, delete_hub},

    Route{"POST", "/{hub}/registrationids", Right::listen, no_body_bytes, create_registration_id,
          Trait::creates},
    Route{"POST", "/{hub}/registrations", Right::listen, body_bytes, create_registration,
          Trait::creates},
    Route{"GET", "/{hub}/registrations", Right::listen_if_filtered, no_body_bytes,
          list_registrations, "$filter $top $skip continuationtoken"},
    Route{"PUT", "/{hub}/registrations/{id}", Right::listen, body_bytes, put_registration},
    Route{"GET", "/{hub}/registrations/{id}", Right::listen, no_body_bytes, get_registration},
    Route{"DELETE", "/{hub}/registrations/{id}", Right::listen, no_body_bytes, delete_registration},
    Route{"GET", "/{hub}/tags/{tag}/registrations", Right::manage, no_body_bytes,
          list_registrations_by_tag, "$top $skip continuationtoken"},

    Route{"PUT", "/{hub}/installations/{id}", Right::listen, body_bytes, put_installation},
    Route{"PATCH", "/{hub}/installations/{id}", Right::listen, body_bytes, patch_installation},
    Route{"GET", "/{hub}/installations/{id}", Right::listen, no_body_bytes, get_installation},
    Route{"DELETE", "/{hub}/installations/{id}", Right::listen, no_body_bytes, delete_installation},

    Route{"POST", "/{hub}/messages", Right::send, body_bytes, post_message,
          Trait::creates | Trait::steered, "direct test"},
    Route{"POST", "/{hub}/messages/$batch", Right::send, batch_bytes, post_direct_batch,
          Trait::creates | Trait::steered, "direct test"},
    Route{"POST", "/{hub}/schedulednotifications", Right::send, body_bytes, post_scheduled,
          Trait::creates | Trait::steered, "direct"},
    Route{"DELETE", "/{hub}/schedulednotifications/{id}", Right::send, no_body_bytes,
          delete_scheduled},
    Route{"GET", "/{hub}/messages/{id}", Right::send_or_manage, no_body_bytes, get_message},

    Route{"POST", "/{hub}/audience", Right::send_or_manage, body_bytes, post_audience,
          Trait::problems},
    Route{"GET", "/{hub}/devices", Right::manage, no_body_bytes, list_devices, Trait::problems,
          "tag user platform handle state top continuation"},
    Route{"DELETE", "/{hub}/users/{id}", Right::manage, no_body_bytes, erase_user, Trait::problems},

    Route{"POST", "/{hub}/apns/channels", Right::manage, body_bytes, post_channel,
          Trait::problems | Trait::creates},
    Route{"GET", "/{hub}/apns/channels", Right::manage, no_body_bytes, list_channels,
          Trait::problems},
    Route{"GET", "/{hub}/apns/channels/{id}", Right::manage, no_body_bytes, get_channel,
          Trait::problems},
    Route{"DELETE", "/{hub}/apns/channels/{id}", Right::manage, no_body_bytes, delete_channel,
          Trait::problems},
    Route{"POST", "/{hub}/apns/channels/{id}/messages", Right::send, body_bytes,
          post_channel_message, Trait::problems | Trait::creates},
    Route{"POST", "/{hub}/fcmv1/messages", Right::send, body_bytes, post_topic_message,
          Trait::problems | Trait::creates, "topic condition"},

    Route{"GET", "/{hub}/sends", Right::send_or_manage, no_body_bytes, list_sends, Trait::problems,
          "state format from to top continuation"},
    Route{"GET", "/{hub}/sends/{id}", Right::send_or_manage, no_body_bytes, get_send,
          Trait::problems},
    Route{"GET", "/{hub}/sends/{id}/events", Right::send_or_manage, no_body_bytes, get_send_events,
          Trait::problems},
    Route{"POST", "/{hub}/sends/{id}/pause", Right::send, no_body_bytes, pause_send,
          Trait::problems},
    Route{"POST", "/{hub}/sends/{id}/resume", Right::send, no_body_bytes, resume_send,
          Trait::problems},
    Route{"POST", "/{hub}/sends/{id}/cancel", Right::send, no_body_bytes, cancel_send,
          Trait::problems},
    Route{"GET", "/{hub}/sends/{id}/devices", Right::send_or_manage, no_body_bytes,
          get_send_devices, Trait::problems, "outcome top continuation"},
    Route{"GET", "/{hub}/devices/{id}/pushes", Right::send_or_manage, no_body_bytes,
          get_device_pushes, Trait::problems, "top continuation"},
    Route{"GET", "/{hub}/retirements", Right::send_or_manage, no_body_bytes, get_retirements,
          Trait::problems, "handle installation registration top continuation"},
    Route{"GET", "/{hub}/retirements/held", Right::manage, no_body_bytes, list_held_retirements,
          Trait::problems, "top continuation"},
    Route{"POST", "/{hub}/retirements/held/release", Right::manage, no_body_bytes,
          release_held_retirements, Trait::problems, "platform"},
    Route{"POST", "/{hub}/retirements/held/discard", Right::manage, no_body_bytes,
          discard_held_retirements, Trait::problems, "platform"},

    Route{"GET", "/{hub}/feedbackcontainer", Right::send_or_manage, no_body_bytes,
          get_feedback_container},
    Route{"GET", "/{hub}/blobcontainers/{container}", Right::manage, no_body_bytes,
          get_blob_container},
    Route{"POST", "/{hub}/jobs", Right::manage, body_bytes, post_job, Trait::creates},
    Route{"GET", "/{hub}/jobs", Right::manage, no_body_bytes, list_jobs},
    Route{"GET", "/{hub}/jobs/{id}", Right::manage, no_body_bytes, get_job},
};

}  // namespace

std::span<const Route> routes() {
    return table;
}

}  // namespace hub
