// Tested by tests/hub_job_lines_test.cpp, tests/fuzz_job_line.cpp.

#include "hub/bulk/job_lines.hpp"

#include <openssl/evp.h>

#include <array>
#include <stdexcept>

#include "hub/bulk/line_reader.hpp"
#include "hub/device/atom.hpp"
#include "hub/device/handle_check.hpp"
#include "hub/text/ids.hpp"
#include "hub/text/text.hpp"
#include "hub/text/xml.hpp"
#include "tagexpr/keyed_hash.hpp"

namespace hub {

namespace {

struct Name {
    JobType type;
    std::string_view text;
};
constexpr std::array names{
    Name{JobType::export_registrations, "ExportRegistrations"},
    Name{JobType::import_create, "ImportCreateRegistrations"},
    Name{JobType::import_update, "ImportUpdateRegistrations"},
    Name{JobType::import_upsert, "ImportUpsertRegistrations"},
    Name{JobType::import_delete, "ImportDeleteRegistrations"},
};

}  // namespace

std::string_view job_type_name(JobType type) {
    for (const auto& name : names) {
        if (name.type == type) return name.text;
    }
    return {};
}

std::optional<JobType> job_type_of(std::string_view text) {
    for (const auto& name : names) {
        if (name.text == text) return name.type;
    }
    return std::nullopt;
}

Parsed<JobLine> parse_job_line(JobType type, std::string_view line, const NormaliseHandle& rule) {
    JobLine out;
    if (type == JobType::import_delete) {
        auto id = parse_registration_id(line);
        if (!ok(id)) return std::get<Refusal>(std::move(id));
        out.registration.id = std::get<std::string>(std::move(id));
    } else {
        auto parsed = parse_bulk_registration(line, rule);
        if (!ok(parsed)) return std::get<Refusal>(std::move(parsed));
        out.registration = std::get<registry::Registration>(std::move(parsed));
    }
    const bool needs_id = type == JobType::import_update || type == JobType::import_delete;
    if (out.registration.id.empty()) {
        if (needs_id) return bad_request("The element RegistrationId is missing or empty.");
        return out;
    }
    if (auto refusal = check_registration_id(out.registration.id)) return std::move(*refusal);
    return out;
}

bool is_blank_line(std::string_view line) {
    return trimmed(line).empty();
}

std::string one_line(std::string_view xml) {
    constexpr std::string_view open = "<![CDATA[";
    constexpr std::string_view close = "]]>";
    if (find_line_end(xml, 0) == std::string_view::npos) return std::string(xml);
    std::string out;
    bool in_cdata = false;
    while (!xml.empty()) {
        const auto mark = in_cdata ? close : open;
        if (xml.starts_with(mark)) {
            in_cdata = !in_cdata;
            out += mark;
            xml.remove_prefix(mark.size());
            continue;
        }
        const char c = xml.front();
        if (c == '\n' || c == '\r') {
            if (in_cdata) out += close;
            out += c == '\n' ? "&#10;" : "&#13;";
            if (in_cdata) out += open;
        } else {
            out += c;
        }
        xml.remove_prefix(1);
    }
    return out;
}

void append_row(std::string& out, std::uint64_t number, std::string_view result) {
    out += std::to_string(number);
    out += ',';
    std::size_t at = out.size();
    out += result;
    while ((at = find_line_end(out, at)) != std::string::npos) out[at] = ' ';
    out += '\n';
}

LineIds::LineIds(std::string_view job_id, std::uint16_t partitions) : partitions_(partitions) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    if (EVP_Digest(job_id.data(), job_id.size(), digest.data(), nullptr, EVP_sha256(), nullptr) !=
        1)
        throw std::runtime_error("SHA-256 is not available");
    std::array<std::uint64_t, 4> numbers{};
    for (std::size_t i = 0; i < numbers.size() * 8; ++i)
        numbers[i / 8] = (numbers[i / 8] << 8) | digest[i];
    // All have 19 digits: texts sort as numbers do, and no job has as many lines as are left.
    constexpr std::uint64_t least = 1'000'000'000'000'000'000, lines_max = least / 10;
    static_assert(registry::part_ids_from > least + lines_max);
    first_ = least + numbers[0] % (registry::part_ids_from - least - lines_max);
    key0_ = numbers[1];
    key1_ = numbers[2];
    partition_ = numbers[3] % partitions;
}

std::string LineIds::of(std::uint64_t line) const {
    const std::string_view bytes(reinterpret_cast<const char*>(&line), sizeof line);
    return registration_id_of(first_ + line, tagexpr::siphash_1_3(key0_, key1_, bytes),
                              partition_ + line / lines_per_partition, partitions_);
}

}  // namespace hub
