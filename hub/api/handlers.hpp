#pragma once

// Every handler of the REST surface, one per line. The route table (routes.cpp) names them; bodies
// are in the file of their noun.

#include "hub/http/route.hpp"

namespace hub {

// root: no credentials
pns::Task<Response> get_healthz(Call call);
pns::Task<Response> get_readyz(Call call);
pns::Task<Response> get_metrics(Call call);
pns::Task<Response> get_version(Call call);

// hubs (hubs.cpp)
pns::Task<Response> list_hubs(Call call);
pns::Task<Response> put_hub(Call call);
pns::Task<Response> get_hub(Call call);
pns::Task<Response> delete_hub(Call call);

// registrations (registrations.cpp)
pns::Task<Response> create_registration_id(Call call);
pns::Task<Response> create_registration(Call call);
pns::Task<Response> put_registration(Call call);
pns::Task<Response> get_registration(Call call);
pns::Task<Response> delete_registration(Call call);
pns::Task<Response> list_registrations(Call call);
pns::Task<Response> list_registrations_by_tag(Call call);

// installations (installations.cpp)
pns::Task<Response> put_installation(Call call);
pns::Task<Response> patch_installation(Call call);
pns::Task<Response> get_installation(Call call);
pns::Task<Response> delete_installation(Call call);

// sends (sends.cpp)
pns::Task<Response> post_message(Call call);  ///< also ?direct and ?test
pns::Task<Response> post_direct_batch(Call call);
pns::Task<Response> get_message(Call call);

// scheduled sends (schedules.cpp)
pns::Task<Response> post_scheduled(Call call);
pns::Task<Response> delete_scheduled(Call call);

// bulk jobs, containers (jobs.cpp)
pns::Task<Response> post_job(Call call);
pns::Task<Response> get_job(Call call);
pns::Task<Response> list_jobs(Call call);
pns::Task<Response> get_feedback_container(Call call);
pns::Task<Response> get_blob_container(Call call);
/// The signed URL of the failures of a send; empty: it has none.
pns::Task<std::string> error_details_url(const Call& call, const std::string& send_id);

// audience, devices, users (audience.cpp, devices.cpp, users.cpp)
pns::Task<Response> post_audience(Call call);
pns::Task<Response> list_devices(Call call);
pns::Task<Response> erase_user(Call call);

// sends as nouns of their own (control.cpp, events.cpp)
pns::Task<Response> list_sends(Call call);
pns::Task<Response> get_send(Call call);
pns::Task<Response> get_send_events(Call call);
pns::Task<Response> pause_send(Call call);
pns::Task<Response> resume_send(Call call);
pns::Task<Response> cancel_send(Call call);

// single pushes and retired handles (trace.cpp)
pns::Task<Response> get_send_devices(Call call);
pns::Task<Response> get_device_pushes(Call call);
pns::Task<Response> get_retirements(Call call);
pns::Task<Response> list_held_retirements(Call call);
pns::Task<Response> release_held_retirements(Call call);
pns::Task<Response> discard_held_retirements(Call call);

// the description of all routes (openapi.cpp)
pns::Task<Response> get_openapi(Call call);

// broadcast channels of Live Activities (channels.cpp)
pns::Task<Response> post_channel(Call call);
pns::Task<Response> list_channels(Call call);
pns::Task<Response> get_channel(Call call);
pns::Task<Response> delete_channel(Call call);
pns::Task<Response> post_channel_message(Call call);

// FCM topics and conditions (topics.cpp)
pns::Task<Response> post_topic_message(Call call);

// the blob area (blobs.cpp)
pns::Task<Response> list_blobs(Call call);
pns::Task<Response> get_blob(Call call);  ///< also HEAD
pns::Task<Response> put_blob(Call call);
/// How large the body of a PUT may be: only who may write may send much.
std::size_t blob_upload_bound(const Parts& parts, const Request& request,
                              const std::vector<std::string>& args);

}  // namespace hub
