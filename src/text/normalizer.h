#pragma once
/// First step of a tokenizer: text to text (section `normalizer` of tokenizer.json).

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/text/json_section.h"

namespace peft::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// Replaces `out` by the normalised text. `text` is valid UTF-8 and no part of `out`.
  virtual void normalize(std::string_view text, std::string& out) const = 0;
};

struct BertNormalizerOptions {
  bool clean_text = true;             ///< drop control characters, turn every white space into a blank
  bool handle_chinese_chars = true;   ///< blanks around every ideograph
  std::optional<bool> strip_accents;  ///< decompose and drop nonspacing marks; absent = as lowercase
  bool lowercase = true;
};
std::unique_ptr<Normalizer> make_bert_normalizer(const BertNormalizerOptions& options);

/// BertNormalizer, Sequence, NFD, Lowercase, StripAccents. Throws DataError for any other.
std::unique_ptr<Normalizer> make_normalizer(const JsonSection& section);

}  // namespace peft::text
