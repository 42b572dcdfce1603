#pragma once
/// Between the records of a file and the fields of a task: nested records of a dump made flat, and fields made of other columns.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/base/json.h"
#include "peft/text/tokenizer.h"

namespace peft {

/// A record that cannot be used (docs/tasks.md#bad-input): it becomes one bad row.
struct BadRecord {
  std::string kind, message;
};

/// What becomes of one JSON record.
struct FlatRows {
  std::vector<Json> rows = {};
  std::map<std::string, int64_t> counts = {};  ///< what is odd and accepted: kind -> times
};

/// A value inside a record. It knows its path, so that messages name passage.questions[2].answers[0].label.
class Nested {
 public:
  explicit Nested(const Json& value, std::string path = {}) : value_(&value), path_(std::move(path)) {}

  const Json& json() const { return *value_; }
  const std::string& path() const { return path_; }
  /// These throw BadRecord: `missing` for a key that is not there, `type` for a value of another type.
  Nested at(const char* key) const;
  std::optional<Nested> find(const char* key) const;
  std::vector<Nested> items() const;
  const std::string& text() const;
  int64_t integer() const;                             ///< also 3.0
  int64_t zero_or_one() const;                         ///< also true and false
  [[noreturn]] void expected(const char* what) const;  ///< `PATH is a string, expected WHAT`

 private:
  const Json* value_;
  std::string path_;
};

/// A column that a task reads, and what must stand in it.
struct RecordInput {
  enum class Kind : uint8_t {
    text,
    optional_text,
    texts,           ///< a list with members
    any_texts,       ///< a list, also without members
    optional_texts,  ///< the same, or no such column
    number,
    optional_number,  ///< a whole number, or no such column
    optional_numbers  ///< a list of them, or no such column
  };
  std::string name;
  Kind kind = Kind::text;
};

/// What stood in it.
struct RecordValue {
  bool given = false;  ///< there was such a column
  std::string_view text = {};
  std::vector<std::string_view> texts = {};
  std::optional<int64_t> number = {};
  std::vector<int64_t> numbers = {};
};

/// What is made of them.
struct DerivedTexts {
  std::vector<std::string> texts = {};       ///< of the fields of the task's sequences, the last any number of times
  std::vector<std::string> candidates = {};  ///< of the example's sequences, for TargetKind::choices
  std::vector<Span> words = {};              ///< of the text, for TargetKind::tags
  std::vector<int64_t> answer_starts = {};   ///< in the last text, for TargetKind::span; empty: not told
  std::string id = {};                       ///< where a file names its examples by texts
  std::vector<std::string> odd = {};         ///< kinds of what is odd and accepted
};

/// Text between the code points [begin, end); nothing where they do not lie inside or are none.
std::optional<std::string_view> code_points(std::string_view text, int64_t begin, int64_t end);

}  // namespace peft
