#include "src/text/added_token_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace peft::text {

bool AddedTokenList::contains(const std::string& content) const {
  return std::any_of(tokens_.begin(), tokens_.end(), [&](const AddedToken& token) { return token.content == content; });
}

void AddedTokenList::add(AddedToken token, std::optional<int64_t> written_id, const JsonSection& section) {
  if (contains(token.content)) section.fail("token \"" + token.content + "\" is there twice");
  const auto known = vocabulary_.find(token.content);
  if (!known && next_id_ > std::numeric_limits<int32_t>::max()) section.fail("too many tokens");
  const int64_t id = known ? *known : next_id_++;
  if (written_id && *written_id != id) {
    section.fail(fmt::format("token \"{}\" has id {}, expected {} ({})", token.content, *written_id, id,
                             known ? "its id in the vocabulary" : "the next free one"));
  }
  token.id = static_cast<int32_t>(id);
  tokens_.push_back(std::move(token));
}

AddedToken read_added_token(const JsonSection& section) {
  return {.content = section.at("content").string(),
          .single_word = section.at("single_word").boolean(),
          .lstrip = section.at("lstrip").boolean(),
          .rstrip = section.at("rstrip").boolean(),
          .normalized = section.at("normalized").boolean(),
          .special = section.at("special").boolean()};
}

}  // namespace peft::text
