#pragma once
/// What the datasets library writes down about columns: under the metadata key `huggingface` of Parquet and Arrow files, and in the
/// dataset_info.json of a folder of save_to_disk.

#include <string>
#include <string_view>
#include <vector>

#include "peft/base/json.h"

namespace peft {

/// Names of the classes that the integers of a column stand for (ClassLabel, or a list of them), in the order of the integers.
/// `column` may name a nested one, `a.b`. Empty: none are known. `origin` starts the message of the DataError for names that are not a
/// list of different strings.
std::vector<std::string> class_names_of(const Json& features, std::string_view column, std::string_view origin);

}  // namespace peft
