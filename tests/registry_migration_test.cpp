// Stores as formats 3 and 4 were, opened by this program.

#include <catch2/catch.hpp>

#include "registry/bytes.hpp"
#include "registry/migrate.hpp"
#include "registry/postings.hpp"
#include "tests/support/registry_model.hpp"

using namespace registry;
using namespace registry_test;

namespace {

/// Up to format 4 nothing led from a user to what had expired of him.
void drop_expired(Batch& batch, const Snapshot& snapshot, std::uint32_t hub) {
    const auto cursor = snapshot.cursor(Family::installations);
    const std::string prefix = hub_prefix(hub);
    for (cursor->seek(prefix); cursor->valid(); cursor->next()) {
        if (!cursor->key().starts_with(prefix)) break;
        const std::string id = installation_id(cursor->key());
        const auto user = decode_installation(id, cursor->value()).value().value.user_id;
        batch.erase_prefix(Family::postings,
                           posting_name_prefix(hub, PostingSpace::internal, expired_name(user)));
    }
}

/// What is in the store beside rows and installations as format 3 had it: users whatever their
/// case, handles without kinds, no marks of templates.
void make_old(const Options& options, std::uint32_t hub, std::uint8_t version = 3) {
    std::string why;
    const auto store = Store::open(options, why).value();
    const auto snapshot = store->snapshot();
    const std::string prefix = hub_prefix(hub);
    const auto each = [&](Family family, auto&& visit) {
        const auto cursor = snapshot->cursor(family);
        for (cursor->seek(prefix); cursor->valid(); cursor->next()) {
            if (!cursor->key().starts_with(prefix)) break;
            visit(std::string(cursor->key()), std::string(cursor->value()));
        }
    };
    const auto tag_of = [](const std::string& id) { return "$userid:{" + id + "}"; };
    Batch clean = store->batch(), old = store->batch();
    std::map<std::string, std::set<Address>> users;
    each(Family::users, [&](const std::string& key, const std::string& value) {
        const std::string id = key.substr(prefix.size());
        std::set<Address>& rows = users[fold(id)];
        const UserRows stored = decode_user_rows(value).value();
        rows.insert(stored.rows.begin(), stored.rows.end());
        const auto cursor = snapshot->cursor(Family::postings);
        for (const auto& [p, numbers] : read_tag(*cursor, hub, tag_of(id)).value()) {
            for (const std::uint32_t number : numbers) rows.insert({p, number});
        }
        clean.erase_prefix(Family::postings,
                           posting_name_prefix(hub, PostingSpace::tag, tag_of(id)));
    });
    drop_expired(clean, *snapshot, hub);
    clean.erase_prefix(Family::users, prefix);
    clean.erase_prefix(Family::handles, prefix);
    for (const auto& [id, rows] : users) {
        UserRows stored;
        stored.many = rows.size() > user_rows_max;
        std::map<std::string, Chunk> chunks;
        for (const Address row : rows) {
            if (!stored.many) stored.rows.push_back(row);
            const std::string posting =
                posting_prefix(hub, row.partition, PostingSpace::tag, tag_of(id));
            if (stored.many)
                chunks[chunk_key(posting, 0)].add(static_cast<std::uint16_t>(row.number));
        }
        old.put(Family::users, id_key(hub, id), encode_user_rows(stored));
        for (const auto& [key, chunk] : chunks) old.put(Family::postings, key, encode_chunk(chunk));
    }
    each(Family::rows, [&](const std::string& key, const std::string&) {
        const Address address = address_at_end(key).value();
        std::string bytes;
        REQUIRE(snapshot->get(Family::rows, key, bytes).value());
        Row row = decode_row(bytes, address).value();
        const bool native = row.template_bytes.empty();
        if (!native) row.shares_handle = false;
        old.put(Family::rows, key, encode_row(row));
        std::string handle = prefix;
        ByteWriter out(handle);
        out.u64_be(hash64(row.handle));
        out.u16_be(address.partition);
        out.u32_be(address.number);
        old.put(Family::handles, handle, encode_handle_entry(native));
    });
    old.put(Family::meta, std::string(version_key), std::string(1, static_cast<char>(version)));
    REQUIRE(store->write(clean).has_value());
    REQUIRE(store->write(old).has_value());
}

/// Random rows, and users enough to be many, in all spellings.
Model fill(Opened& registry, std::uint32_t hub, RandomChanges& changes) {
    Model model;
    for (int step = 0; step < 200; ++step) changes.change(registry, hub, model);
    for (int i = 0; i < 45; ++i) {
        Installation value =
            installation("m" + std::to_string(i), "token-" + std::to_string(i), {});
        value.user_id = i < 20 ? "Many" : i < 40 ? "many" : "MANY";
        value.version = 1;
        REQUIRE(registry.install(hub, value).has_value());
        model.installations[value.id] = value;
    }
    Registration plain = registration("77-1-1", "p", {"red", "$UserId:{Kim}"});
    REQUIRE(registry.put(hub, plain).has_value());
    plain.etag = 1;
    model.plain[plain.id] = plain;
    return model;
}

void check(const Opened& registry, std::uint32_t hub, const Model& model) {
    REQUIRE(registry->verify(hub) == std::vector<std::string>());
    const Named all = model.all();
    REQUIRE(listed(*registry, hub) == all);
    std::set<std::string> tags{"$UserId:{kim}", "$InstallationId:{M1}"};
    for (const auto& [name, value] : all) tags.insert(value.tags.begin(), value.tags.end());
    tags.erase("other name");  // of a template: no expression can say it
    for (const std::string& tag : tags) {
        INFO(tag);
        std::set<std::string> found, expected;
        for (const std::string& id : registry.select(hub, tag))
            found.insert(name_of(registry->registration(hub, id).value()));
        for (const auto& [name, value] : all) {
            if (!value.channel_expired &&
                std::find(value.tags.begin(), value.tags.end(), tag) != value.tags.end())
                expected.insert(name);
        }
        REQUIRE(found == expected);
    }
    for (const std::string user : {"many", "Many", "MANY", "mAny"}) {
        const std::size_t count = user == "MANY" ? 5 : user == "mAny" ? 0 : 20;
        REQUIRE(registry->installations_of_user(hub, user, 100).value().size() == count);
    }
}

}  // namespace

TEST_CASE("a store of format 3 is brought to today's when it is opened", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    std::uint32_t hub = 0;
    Model model;
    RandomChanges changes(31);
    {
        Opened registry(options);
        hub = registry.hub("Orders", 3);
        model = fill(registry, hub, changes);
        check(registry, hub, model);
    }
    make_old(options, hub);
    {
        std::string why;
        const auto registry = Registry::open(options, why).value();
        CHECK(why.find("brought to format 6") != std::string::npos);
    }
    {
        std::string why;
        const auto registry = Registry::open(options, why).value();
        CHECK(why.empty());
    }
    Opened registry(options);
    check(registry, hub, model);
    for (int step = 0; step < 100; ++step) changes.change(registry, hub, model);
    REQUIRE(registry->verify(hub) == std::vector<std::string>());
}

TEST_CASE("a store of format 4 learns what has expired of each user when it is opened",
          "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path());
    std::uint32_t hub = 0;
    Model model;
    {
        Opened registry(options);
        hub = registry.hub("Orders", 3);
        RandomChanges changes(32);
        model = fill(registry, hub, changes);
        for (const std::string id : {"m1", "m21", "m41"}) {
            model.installations[id].push_channel_expired = true;
            Installation dead = model.installations[id];
            REQUIRE(registry.install(hub, dead).has_value());
            ++model.installations[id].version;
        }
        check(registry, hub, model);
    }
    {
        std::string why;
        const auto store = Store::open(options, why).value();
        Batch old = store->batch();
        drop_expired(old, *store->snapshot(), hub);
        old.put(Family::meta, std::string(version_key), std::string(1, '\4'));
        REQUIRE(store->write(old).has_value());
    }
    {
        std::string why;
        const auto registry = Registry::open(options, why).value();
        CHECK(why.find("brought to format 6") != std::string::npos);
    }
    Opened registry(options);
    check(registry, hub, model);
}

TEST_CASE("a migration that was cut goes on where it stopped", "[registry]") {
    const TempDirectory directory;
    const Options options = options_in(directory.path() / "old");
    std::uint32_t hub = 0;
    Model model;
    {
        Opened registry(options);
        hub = registry.hub("Orders", 2);
        RandomChanges changes(31);
        model = fill(registry, hub, changes);
    }
    make_old(options, hub);
    bool cut_all = false;
    for (std::size_t batches = 1; !cut_all; batches += 5) {
        INFO("after " << batches);
        const Options cut = options_in(directory.path() / "cut");
        std::filesystem::remove_all(cut.directory);
        std::filesystem::copy(options.directory, cut.directory,
                              std::filesystem::copy_options::recursive);
        {
            std::string why;
            const auto store = Store::open(cut, why).value();
            auto memory = Memory::load(*store, nullptr).value();
            PostingFolder folder;
            for (std::size_t i = 0; i < batches && !cut_all; ++i)
                cut_all = !migrate_batch(*store, memory, folder, 11).value();
            std::string bytes;
            REQUIRE(store->snapshot()->get(Family::meta, version_key, bytes).value());
            CHECK(decode_version(bytes).value() == format_version);
        }
        const Opened registry(cut);
        check(registry, hub, model);
        REQUIRE(batches < 500);
    }
}

TEST_CASE("formats before 3 and after today's are refused", "[registry]") {
    for (const int version : {1, 2, format_version + 1}) {
        const TempDirectory directory;
        const Options options = options_in(directory.path());
        std::uint32_t hub = 0;
        { hub = Opened(options).hub("Orders", 2); }
        make_old(options, hub, static_cast<std::uint8_t>(version));
        std::string why;
        CHECK(Registry::open(options, why).error() == errc::corrupt);
        CHECK(why.find("format version " + std::to_string(version)) != std::string::npos);
    }
}
