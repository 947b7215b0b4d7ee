// Feeds arbitrary bytes to every decoder of registry/keys.hpp. What decodes must encode to bytes
// that decode to the same again.
// Inputs: up to 65536 bytes, a value that holds a body.

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "registry/keys.hpp"

using namespace registry;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void decode_values(std::string_view bytes) {
    if (const auto row = decode_row(bytes, {1, 2})) {
        require(decode_row(encode_row(*row), {1, 2}).value() == *row);
        Device device;
        device.number = 2;
        std::string texts;
        texts.reserve(2 * bytes.size());
        require(decode_device(bytes, device, texts).has_value());
        require(device.handle == row->handle && id_of(device, 1) == row->registration_id);
    }
    if (const auto record = decode_installation("id", bytes)) {
        require(*decode_installation("id", encode_installation(*record)) == *record);
    }
    if (const auto send = decode_send(bytes)) {
        require(decode_send(encode_send(send->send, send->first, send->selection)).has_value());
    }
    if (const auto rows = decode_user_rows(bytes))
        require(*decode_user_rows(encode_user_rows(*rows)) == *rows);
    if (const auto mark = decode_mark(bytes)) require(*decode_mark(encode_mark(*mark)) == *mark);
    if (const auto progress = decode_progress(bytes)) {
        require(decode_progress(encode_progress(progress->first)).has_value());
    }
    if (const auto failures = decode_failures(bytes)) {
        require(*decode_failures(encode_failures(*failures)) == *failures);
    }
    if (const auto value = decode_template(bytes)) {
        require(*decode_template(encode_template(*value)) == *value);
    }
    if (const auto values = decode_variables(bytes)) {
        require(*decode_variables(encode_variables(*values)) == *values);
    }
    if (const auto answer = decode_answer(bytes)) {
        require(*decode_answer(encode_answer(*answer)) == *answer);
    }
    if (const auto key = decode_answer_expiry_key(bytes)) {
        require(*decode_answer_expiry_key(answer_expiry_key(*key)) == *key);
    }
    if (const auto state = decode_migration(bytes))
        require(*decode_migration(encode_migration(*state)) == *state);
    (void)decode_hub(bytes);
    (void)decode_state(bytes);
    (void)decode_id(bytes);
    (void)decode_count(bytes);
    (void)decode_handle_entry(bytes);
}

void decode_postings(std::string_view bytes) {
    Chunk chunk;
    if (decode_chunk(bytes, chunk)) {
        Chunk again;
        require(decode_chunk(encode_chunk(chunk), again) && again.words == chunk.words);
        BitmapBuilder builder;
        require(builder.add(1, bytes));
        require(builder.finish().cardinality() == chunk.count());
    }
    Operand operand;
    if (decode_operand(bytes, operand)) {
        Operand again;
        require(decode_operand(encode_operand(operand), again));
        apply_operand(again, chunk);
        const std::vector<std::string_view> twice{bytes, bytes};
        std::string sum, merged, by_sum;
        require(merge_operands(twice, sum) && merge_chunk("", twice, merged));
        const std::string_view one = sum;
        require(merge_chunk("", {&one, 1}, by_sum) && by_sum == merged);
    }
    if (const auto bitmap = decode_bitmap(bytes)) {
        require(*decode_bitmap(encode_bitmap(*bitmap)) == *bitmap);
    }
}

void decode_keys(std::string_view bytes) {
    if (const auto place = part_place(bytes)) {
        require(part_id("i", "", *place).starts_with(bytes.substr(0, bytes.find('-'))));
    }
    if (const std::size_t prefix = installation_prefix_size(bytes); prefix != 0) {
        const std::string id = installation_id(bytes);
        if (id.find('\0') == std::string::npos)
            require(installation_id(installation_key(7, id)) == id);
    }
    (void)minute_in(bytes);
    if (const auto position = decode_mark_key(bytes)) require(mark_key(*position) == bytes);
    (void)address_at_end(bytes);
    (void)posting_name(bytes);
    const std::size_t size = posting_name_size(bytes);
    require(size <= bytes.size());
    if (size > 0) require(posting_name_size(bytes.substr(0, size)) == size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    decode_values(input);
    decode_postings(input);
    decode_keys(input);
    return 0;
}
