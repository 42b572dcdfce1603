#include "src/text/vocabulary.h"

#include <limits>

#include "peft/base/error.h"
#include "peft/text/utf8.h"
#include "src/text/unicode.h"

namespace peft::text {

Vocabulary Vocabulary::from_json(const JsonSection& section) {
  if (!section.value().is_object() || section.value().empty())
    section.fail("expected a non-empty object {\"token\": id}");
  Vocabulary vocabulary;
  std::vector<const std::string*> by_id(section.value().size(), nullptr);
  const auto highest = static_cast<int64_t>(by_id.size()) - 1;
  for (const auto& [token, value] : section.value().get_ref<const Json::object_t&>()) {
    const int64_t id = section.at(token).integer(0, std::numeric_limits<int32_t>::max());
    if (id > highest) {
      section.fail(fmt::format("\"{}\" has id {}, but {} tokens must have the ids 0 to {} without holes", token, id,
                               by_id.size(), highest));
    }
    const std::string*& owner = by_id[static_cast<std::size_t>(id)];
    if (owner != nullptr) section.fail(fmt::format("\"{}\" and \"{}\" both have id {}", *owner, token, id));
    owner = &token;
    vocabulary.table_.insert(token, static_cast<int32_t>(id));
  }
  for (const std::string* token : by_id) vocabulary.tokens_.push_back(*token);
  return vocabulary;
}

Vocabulary Vocabulary::from_lines(std::string_view text, const std::string& origin) {
  Vocabulary vocabulary;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const int32_t id = static_cast<int32_t>(vocabulary.tokens_.size());
    if (const auto bad = find_invalid_utf8(line))
      throw_error<DataError>("{}:{}: {}", origin, id + 1, describe_invalid_utf8(line, *bad));
    std::string_view token = line.substr(0, before_white_space(line, line.size()));
    if (!vocabulary.table_.insert(token, id) && (token == line || !vocabulary.table_.insert(token = line, id))) {
      throw_error<DataError>("{}:{}: token \"{}\" is already in line {}", origin, id + 1, token,
                             *vocabulary.table_.find(token) + 1);
    }
    vocabulary.tokens_.emplace_back(token);
  }
  if (vocabulary.tokens_.empty()) throw_error<DataError>("{}: no tokens, expected one a line", origin);
  return vocabulary;
}

}  // namespace peft::text
