#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <random>

#include "registry/bytes.hpp"
#include "registry/keys.hpp"

using namespace registry;

namespace {

Row full_row() {
    Row row;
    row.etag = 7;
    row.generation = 300;
    row.registered_at_ms = 1'790'000'000'000;
    row.expires_at_ms = never_ms;
    row.channel_expired = true;
    row.platform = "wns";
    row.handle = "https://wns.example/?token=" + std::string(300, 'x');
    row.registration_id = "1-2-3";
    row.tile = "city";
    Template body;
    body.name = "greeting";
    body.body = "<toast>$(text)</toast>";
    body.headers = {{"X-WNS-Type", "wns/toast"}, {"X-WNS-Type", "again"}};
    row.template_bytes = encode_template(body);
    row.variables_bytes = encode_variables({{"nick", "Kim"}, {"team", ""}});
    row.tags = {"Red", "lang:nl", std::string("nul\0inside", 10)};
    return row;
}

InstallationRecord full_installation() {
    InstallationRecord record;
    Installation& value = record.value;
    value.id = "6b7f-01";
    value.user_id = "u-42";
    value.platform = "wns";
    value.push_channel = "channel";
    value.push_channel_expired = true;
    value.push_channel_is_object = true;
    value.expires_at_ms = 5;
    value.expires_ticks = 4'567;
    value.registered_at_ms = -1;
    value.tags = {"a", "b"};
    value.push_variables = {{"x", "y"}};
    value.templates["alert"] = {"alert", "body", {{"h", "v"}}, "$(e)", "10", {"news"}};
    value.secondary_tiles["t1"] = {"other", true, {"c"}, {{"x", Template()}}};
    value.version = 3;
    record.parts = {{"", 0}, {"talert", 4'000'000'000}};
    return record;
}

KeptSelection small_selection() {
    KeptSelection small;
    small.partitions = 8;
    small.here = {{0, Bitmap::bitmapOf(2, 5, 70'000)}, {7, Bitmap::bitmapOf(1, 1)}};
    return small;
}

DeviceFailure failure() {
    return {7,       70'000,  "apns", "BadChannel",      "AB",
            "1-2-8", "phone", "CD",   1'700'000'000'000, "Unregistered"};
}

}  // namespace

TEST_CASE("varints and zigzags come back as they went in", "[registry]") {
    for (const std::int64_t value :
         {std::int64_t{0}, std::int64_t{-1}, std::int64_t{63}, std::int64_t{64}, never_ms,
          std::numeric_limits<std::int64_t>::min()}) {
        std::string bytes;
        ByteWriter out(bytes);
        out.zigzag(value);
        out.varint(static_cast<std::uint64_t>(value));
        ByteReader in(bytes);
        CHECK(in.zigzag() == value);
        CHECK(in.varint() == static_cast<std::uint64_t>(value));
        CHECK(in.at_end());
    }
    for (const std::string& bad : {std::string("\x80"), std::string(10, '\xff'), std::string()}) {
        ByteReader in(bad);
        in.varint();
        CHECK_FALSE(in.ok());
    }
}

TEST_CASE("values come back as they went in", "[registry]") {
    const Row row = full_row();
    const Address place{3, 12};
    CHECK(decode_row(encode_row(row), place).value() == row);
    Row part = row;
    part.etag = 0;
    part.tags.clear();
    part.installation_id = "i";
    part.part = "salert";
    part.registration_id = part_id("i", "salert", place);
    part.shares_handle = true;
    part.expires_at_ms = 0;
    CHECK(decode_row(encode_row(part), place).value() == part);
    const std::size_t unchanged = encode_row(part).size();
    part.audience_at = 1'700'000'000'000;
    CHECK(decode_row(encode_row(part), place).value() == part);
    CHECK(encode_row(part).size() > unchanged);
    part.user_at = 1'600'000'000'000;
    CHECK(decode_row(encode_row(part), place).value() == part);
    part.audience_at = 1;
    part.user_at = 0;
    std::string timed = encode_row(part);  // with times, as formats before 6 had them
    timed[2] = static_cast<char>((timed[2] & ~4) | 2);
    part.audience_at = part.user_at = 0;
    CHECK(decode_row(timed, place).value() == part);
    CHECK(encode_row(part).size() == unchanged);
    CHECK(decode_row(encode_row(Row()), place).value() == Row());
    std::string nobody = encode_row(part);
    nobody.erase(nobody.find("\1i\6salert"), 2).insert(nobody.find("\6salert"), 1, '\0');
    CHECK_FALSE(decode_row(nobody, place).has_value());  // a part of no installation
    for (const std::string handle : {"0123456789ABCDEF", "0123456789ABCDE", "0123456789ABCDEf", "",
                                     "00112233445566778899AABBCCDDEEFF"}) {
        part.handle = handle;
        CHECK(decode_row(encode_row(part), place).value() == part);
        InstallationRecord record = full_installation();
        record.value.push_channel = handle;
        record.value.expires_at_ms = never_ms;
        CHECK(decode_installation("6b7f-01", encode_installation(record)).value() == record);
    }
    Row other = part;
    other.handle = std::string(64, 'A');
    other.handle.back() = 'g';
    part.handle = std::string(64, 'A');
    CHECK(encode_row(part).size() + 32 == encode_row(other).size());

    const SweepState swept{true, "s1", std::string("e\0", 2)};
    CHECK(decode_sweep(encode_sweep(swept)).value() == swept);
    const EndedKey end{1'800'000'000'000, 7, "NH-1"};
    CHECK(decode_ended_key(ended_key(end)).value() == end);
    CHECK(ended_key(end) < ended_key({1'800'000'000'001, 1, "NH-0"}));
    CHECK_FALSE(decode_ended_key(ended_key(end) + "x").has_value());
    CHECK(decode_ledger_key(ledger_key(LedgerKind::finished, 7, "NH-1", 3)).value() ==
          std::pair<std::uint32_t, std::string>(7, "NH-1"));

    const MigrationState halfway{2, std::string("key\0", 4)};
    CHECK(decode_migration(encode_migration(halfway)).value() == halfway);

    const InstallationRecord record = full_installation();
    CHECK(decode_installation(record.value.id, encode_installation(record)).value() == record);

    CHECK(decode_id(encode_id({false, 7, 4'294'967'295})).value() ==
          IdEntry{false, 7, 4'294'967'295});
    CHECK(decode_id(encode_id({true, 0, 0})).value().gone);
    const UserRows few{false, {{1, 7}, {1, 4'294'967'295}, {65'535, 0}}};
    CHECK(decode_user_rows(encode_user_rows(few)).value() == few);
    CHECK(decode_user_rows(encode_user_rows({true, {}})).value().many);
    CHECK_FALSE(decode_user_rows(encode_user_rows({false, {{2, 1}, {1, 7}}})).has_value());
    CHECK_FALSE(decode_user_rows(encode_user_rows({true, {{2, 1}}})).has_value());
    CHECK_FALSE(decode_user_rows(encode_user_rows({false, std::vector<Address>(17)})).has_value());
    CHECK(user_key(3, "Kim") != user_key(3, "kIM"));
    CHECK(decode_state(encode_state({123456789, 9, 30})).value() == State{123456789, 9, 30});

    HubRow hub{"Orders", 0, 16, "{}", 5};
    const HubRow back = decode_hub(encode_hub(hub)).value();
    CHECK((back.name == "Orders" && back.partitions == 16 && back.etag == 5));

    Send send;
    send.id = "s";
    send.headers = {{"apns-topic", "x"}};
    send.direct_handles = {"h1", "h2"};
    send.delivery = Delivery::at_most_once;
    send.deadline_ms = 99;
    Progress first;
    first.audience = 2;
    first.finished.resize(3);
    const KeptSelection small = small_selection();
    const auto sent = decode_send(encode_send(send, first, small)).value();
    CHECK(sent.send.direct_handles == send.direct_handles);
    CHECK(sent.send.headers == send.headers);
    CHECK((sent.send.delivery == send.delivery && sent.send.deadline_ms == 99));
    CHECK((sent.first.audience == 2 && sent.first_finished == 3));
    CHECK((sent.selection.partitions == 8 && !sent.selection.apart));
    CHECK(sent.selection.here == small.here);

    const Mark mark{{1, "s"}, {7, ""}};
    CHECK(decode_mark(encode_mark(mark)).value() == mark);

    Progress progress;
    progress.state = SendState::processing;
    progress.counts[{"apns", "Success"}] = 12;
    progress.finished.resize(4);
    const auto run = decode_progress(encode_progress(progress)).value();
    CHECK((run.first.counts == progress.counts && run.second == 4));
    CHECK(decode_failures(encode_failures({failure(), DeviceFailure()})).value() ==
          std::vector{failure(), DeviceFailure()});
    DeviceFailure untold = failure();
    untold.reason.clear();
    std::string before = encode_failures({untold});  // as it was when reasons were not kept
    before.front() = 3;
    before.pop_back();
    CHECK(decode_failures(before).value() == std::vector{untold});
}

TEST_CASE("a device shows what the row holds", "[registry]") {
    Row row = full_row();
    const std::string bytes = encode_row(row);
    Device device;
    std::string texts;
    REQUIRE(decode_device(bytes, device, texts).has_value());
    CHECK(device.handle == row.handle);
    CHECK(id_of(device, 2) == "1-2-3");
    CHECK(device.template_bytes == row.template_bytes);
    CHECK(device.template_hash == hash64(row.template_bytes));
    CHECK(decode_variables(device.variables_bytes).value().at("nick") == "Kim");
    CHECK(decode_template(device.template_bytes).value().headers.size() == 2);
    CHECK(device.channel_expired);

    row.handle = "0123456789ABCDEF";
    row.installation_id = "i";
    const std::string packed = encode_row(row);
    texts.reserve(2 * packed.size());
    device.number = 9;
    REQUIRE(decode_device(packed, device, texts).has_value());
    CHECK(device.handle == row.handle);
    CHECK(id_of(device, 2) == part_id("i", "", {2, 9}));
}

TEST_CASE("ids of parts say where they lie, and sort by their numbers", "[registry]") {
    std::string last;
    for (const std::uint32_t number : {0u, 1u, 9u, 10u, 65'536u, 4'294'967'295u}) {
        for (const int partition : {0, 7, 65'535}) {
            const Address place{static_cast<std::uint16_t>(partition), number};
            const std::string id = part_id("6b7f", "talert", place);
            CHECK(part_place(id) == place);
            CHECK(id.size() <= 120);
            CHECK(id != part_id("6b7f", "", place));
        }
        const std::string id = part_id("i", "", {0, number});
        CHECK(last < id);
        last = id;
    }
    for (const char* other :
         {"", "1-2-3", "8000000000000000000", "8000000000000000000-1", "8000000000000000000-1-0",
          "8000000000000000000-1-65537", "8000000000000000000-1-1-", "8000000000000000000-x-1",
          "8000000004294967296-1-1", "7999999999999999999-1-1", "-8000000000000000000-1-1",
          "8000000000000000000-99999999999999999999-1"}) {
        INFO(other);
        CHECK_FALSE(part_place(other).has_value());
    }
}

TEST_CASE("installations that differ in case alone are neighbours", "[registry]") {
    const std::string first = installation_key(7, "6b7f");
    for (const char* id : {"6b7f", "6B7F", "6B7f"}) {
        const std::string key = installation_key(7, id);
        CHECK(installation_id(key) == id);
        CHECK(installation_prefix_size(key) == first.size());
        CHECK(key.starts_with(first));
        CHECK((key == first) == (id == std::string("6b7f")));
    }
    CHECK_FALSE(installation_key(7, "6b7f1").starts_with(first));
    CHECK(installation_prefix_size(id_key(7, "6b7f")) == 0);
    CHECK(installation_prefix_size("abc") == 0);
}

TEST_CASE("names of ends sort by their minute and are told from others", "[registry]") {
    const auto key = [](std::string_view name) {
        return chunk_key(posting_prefix(1, 2, PostingSpace::internal, name), 3);
    };
    CHECK(minute_of(-5) == 0);
    CHECK(minute_of(59'999) == 0);
    CHECK(minute_of(60'000) == 1);
    CHECK(minute_of(never_ms) == static_cast<std::uint64_t>(never_ms) / 60'000);
    CHECK(key(end_name(255)) < key(end_name(256)));
    CHECK(minute_in(key(end_name(29'833'333))) == 29'833'333);
    CHECK_FALSE(minute_in(key("templated")).has_value());
    CHECK_FALSE(minute_in(key("e")).has_value());
    CHECK_FALSE(minute_in("abc").has_value());
    const std::string tag = posting_prefix(1, 2, PostingSpace::tag, end_name(5));
    CHECK_FALSE(minute_in(chunk_key(tag, 0)).has_value());
}

TEST_CASE("every cut and every unknown version of a value is corrupt", "[registry]") {
    const auto refuses = [](const std::string& bytes, auto&& decode) {
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            INFO("cut at " << size);
            CHECK_FALSE(decode(std::string_view(bytes).substr(0, size)));
        }
        std::string later = bytes;
        later[0] = 99;
        CHECK_FALSE(decode(std::string_view(later)));
        CHECK_FALSE(decode(std::string_view(bytes + "x")));
    };
    refuses(encode_row(full_row()), [](auto bytes) { return decode_row(bytes, {}).has_value(); });
    refuses(encode_installation(full_installation()),
            [](auto bytes) { return decode_installation("i", bytes).has_value(); });
    refuses(encode_id({false, 1, 300}), [](auto bytes) { return decode_id(bytes).has_value(); });
    refuses(encode_send(Send(), Progress(), small_selection()),
            [](auto bytes) { return decode_send(bytes).has_value(); });
    refuses(encode_mark({{1, "a"}, {2, "b"}}),
            [](auto bytes) { return decode_mark(bytes).has_value(); });
    refuses(encode_progress(Progress()),
            [](auto bytes) { return decode_progress(bytes).has_value(); });
    refuses(encode_failures({failure(), failure()}),
            [](auto bytes) { return decode_failures(bytes).has_value(); });
    refuses(encode_sweep({true, "s1", "e1"}),
            [](auto bytes) { return decode_sweep(bytes).has_value(); });
    refuses(encode_bitmap(Bitmap::bitmapOf(3, 1, 70'000, 70'001)),
            [](auto bytes) { return decode_bitmap(bytes).has_value(); });
}

TEST_CASE("keys sort by hub, partition and number, and lead back", "[registry]") {
    CHECK(row_key(1, 2, 255) < row_key(1, 2, 256));
    CHECK(row_key(1, 2, 0xffff'ffff) < row_key(1, 3, 0));
    const auto at = address_at_end(handle_key(1, "h", true, {7, 12'345})).value();
    CHECK(at == Address{7, 12'345});
    CHECK_FALSE(address_at_end("short").has_value());

    const std::string prefix = posting_prefix(1, 2, PostingSpace::tag, "lang:nl");
    const std::string name = posting_name_prefix(1, PostingSpace::tag, "lang:nl");
    CHECK(prefix.starts_with(name));
    CHECK(posting_prefix(1, 7, PostingSpace::tag, "lang:nl").starts_with(name));
    CHECK(posting_name_size(chunk_key(prefix, 3)) == name.size());
    CHECK(posting_name_size(name) == name.size());
    CHECK(posting_name_size("abc") == 0);
    CHECK(posting_place(chunk_key(prefix, 3)).partition == 2);
    CHECK(posting_place(chunk_key(prefix, 3)).chunk == 3);
    CHECK_FALSE(posting_prefix(1, 2, PostingSpace::tag, "lang:nl2").starts_with(prefix));
    CHECK(posting_prefix(1, 2, PostingSpace::internal, "alive") !=
          posting_prefix(1, 2, PostingSpace::tag, "alive"));

    CHECK(decode_mark_key(mark_key(1'000)).value() == 1'000);
    CHECK(mark_key(255) < mark_key(256));
    CHECK_FALSE(decode_mark_key(mark_key(1) + "x").has_value());
    CHECK(after_prefix(std::string("a\xff")) == "b");
    CHECK(part_name(nullptr, nullptr).empty());
}

TEST_CASE("chunks keep every set in its smallest form", "[registry]") {
    std::mt19937 random(20261121);
    for (const std::uint32_t spread : {1u, 3u, 40u, 65'535u}) {
        for (const std::size_t count : {0u, 1u, 100u, 4'096u, 4'097u, 30'000u}) {
            Chunk chunk;
            std::uint32_t at = 0;
            for (std::size_t i = 0; i < count; ++i) {
                at = (at + 1 + random() % spread) & 0xffff;
                chunk.add(static_cast<std::uint16_t>(at));
            }
            const std::string bytes = encode_chunk(chunk);
            Chunk back;
            REQUIRE(decode_chunk(bytes, back));
            CHECK(back.words == chunk.words);
            CHECK(bytes.size() <= 2 + std::min<std::size_t>(2 * chunk.count(), 8'192));
            CHECK(chunk_is_empty(bytes) == (chunk.count() == 0));
            BitmapBuilder builder;
            REQUIRE(builder.add(5, bytes));
            const Bitmap bitmap = builder.finish();
            CHECK(bitmap.cardinality() == chunk.count());
            for (const std::uint32_t n : bitmap) {
                CHECK((n >> 16 == 5 && chunk.contains(static_cast<std::uint16_t>(n & 0xffff))));
            }
        }
    }
    for (const char* bad : {"", "\x01", "\x01\x03", "\x02\x00", "\x01\x02\x05\x05\x04\x04",
                            "\x01\x01\x01", "\x01\x02\x01\x01\x02\x02\x03\x03\x04\x04\x01"}) {
        Chunk chunk;
        CHECK_FALSE(decode_chunk(bad, chunk));
    }
    Chunk chunk;
    CHECK_FALSE(decode_chunk(std::string("\x01\x00\x02\x00\x01\x00", 6), chunk));  // descending
}

TEST_CASE("merges do what the changes they stand for do, sparse or dense", "[registry]") {
    std::mt19937 random(7);
    for (int round = 0; round < 400; ++round) {
        // Few and many numbers, apart and in runs, on either side of what is merged as lists.
        const std::uint32_t spread = std::array{12U, 300U, 6'000U, 65'536U}[random() % 4];
        const std::uint32_t step = 1 + static_cast<std::uint32_t>(random() % (spread / 6));
        const auto further = [&] { return 1 + static_cast<std::uint32_t>(random() % step); };
        Chunk applied;
        for (std::uint32_t n = 0; n < spread; n += further())
            applied.add(static_cast<std::uint16_t>(n));
        const bool fresh = random() % 4 == 0;
        if (fresh) applied = Chunk();
        const std::string before = fresh ? std::string() : encode_chunk(applied);
        std::vector<std::string> operands;
        for (std::size_t i = 0, count = random() % 6; i < count; ++i) {
            Operand operand;
            for (std::uint32_t n = 0; n < spread; n += further()) {
                const auto what = random() % 3;
                if (what == 1) operand.added.push_back(static_cast<std::uint16_t>(n));
                if (what == 2) operand.removed.push_back(static_cast<std::uint16_t>(n));
            }
            operands.push_back(encode_operand(operand));
            Operand back;
            REQUIRE(decode_operand(operands.back(), back));
            apply_operand(back, applied);
        }
        const std::vector<std::string_view> all(operands.begin(), operands.end());
        std::string merged, sum, by_sum;
        REQUIRE(merge_chunk(before, all, merged));
        CHECK(merged == encode_chunk(applied));
        REQUIRE(merge_operands(all, sum));
        const std::string_view one = sum;
        REQUIRE(merge_chunk(before, {&one, 1}, by_sum));
        CHECK(by_sum == merged);
    }
    std::string merged;
    const std::string_view bad = "\x01\x05";
    CHECK_FALSE(merge_chunk("", {&bad, 1}, merged));
    CHECK_FALSE(merge_chunk("\x01\x03", {}, merged));
    CHECK_FALSE(merge_operands({&bad, 1}, merged));
    Operand operand;
    CHECK_FALSE(decode_operand(std::string("\x01\x01\x05\x00\x05\x00", 6), operand));  // in both
    CHECK_FALSE(decode_operand("\x01\x05", operand));
}

TEST_CASE("bitmaps come back as they went in", "[registry]") {
    Bitmap bitmap = Bitmap::bitmapOf(4, 0, 65'535, 65'536, 4'294'967'295);
    bitmap.addRange(200'000, 500'000);
    for (std::uint32_t n = 600'000; n < 700'000; n += 3) bitmap.add(n);
    CHECK(decode_bitmap(encode_bitmap(bitmap)).value() == bitmap);
    CHECK(decode_bitmap(encode_bitmap({})).value().isEmpty());
}

TEST_CASE("hashes and folding stay what is on disk", "[registry]") {
    CHECK(hash64("") == hash64(""));
    CHECK(hash64("a") != hash64("b"));
    CHECK(hash64("a") != hash64("a", 1));
    CHECK(fold("Lang:NL-É") == "lang:nl-É");
}
