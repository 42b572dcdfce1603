#pragma once
/// Tokens of a model, numbered from 0 without holes.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/json_section.h"
#include "src/text/token_table.h"

namespace peft::text {

class Vocabulary {
 public:
  /// {"token": id, ...} as in tokenizer.json. Throws DataError when an id is used twice or left out.
  static Vocabulary from_json(const JsonSection& section);
  /// One token a line, its id the line number from 0. Lines end at LF; white space before it goes, as in the reference, unless that
  /// would make the token equal to another one. Throws DataError naming both lines of a token that occurs twice, and the line that
  /// is no UTF-8.
  static Vocabulary from_lines(std::string_view text, const std::string& origin);

  std::optional<int32_t> find(std::string_view token) const { return table_.find(token); }
  const std::string& token(int32_t id) const { return tokens_.at(static_cast<std::size_t>(id)); }
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }
  const TokenTable& table() const { return table_; }

 private:
  TokenTable table_;
  std::vector<std::string> tokens_;  ///< by id
};

}  // namespace peft::text
