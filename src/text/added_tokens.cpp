#include "src/text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "peft/base/error.h"
#include "src/text/unicode.h"

namespace peft::text {
namespace {

bool touches_word(std::string_view text, std::size_t start, std::size_t stop) {
  if (start > 0 && is_word_character(previous_code_point(text, start))) return true;
  return stop < text.size() && is_word_character(next_code_point(text, stop));
}

std::size_t behind_white_space(std::string_view text, std::size_t stop) {
  while (stop < text.size()) {
    std::size_t next = stop;
    if (!is_white_space(next_code_point(text, next))) break;
    stop = next;
  }
  return stop;
}

}  // namespace

void AddedTokenFinder::add(const AddedToken& token, std::string_view form) {
  forms_.insert(form, static_cast<int32_t>(tokens_.size()));
  tokens_.push_back(token);
  starts_[static_cast<unsigned char>(form.front())] = true;
}

void AddedTokenFinder::split(std::string_view text, std::vector<Piece>& pieces) const {
  pieces.clear();
  std::size_t done = 0;  // everything before is in `pieces`
  for (std::size_t i = 0; i < text.size();) {
    if (!starts_[static_cast<unsigned char>(text[i])]) {
      ++i;
      continue;
    }
    const TokenTable::Match match = forms_.longest_prefix(text.substr(i));
    if (match.length == 0) {
      ++i;
      continue;
    }
    std::size_t start = i, stop = i + match.length;
    i = stop;  // the search goes on behind the form itself, also when the token is refused or swallows more
    const AddedToken& token = tokens_[static_cast<std::size_t>(match.value)];
    if (token.unsplit || (token.single_word && touches_word(text, start, stop))) continue;
    if (token.lstrip) start = std::max(before_white_space(text, start), done);
    if (token.rstrip) stop = behind_white_space(text, stop);
    if (done < start) pieces.push_back({Piece::kText, text.substr(done, start - done)});
    if (start < stop)
      pieces.push_back({token.id, text.substr(start, stop - start)});  // else swallowed by the one before
    done = stop;
  }
  if (done < text.size()) pieces.push_back({Piece::kText, text.substr(done)});
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer, const std::string& origin)
    : tokens_(std::move(tokens)) {
  std::stable_partition(tokens_.begin(), tokens_.end(), [](const AddedToken& token) { return token.special; });
  for (const AddedToken& token : tokens_) {
    std::string normal = token.content;
    if (normalizer != nullptr && (token.normalized || token.was_normalized))
      normalizer->normalize(token.content, normal);
    const std::string& form = token.normalized ? normal : token.content;
    if (form.empty()) {
      throw_error<DataError>("{}: added token \"{}\" (id {}) is empty{}", origin, token.content, token.id,
                             token.content.empty() ? "" : " once normalised");
    }
    (token.normalized ? normalized_ : raw_).add(token, form);
    decoded_.push_back(std::move(normal));
  }
}

}  // namespace peft::text
