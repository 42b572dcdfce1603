#pragma once
/// Giving added tokens the ids the reference gives.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/text/added_tokens.h"
#include "src/text/json_section.h"
#include "src/text/vocabulary.h"

namespace peft::text {

class AddedTokenList {
 public:
  explicit AddedTokenList(const Vocabulary& vocabulary) : vocabulary_(vocabulary), next_id_(vocabulary.size()) {}

  bool contains(const std::string& content) const { return id_of(content).has_value(); }
  std::optional<int32_t> id_of(const std::string& content) const;

  /// A token the model knows keeps its id, any other gets the next free one. `section`, the place it was read from, is named when the
  /// id written there is another one or the token is there twice.
  void add(AddedToken token, std::optional<int64_t> written_id, const JsonSection& section);

  /// As add(), but a token that is there takes the new flags. One that was special stays so.
  void add_or_update(const AddedToken& token, std::optional<int64_t> written_id, const JsonSection& section);

  int64_t size() const { return next_id_; }  ///< of the vocabulary with these tokens
  std::vector<AddedToken> take() { return std::move(tokens_); }

 private:
  void check_id(const AddedToken& token, int64_t id, std::optional<int64_t> written, const JsonSection& section) const;

  const Vocabulary& vocabulary_;
  int64_t next_id_;
  std::vector<AddedToken> tokens_;
};

/// {"content": ..., "single_word": ..., "lstrip": ..., "rstrip": ..., "normalized": ..., "special": ...}
AddedToken read_added_token(const JsonSection& section);

}  // namespace peft::text
