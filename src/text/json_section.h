#pragma once
/// Typed reading of a part of a JSON file; what is missing or of another type is a DataError that names file and key path.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "peft/base/json.h"

namespace peft::text {

class JsonSection {
 public:
  /// `origin` is the file; `path` the keys that lead to `value`, "" at the top. `value` must outlive the section.
  JsonSection(const Json& value, std::string origin, std::string path = {});

  const Json& object() const;                   ///< itself; throws when it is no object
  bool has(const std::string& key) const;       ///< present and not null
  bool contains(const std::string& key) const;  ///< present
  JsonSection at(const std::string& key) const;
  std::vector<JsonSection> items() const;  ///< of an array

  const std::string& string() const;
  bool boolean() const;
  int64_t integer(int64_t low, int64_t high) const;

  const Json& value() const { return *value_; }
  std::string place() const;  ///< `FILE: a.b[2].c`, as messages start

  /// Throws DataError `FILE: a.b[2].c: message`.
  [[noreturn]] void fail(std::string_view message) const;

 private:
  [[noreturn]] void fail_type(std::string_view expected) const;

  const Json* value_;
  std::string origin_, path_;
};

/// parse_json with DataError.
Json parse_data_json(std::string_view text, const std::string& origin);

}  // namespace peft::text
