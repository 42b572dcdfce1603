#pragma once
/// First step of a tokenizer: text to text (section `normalizer` of tokenizer.json).

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/text/rewriter.h"
#include "src/text/section_registry.h"

namespace peft::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// Replaces `out` by the normalised text and, unless null, `sources` by the places in `text` it came from. `text` is valid UTF-8
  /// and no part of `out`.
  virtual void normalize(std::string_view text, std::string& out, Sources* sources = nullptr) const = 0;
};

/// Each type registers a function that reads its section.
using ReadNormalizer = std::unique_ptr<Normalizer> (*)(const JsonSection& section);
Registry<ReadNormalizer>& normalizers();

/// Throws DataError for an unknown type, and for a broken section.
std::unique_ptr<Normalizer> make_normalizer(const JsonSection& section);

struct BertNormalizerOptions {
  bool clean_text = true;             ///< drop control characters, turn every white space into a blank
  bool handle_chinese_chars = true;   ///< blanks around every ideograph
  std::optional<bool> strip_accents;  ///< decompose and drop nonspacing marks; absent = as lowercase
  bool lowercase = true;
};
std::unique_ptr<Normalizer> make_bert_normalizer(const BertNormalizerOptions& options);

}  // namespace peft::text
