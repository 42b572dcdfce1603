#pragma once
/// Sets of code points as the tokenizers library has them, sorted ranges; make_unicode_tables.py writes them.

#include <span>

namespace peft::text {

struct CodeRange {
  char32_t first, last;
};

extern const std::span<const CodeRange> kControl;         ///< removed by BERT's clean_text: Cc, Cf, Co, NUL, U+FFFD
extern const std::span<const CodeRange> kNonspacingMark;  ///< removed by BERT's strip_accents: Mn
extern const std::span<const CodeRange> kCombiningMark;   ///< removed by StripAccents: M
extern const std::span<const CodeRange> kPunctuation;     ///< split off by BertPreTokenizer: P and ASCII symbols
extern const std::span<const CodeRange> kWord;            ///< \w of the regular expressions behind single_word
extern const std::span<const CodeRange> kReordered;       ///< canonical combining class other than 0
extern const std::span<const CodeRange> kDecomposed;      ///< has a canonical decomposition
extern const std::span<const CodeRange> kCompatible;      ///< has a compatibility decomposition that is another one
extern const std::span<const CodeRange> kNumeric;         ///< split off by Digits: N

}  // namespace peft::text
