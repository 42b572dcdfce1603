#include "src/text/added_token_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace peft::text {

std::optional<int32_t> AddedTokenList::id_of(const std::string& content) const {
  const auto found =
      std::find_if(tokens_.begin(), tokens_.end(), [&](const AddedToken& token) { return token.content == content; });
  return found == tokens_.end() ? std::nullopt : std::optional(found->id);
}

void AddedTokenList::check_id(const AddedToken& token, int64_t id, std::optional<int64_t> written,
                              const JsonSection& section) const {
  if (!written || *written == id) return;
  section.fail(fmt::format("token \"{}\" has id {}, expected {} ({})", token.content, *written, id,
                           id < vocabulary_.size() ? "its id in the vocabulary" : "the next free one"));
}

void AddedTokenList::add(AddedToken token, std::optional<int64_t> written_id, const JsonSection& section) {
  if (contains(token.content)) section.fail("token \"" + token.content + "\" is there twice");
  const auto known = vocabulary_.find(token.content);
  if (!known && next_id_ > std::numeric_limits<int32_t>::max()) section.fail("too many tokens");
  const int64_t id = known ? *known : next_id_;
  check_id(token, id, written_id, section);
  if (!known) ++next_id_;
  token.id = static_cast<int32_t>(id);
  tokens_.push_back(std::move(token));
}

void AddedTokenList::add_or_update(const AddedToken& token, std::optional<int64_t> written_id,
                                   const JsonSection& section) {
  const auto old = std::find_if(tokens_.begin(), tokens_.end(),
                                [&](const AddedToken& known) { return known.content == token.content; });
  if (old == tokens_.end()) return add(token, written_id, section);
  check_id(token, old->id, written_id, section);
  const AddedToken before = std::exchange(*old, token);
  old->id = before.id;
  old->special = token.special || before.special;
  old->was_normalized = before.normalized || before.was_normalized;
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
