#pragma once
/// JSON objects as rows of cells.

#include <string_view>

#include "peft/base/json.h"
#include "peft/data/rows.h"

namespace peft {

/// Parses one object that starts in `line` of the file and fills the row's cells, which refer to `value`. A bad one is reported
/// (kinds json, encoding) and gives false.
bool parse_row(std::string_view text, int64_t line, const std::vector<Column>& columns, Json& value, Row& row,
               BadRows& bad);

/// Its keys.
std::vector<std::string> key_names(const Json& object);

}  // namespace peft
