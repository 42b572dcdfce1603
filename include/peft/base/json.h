#pragma once
/// JSON as this project reads and writes it: strict, positions in every message, duplicate keys are errors.

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace peft {

using Json = nlohmann::json;  ///< objects are sorted by key, so written files are byte-stable

enum class JsonComments { refuse, allow };  ///< `//` comments to the end of the line (config files only)

/// Parses one JSON value; peft/base/ordered_map.h says what becomes of objects whose order counts. Refused: duplicate keys in one object, NaN/Infinity, text after the value, nesting deeper than 64,
/// invalid UTF-8, lone surrogates. `origin` ("configs/x.json" or "data/x.jsonl:118") starts every message.
/// Throws std::invalid_argument whose what() reads `ORIGIN:LINE: column 31: ...` (or `ORIGIN: column 31: ...` for text without a
/// line break); callers turn it into the error type of their audience.
Json parse_json(std::string_view text, std::string_view origin, JsonComments comments = JsonComments::refuse);

/// Reads and parses a whole file, with the error type of the caller's audience: ConfigError or DataError (also when the file is
/// missing or unreadable).
template <class E>
Json read_json_file(const std::filesystem::path& path, JsonComments comments = JsonComments::refuse);

/// Indented by 2, sorted keys but where their order counts (peft/base/ordered_map.h), one line feed at the end.
std::string to_pretty_string(const Json& value);

/// Key of `known` nearest to `name` in edit distance, or empty when none is near enough to be a plausible typo. A typo keeps the first
/// letter and all digits, and changes few letters of each word: bfloat16 is none of float16, qnli none of mnli.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace peft
