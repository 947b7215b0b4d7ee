// Damaged bytes of the disk as what registry/trace_keys.hpp, registry/trace_block.hpp and the rest
// of registry/keys.hpp name,
// as a bulk job, as the description of a hub and as the end of RocksDB's log: refused, or a value
// that is written and read again as it was. fuzz_keys.cpp has the other records of the registry.
// Inputs: up to 66560 bytes, a piece of error details or two blocks of a log.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "hub/bulk/job_record.hpp"
#include "hub/device/hub_description.hpp"
#include "hub/text/times.hpp"
#include "registry/keys.hpp"
#include "registry/trace_block.hpp"
#include "registry/trace_keys.hpp"
#include "registry/wal_tail.hpp"
#include "tests/support/registry_fixture.hpp"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void check_event(std::string_view bytes) {
    std::string_view rest = bytes;
    const auto event = registry::take_trace_event(rest);
    require(registry::decode_trace_event(bytes).has_value() == (event && rest.empty()));
    if (!event) return;
    std::string again;
    registry::append_trace_event(again, *event);
    const auto same = registry::decode_trace_event(again);
    require(same && same->send_id == event->send_id && same->device_id == event->device_id &&
            same->at_ms == event->at_ms && same->provider_id == event->provider_id);
    // What a page of the trace shows of it.
    for (const auto time : {event->at_ms, event->enqueued_at_ms, event->retry_at_ms})
        require(hub::iso_ms(time).ends_with('Z'));
    const std::string key = registry::trace_send_key(*event);
    const auto prefix = registry::trace_send_prefix(event->hub, event->send_id);
    require(key.starts_with(prefix) && key.size() == prefix.size() + registry::send_tail_bytes);
    const auto tail = registry::decode_send_tail(std::string_view(key).substr(prefix.size()));
    require(tail && tail->number == event->number && tail->attempt == event->attempt);
    require(tail->at_ms == (event->at_ms < 0 ? 0 : event->at_ms));
    require(registry::trace_device_key(*event).starts_with(
        registry::trace_device_prefix(event->hub, event->kind, event->device_id)));
    const std::string bytes_of_reference = registry::encode_trace_reference(*event);
    const auto reference = registry::decode_trace_reference(bytes_of_reference);
    require(reference && reference->device_id == event->device_id);
}

void check_trace(std::string_view bytes) {
    check_event(bytes);
    if (const auto reference = registry::decode_trace_reference(bytes))
        require(reference->device_id.size() + reference->outcome.size() < bytes.size());
    if (const auto record = registry::decode_retirement(7, bytes)) {
        require(*registry::decode_retirement(7, registry::encode_retirement(*record)) == *record);
        require(hub::iso_ms(record->at_ms).ends_with('Z'));
    }
    const std::string held_key = registry::held_key(7, 9);
    if (const auto held = registry::decode_held(held_key, bytes)) {
        const auto again = registry::decode_held(held_key, registry::encode_held(*held));
        require(again && registry::encode_held(*again) == registry::encode_held(*held));
        require(again->hub == 7 && again->ticket == 9);
    }
    (void)registry::decode_held(bytes, registry::encode_held({}));
    std::string_view rest = bytes;
    if (const auto head = registry::take_details_head(rest)) {
        require(rest.size() <= registry::details_piece_bytes);
        std::string again = registry::encode_details(*head, rest);
        std::string_view piece = again;
        const auto same = registry::take_details_head(piece);
        require(same && same->bytes == head->bytes && same->at_ms == head->at_ms && piece == rest);
    }
    if (const auto name = registry::details_name(bytes)) require(name->size() + 7 == bytes.size());
    if (const auto time = registry::retirement_time(bytes)) require(*time >= 0);
    (void)registry::decode_send_tail(bytes);
}

void check_block(std::string_view bytes) {
    std::string texts;
    if (const auto events = registry::decode_block(bytes, texts); events && !events->empty()) {
        std::vector<const registry::TraceEvent*> one_by_one;
        for (const auto& event : *events) one_by_one.push_back(&event);
        std::string again, texts_again;
        const auto made = registry::encode_block(again, one_by_one);
        require(made.events > 0 && made.events <= events->size());
        const auto same = registry::decode_block(again, texts_again);
        require(same && same->size() == made.events);
        for (std::size_t i = 0; i < made.events; ++i) {
            const auto& before = (*events)[i];
            const auto& after = (*same)[i];
            require(after.send_id == before.send_id && after.device_id == before.device_id &&
                    after.at_ms == before.at_ms && after.provider_id == before.provider_id);
        }
    }
    std::vector<registry::IndexEntry> all, some;
    if (registry::read_index(bytes, nullptr, all) && !all.empty()) {
        const std::uint32_t mark = all.front().mark;
        require(registry::read_index(bytes, &mark, some).has_value());
        const auto has_it = [&](const registry::IndexEntry& entry) { return entry.mark == mark; };
        require(static_cast<std::size_t>(std::count_if(all.begin(), all.end(), has_it)) ==
                some.size());
    }
    (void)registry::decode_send_block(bytes);
    (void)registry::decode_send_block_span(bytes);
    (void)registry::decode_block_bound(bytes);
    (void)registry::block_of(bytes);
    (void)registry::block_of_index(bytes);
    (void)registry::segment_of(bytes);
}

/// A block as a hub writes it, with the bytes that the input names changed: two for the place, one
/// for the value.
std::string damaged_block(std::string_view input) {
    static const std::string whole = [] {
        std::vector<registry::TraceEvent> events;
        std::vector<std::string> ids;
        for (int i = 0; i < 20; ++i)
            ids.push_back("3f2504e0-4f89-41d3-9a0c-0305e82c33" + std::to_string(10 + i));
        std::vector<const registry::TraceEvent*> one_by_one;
        for (std::size_t i = 0; i < ids.size(); ++i) {
            registry::TraceEvent event;
            event.hub = 7;
            event.send_id = "send";
            event.enqueued_at_ms = 1'700'000'000'000;
            event.device_id = i % 3 == 0 ? std::string_view("phone") : ids[i];
            event.registration_id = ids[i];
            event.number = static_cast<std::uint32_t>(i * i);
            event.platform = "apns";
            event.at_ms = event.enqueued_at_ms + static_cast<std::int64_t>(i) * 7;
            event.took_ms = 1 + i;
            event.outcome = i % 5 == 0 ? "BadChannel" : "Success";
            event.reason = i % 5 == 0 ? "Unregistered" : "";
            event.provider_id = ids[ids.size() - 1 - i];
            events.push_back(event);
        }
        for (const auto& event : events) one_by_one.push_back(&event);
        std::string out;
        require(registry::encode_block(out, one_by_one).events == events.size());
        return out;
    }();
    std::string out = whole;
    for (std::size_t i = 0; i + 2 < input.size(); i += 3) {
        const auto place = static_cast<std::size_t>(static_cast<unsigned char>(input[i])) * 256 +
                           static_cast<unsigned char>(input[i + 1]);
        out[place % out.size()] = input[i + 2];
    }
    return out;
}

void check_registry(std::string_view bytes) {
    if (const auto counts = registry::decode_answer_counts(bytes))
        require(*registry::decode_answer_counts(registry::encode_answer_counts(*counts)) ==
                *counts);
    if (const auto state = registry::decode_sweep(bytes))
        require(*registry::decode_sweep(registry::encode_sweep(*state)) == *state);
    if (const auto key = registry::decode_ended_key(bytes))
        require(*registry::decode_ended_key(registry::ended_key(*key)) == *key);
    if (const auto key = registry::decode_ledger_key(bytes)) {
        const auto again = registry::decode_ledger_key(
            registry::ledger_key(registry::LedgerKind::send, key->first, key->second));
        require(again && *again == *key);
    }
    (void)registry::decode_answer_scope(bytes);
    (void)registry::decode_version(bytes);
}

/// Numbers are read as they stand there, or not at all.
void check_number(const nlohmann::json& stored, const nlohmann::json& read, const char* name) {
    require(stored.at(name).is_number_integer() && stored.at(name) == read.at(name));
}

void check_job(std::string_view text) {
    const auto parsed = hub::read_job_json(text);
    if (!hub::ok(parsed)) {
        require(std::get<hub::Refusal>(parsed).status == 500);
        return;
    }
    const auto& job = std::get<hub::JobRecord>(parsed);
    const std::string written = hub::job_json(job);
    const auto again = hub::read_job_json(written);
    require(hub::ok(again) && std::get<hub::JobRecord>(again) == job);
    const auto stored = nlohmann::json::parse(text), read = nlohmann::json::parse(written);
    for (const char* name :
         {"hubNumber", "status", "createdAt", "updatedAt", "offset", "inputBytes", "line",
          "succeeded", "rejected", "outputBytes", "failedBytes"})
        check_number(stored, read, name);
    require(stored.at("listAfter") == read.at("listAfter"));
}

void check_description(std::string_view text) {
    const auto parsed = hub::read_hub_description_json(text);
    if (!hub::ok(parsed)) {
        require(std::get<hub::Refusal>(parsed).status == 500);
        return;
    }
    const auto& description = std::get<hub::HubDescription>(parsed);
    const auto again = hub::read_hub_description_json(hub::hub_description_json(description));
    require(hub::ok(again) && std::get<hub::HubDescription>(again) == description);
    (void)hub::hub_description_xml(description);
}

/// A stored record of which the input is one member, or the last ones.
std::string with_member(std::string record, std::string_view text) {
    record.pop_back();
    return record.append(",").append(text).append("}");
}

void check_log(std::string_view bytes) {
    static const registry_test::TempDirectory directory;
    const auto& store = directory.path();
    std::ofstream(store / "000007.log", std::ios::binary | std::ios::trunc) << bytes;
    const auto end = registry::newest_log_end(store);
    const bool torn = registry::log_is_torn(store);
    require(!bytes.empty() || (end == registry::LogEnd::whole && !torn));
    // Cut behind its last whole batch, it ends with that.
    require(registry::cut_log_after(store, ~std::uint64_t{0}));
    require(std::filesystem::file_size(store / "000007.log") <= bytes.size());
    require(registry::newest_log_end(store) == registry::LogEnd::whole);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < 1) return 0;
    const std::string_view input(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    if (bytes[0] == 0) {  // a file is synced for each
        check_log(input);
        return 0;
    }
    switch (bytes[0] % 8) {
        case 1:
            check_job(input);
            check_description(input);
            break;
        case 2:
        case 3:  // the last of two members counts
            check_job(with_member(hub::job_json({}), input));
            break;
        case 4:
            check_description(with_member(hub::hub_description_json({}), input));
            break;
        case 5:
            check_block(input);
            check_block(damaged_block(input));
            break;
        default:
            check_trace(input);
            check_registry(input);
    }
    return 0;
}
