// A front over the writer (changes), the views (reads) and the store. Each change becomes an
// object with apply(), which runs on the writer's thread, and a callback for its result; each read
// takes the current view and works on that. No rule about data stands here: those are in the file
// of each noun.
#include "registry/registry.hpp"

#include "registry/changes.hpp"
#include "registry/devices.hpp"
#include "registry/handles.hpp"
#include "registry/idempotency.hpp"
#include "registry/match.hpp"
#include "registry/migrate.hpp"
#include "registry/reader.hpp"
#include "registry/users.hpp"
#include "registry/writer.hpp"

namespace registry {

struct Registry::Parts {
    Parts(const Options& wanted, std::unique_ptr<Store> opened, Memory memory)
        : options(wanted),
          store(std::move(opened)),
          views(options.posting_cache_bytes_max),
          writer(options, *store, views, row_changes, std::move(memory)) {}
    const Options options;
    std::unique_ptr<Store> store;
    Views views;
    RowChanges row_changes;
    Writer writer;
};

template <class T, class Apply>
void Registry::submit(Apply apply, Done<T> done) {
    parts_->writer.submit(
        std::make_unique<PendingChange<T, Apply>>(std::move(apply), std::move(done)));
}

Registry::Registry(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Registry::~Registry() {
    close();
}

void Registry::create_hub(HubRow hub, Done<HubRow> done) {
    submit<HubRow>(
        [hub = std::move(hub)](Transaction& tx) { return registry::create_hub(tx, hub); },
        std::move(done));
}

void Registry::update_hub(HubRow hub, Done<HubRow> done) {
    submit<HubRow>(
        [hub = std::move(hub)](Transaction& tx) { return registry::update_hub(tx, hub); },
        std::move(done));
}

void Registry::erase_hub(std::string name, Done<void> done) {
    submit<void>(
        [name = std::move(name)](Transaction& tx) { return registry::erase_hub(tx, name); },
        std::move(done));
}

std::vector<HubRow> Registry::hubs() const {
    std::vector<HubRow> rows;
    const auto view = parts_->views.current();
    if (!view) return rows;
    for (const auto& [name, row] : view->hubs->by_name) rows.push_back(row);
    return rows;
}

namespace {

std::unique_ptr<Change> change_of(RegistrationPut put, Done<Registration> done) {
    const auto apply = [](Transaction& tx, RegistrationPut& record) {
        return put_registration(tx, record);
    };
    const auto value = [](RegistrationPut record) { return std::move(record.value); };
    return std::make_unique<
        PendingRecord<Registration, RegistrationPut, decltype(apply), decltype(value)>>(
        std::move(put), apply, value, std::move(done));
}

std::unique_ptr<Change> change_of(std::uint32_t hub, Installation wanted,
                                  std::optional<std::uint64_t> expected_version,
                                  Done<Installation> done) {
    const auto apply = [hub, expected_version](Transaction& tx, Installation& record) {
        return put_installation(tx, hub, record, expected_version);
    };
    const auto value = [](Installation record) { return record; };
    return std::make_unique<
        PendingRecord<Installation, Installation, decltype(apply), decltype(value)>>(
        std::move(wanted), apply, value, std::move(done));
}

}  // namespace

void Registry::put_registration(std::uint32_t hub, Registration value, Precondition match,
                                Done<Registration> done) {
    parts_->writer.submit(
        change_of(RegistrationPut(hub, std::move(value), match), std::move(done)));
}

void Registry::put_registrations(std::uint32_t hub, std::vector<PutOfMany> many,
                                 Precondition match) {
    std::vector<RegistrationPut> puts;
    puts.reserve(many.size());
    for (PutOfMany& one : many) puts.emplace_back(hub, std::move(one.value), match);
    if (const auto view = parts_->views.current()) look_up(*view, puts);
    std::vector<std::unique_ptr<Change>> changes;
    changes.reserve(many.size());
    for (std::size_t i = 0; i < many.size(); ++i)
        changes.push_back(change_of(std::move(puts[i]), std::move(many[i].done)));
    parts_->writer.submit(std::move(changes));
}

void Registry::erase_registration(std::uint32_t hub, std::string id, Precondition match,
                                  Done<void> done) {
    submit<void>([hub, id = std::move(id), match](
                     Transaction& tx) { return registry::erase_registration(tx, hub, id, match); },
                 std::move(done));
}

void Registry::put_installation(std::uint32_t hub, Installation value,
                                std::optional<std::uint64_t> expected_version,
                                Done<Installation> done) {
    parts_->writer.submit(change_of(hub, std::move(value), expected_version, std::move(done)));
}

void Registry::erase_installation(std::uint32_t hub, std::string id, Done<bool> done) {
    submit<bool>([hub, id = std::move(id)](
                     Transaction& tx) { return registry::erase_installation(tx, hub, id); },
                 std::move(done));
}

Result<Registration> Registry::registration(std::uint32_t hub, std::string_view id) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return read_registration(*view, hub, id);
}

Result<Installation> Registry::installation(std::uint32_t hub, std::string_view id) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return read_installation(*view, hub, id);
}

Result<Page> Registry::list(std::uint32_t hub, std::string_view tag, std::string_view after,
                            std::size_t count_max) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return list_registrations(*view, hub, tag, after, count_max);
}

Result<Page> Registry::with_handle(std::uint32_t hub, std::string_view handle,
                                   std::string_view after, std::size_t count_max) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return find_handle(*view, hub, handle, after, count_max);
}

Result<std::vector<Place>> Registry::places_of_handle(std::uint32_t hub, std::string_view platform,
                                                      std::string_view handle,
                                                      std::size_t count_max) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return registry::places_of_handle(*view, hub, platform, handle, count_max);
}

Result<DevicePage> Registry::devices(std::uint32_t hub, const DeviceQuery& query) const {
    return find_devices(parts_->views, hub, query);
}

Result<std::vector<std::string>> Registry::installations_of_user(std::uint32_t hub,
                                                                 std::string_view user_id,
                                                                 std::size_t count_max) const {
    return registry::installations_of_user(parts_->views, hub, user_id, count_max);
}

void Registry::erase_user(std::uint32_t hub, std::string user_id, std::vector<std::string> ids,
                          Done<std::vector<ErasedInstallation>> done) {
    submit<std::vector<ErasedInstallation>>(
        [hub, user_id = std::move(user_id), ids = std::move(ids)](Transaction& tx) {
            return registry::erase_user(tx, hub, user_id, ids);
        },
        std::move(done));
}

Result<Selection> Registry::select(std::uint32_t hub, const tagexpr::Plan& plan,
                                   const Universe& universe) const {
    return select_devices(parts_->views, hub, plan, universe);
}

Result<Selection> Registry::try_select(std::uint32_t hub, const tagexpr::Plan& plan,
                                       const Universe& universe) const {
    return registry::try_select(parts_->views, hub, plan, universe);
}

Result<bool> Registry::matches(std::uint32_t hub, std::uint16_t partition, std::uint32_t number,
                               const tagexpr::Plan& plan, const Universe& universe) const {
    const auto view = parts_->views.current();
    if (!view) return {boost::system::in_place_error, make_error_code(errc::closed)};
    return row_matches(*view, hub, {partition, number}, plan, universe);
}

Result<Audience> Registry::audience(std::uint32_t hub, const AudienceQuery& query) const {
    return count_audience(parts_->views, hub, query);
}

Result<void> Registry::load(std::uint32_t hub, std::uint16_t partition,
                            std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                            DeviceChunk& chunk) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return load_devices(*view, hub, partition, numbers, now_ms, chunk);
}

Result<void> Registry::try_load(std::uint32_t hub, std::uint16_t partition,
                                std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                                DeviceChunk& chunk) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return registry::try_load(*view, hub, partition, numbers, now_ms, chunk);
}

std::uint64_t Registry::stamp() const {
    return parts_->row_changes.stamp();
}
bool Registry::may_have_changed(std::uint32_t hub, std::uint16_t partition, std::uint32_t number,
                                std::uint64_t stamp) const {
    return parts_->row_changes.may_have_changed({hub, {partition, number}}, stamp);
}

void Registry::retire(std::uint32_t hub, std::vector<Retirement> dead,
                      Done<std::vector<Retired>> done) {
    submit<std::vector<Retired>>(
        [hub, dead = std::move(dead)](Transaction& tx) { return registry::retire(tx, hub, dead); },
        std::move(done));
}

void Registry::rotate(std::uint32_t hub, std::vector<Rotation> moved, Done<std::size_t> done) {
    submit<std::size_t>([hub, moved = std::move(moved)](
                            Transaction& tx) { return registry::rotate(tx, hub, moved); },
                        std::move(done));
}

void Registry::expire(std::int64_t now_ms, std::size_t count_max, Done<Swept> done) {
    submit<Swept>(
        [now_ms, count_max](Transaction& tx) { return registry::expire(tx, now_ms, count_max); },
        std::move(done));
}

void Registry::accept(std::uint32_t hub, std::shared_ptr<const FrozenSend> frozen,
                      Progress progress, Done<void> done) {
    submit<void>([hub, frozen = std::move(frozen), progress = std::move(progress)](
                     Transaction& tx) { return registry::accept(tx, hub, frozen, progress); },
                 std::move(done));
}

void Registry::checkpoint(std::uint32_t hub, std::string send_id, Progress progress,
                          Done<void> done) {
    submit<void>([hub, send_id = std::move(send_id), progress = std::move(progress)](
                     Transaction& tx) { return registry::checkpoint(tx, hub, send_id, progress); },
                 std::move(done));
}

Result<std::pair<Send, Progress>> Registry::send(std::uint32_t hub, std::string_view id) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return read_send(*view, hub, id);
}

Result<std::vector<OpenSend>> Registry::open_sends() const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return read_open_sends(*view);
}

Result<SendPage> Registry::list_sends(std::uint32_t hub, const SendQuery& query) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return read_sends(*view, hub, query);
}

void Registry::sweep_sends(SendRetention keep, std::int64_t now_ms, std::size_t count_max,
                           Done<SweptSends> done) {
    submit<SweptSends>(
        [keep, now_ms, count_max](Transaction& tx) {
            return registry::sweep_sends(tx, keep, now_ms, count_max);
        },
        std::move(done));
}

void Registry::accept_once(std::uint32_t hub, std::shared_ptr<const FrozenSend> frozen,
                           Progress progress, KeptAnswer answer, Done<void> done) {
    submit<void>(
        [hub, frozen = std::move(frozen), progress = std::move(progress),
         answer = std::move(answer)](Transaction& tx) {
            return registry::accept_once(tx, hub, frozen, progress, answer);
        },
        std::move(done));
}

void Registry::put_registration_once(std::uint32_t hub, Registration value, KeptAnswer answer,
                                     Done<Registration> done) {
    submit<Registration>(
        [hub, value = std::move(value), answer = std::move(answer)](Transaction& tx) {
            return registry::put_registration_once(tx, hub, value, answer);
        },
        std::move(done));
}

void Registry::keep_answer(std::uint32_t hub, KeptAnswer answer, Done<void> done) {
    submit<void>([hub, answer = std::move(answer)](
                     Transaction& tx) { return registry::keep_answer(tx, hub, answer); },
                 std::move(done));
}

Result<KeptAnswer> Registry::kept_answer(std::uint32_t hub, std::string_view scope,
                                         std::string_view key) const {
    const auto view = parts_->views.current();
    if (!view) return make_error_code(errc::closed);
    return read_answer(*view, hub, scope, key);
}

std::uint64_t Registry::kept_answers() const {
    return parts_->writer.answers();
}

std::map<std::uint32_t, std::uint64_t> Registry::answer_units() const {
    return parts_->writer.answer_units();
}

AnswerUse Registry::answer_use(std::uint32_t hub, std::string_view scope) const {
    return parts_->writer.answer_use(hub, scope);
}

void Registry::expire_answers(std::int64_t now_ms, std::size_t count_max, Done<std::size_t> done) {
    submit<std::size_t>(
        [now_ms, count_max](Transaction& tx) {
            return registry::expire_answers(tx, now_ms, count_max);
        },
        std::move(done));
}

Registry::Figures Registry::figures() const {
    Figures figures;
    const auto view = parts_->views.current();  // keeps the database open meanwhile
    if (!view) return figures;
    figures.registrations = parts_->writer.registrations();
    figures.installations = parts_->writer.installations();
    figures.disk_bytes = view->snapshot->disk_bytes();
    figures.posting_cache_bytes = parts_->views.cache.bytes();
    figures.block_cache_bytes = view->snapshot->block_cache_bytes();
    figures.write_queue_changes = parts_->writer.queued();
    figures.batches = parts_->writer.batches();
    figures.changes = parts_->writer.changes();
    figures.ended_sends_bytes = parts_->writer.ended_sends_bytes();
    return figures;
}

std::vector<std::string> Registry::verify(std::uint32_t hub) const {
    return verify_hub(parts_->views, hub);
}

void Registry::close() {
    parts_->writer.close();
    parts_->views.publish(nullptr, {});
    if (parts_->store) parts_->store->flush();
    parts_->store.reset();
}

Result<std::unique_ptr<Registry>> Registry::open(const Options& options, std::string& why) {
    auto store = Store::open(options, why);
    if (!store) return store.error();
    auto memory = Memory::load(**store, nullptr);
    if (!memory) {
        why = "The store in " + (options.directory / "store").string() +
              " cannot be opened: its hubs, open sends or postings cannot be read (" +
              memory.error().message() +
              "). Nothing was changed. Keep a copy of the directory, then restore the last backup.";
        return memory.error();
    }
    if (auto migrated = migrate(**store, *memory, why); !migrated) return migrated.error();
    return std::unique_ptr<Registry>(
        new Registry(std::make_unique<Parts>(options, std::move(*store), std::move(*memory))));
}

}  // namespace registry
