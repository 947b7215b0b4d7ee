#pragma once

// One line of a bulk file (docs/contracts/anh.md 9): what it asks for, and the row that says what
// became of it. A line is one registration description in either body form, without an Atom
// wrapper, at most 64 KiB. Pure, any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hub/device/handle_check.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/registration.hpp"

namespace hub {

enum class JobType : std::uint8_t {
    export_registrations,
    import_create,
    import_update,
    import_upsert,
    import_delete,
};
std::string_view job_type_name(JobType type);  ///< "ImportCreateRegistrations"
std::optional<JobType> job_type_of(std::string_view name);

/// What a line of an import asks for. Deleting needs the id alone.
struct JobLine {
    /// Its id is the line's RegistrationId; empty: the line has none (create and upsert only).
    registry::Registration registration;
};
Parsed<JobLine> parse_job_line(JobType type, std::string_view line,
                               const NormaliseHandle& rule = normalise_handle);

/// Is there anything on the line?
bool is_blank_line(std::string_view line);

/// XML on one line: line ends inside text and CDATA become character references.
std::string one_line(std::string_view xml);

/// `<number>,<result>` and a line end. Line ends in `result` become blanks.
void append_row(std::string& out, std::uint64_t number, std::string_view result);

/// The ids that lines of one job get which bring none: for a line the same whenever the job reads
/// it again. Ids of later lines sort behind, and lines that follow each other share a partition, so
/// the store writes neighbours together. Who does not know the job cannot guess them.
class LineIds {
  public:
    static constexpr std::uint64_t lines_per_partition = 2'048;  ///< at a stretch
    LineIds(std::string_view job_id, std::uint16_t partitions);
    std::string of(std::uint64_t line) const;

  private:
    std::uint64_t first_ = 0, key0_ = 0, key1_ = 0, partition_ = 0;
    std::uint16_t partitions_;
};

}  // namespace hub
