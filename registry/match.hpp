#pragma once

// Does one row match a plan? What select() answers for all rows, asked of a single one: by its own
// tags, without postings.

#include <string>
#include <vector>

#include "registry/keys.hpp"
#include "registry/universe.hpp"
#include "registry/view.hpp"
#include "tagexpr/expression.hpp"

namespace registry {

/// Does whoever carries these tags match?
bool tags_match(const tagexpr::Plan& plan, const std::vector<std::string>& tags);

/// The row as the view shows it; false: there is none. Blocks on disk.
Result<bool> row_matches(const View& view, std::uint32_t hub, Address address,
                         const tagexpr::Plan& plan, const Universe& universe);

}  // namespace registry
