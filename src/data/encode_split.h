#pragma once
/// Examples of a file to one encoded split.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peft/data/dataset.h"
#include "peft/data/examples.h"

namespace peft {

struct EncodedFile {
  EncodedSplit split;
  std::vector<uint64_t> text_hashes;        ///< of each example's texts, for the overlap between splits
  std::vector<std::string> content_hashes;  ///< of the files
};

/// One file, or those of the parts of a split one after another. `limit`: examples to keep, the first ones of permutation(examples,
/// limit_seed), in that order; all in file order where it is absent or not below their number. Warns when the number of rows is not the
/// benchmark's.
EncodedFile encode_split(const std::vector<ExampleSource>& parts, const Tokenizer& tokenizer, int64_t max_length,
                         std::optional<int64_t> limit);
inline EncodedFile encode_split(const ExampleSource& source, const Tokenizer& tokenizer, int64_t max_length,
                                std::optional<int64_t> limit) {
  return encode_split(std::vector{source}, tokenizer, max_length, limit);
}

}  // namespace peft
