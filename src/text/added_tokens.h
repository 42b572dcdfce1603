#pragma once
/// Tokens that are found in the text before anything else looks at it ([CLS], <extra_id_0>, ...).

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/normalizer.h"
#include "src/text/token_table.h"

namespace peft::text {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;  ///< only where no word character touches it
  bool lstrip = false;       ///< swallows white space before it
  bool rstrip = false;       ///< swallows white space behind it
  bool normalized = false;   ///< its normalised form is looked for in the normalised text, else itself in the raw text
  bool special = false;
  bool unsplit = false;  ///< stays text although it is found (split_special_tokens)
  bool was_normalized =
      false;  ///< before its flags were updated: the reference goes on decoding it to its normalised form

  bool operator==(const AddedToken&) const = default;
};

/// Part of a text: an added token, or what lies between two of them.
struct Piece {
  static constexpr int32_t kText = -1;
  int32_t id;  ///< kText: still to be tokenised
  std::string_view text;
};

/// Finds one set of added tokens, leftmost first, the longest of those that start there.
class AddedTokenFinder {
 public:
  /// Pairs of a token and the form to look for. Of equal forms the first wins.
  void add(const AddedToken& token, std::string_view form);
  bool empty() const { return tokens_.empty(); }

  /// Replaces `pieces` by the parts of `text`.
  void split(std::string_view text, std::vector<Piece>& pieces) const;

 private:
  TokenTable forms_;  ///< values index tokens_
  std::vector<AddedToken> tokens_;
  std::array<bool, 256> starts_{};  ///< first bytes of the forms
};

/// All added tokens of a tokenizer, in the two sets that are looked for before and after normalisation.
class AddedTokens {
 public:
  /// Special tokens come first, as in the reference. `normalizer` may be null. Throws DataError, with `origin`, when a token is
  /// empty or becomes empty by normalisation.
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer, const std::string& origin);

  const AddedTokenFinder& raw() const { return raw_; }
  const AddedTokenFinder& normalized() const { return normalized_; }
  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const std::string& decoded(std::size_t k) const { return decoded_[k]; }  ///< what tokens()[k] is decoded to

 private:
  std::vector<AddedToken> tokens_;
  std::vector<std::string> decoded_;
  AddedTokenFinder raw_, normalized_;
};

}  // namespace peft::text
