#pragma once
/// Examples of a file to one encoded split.

#include <cstdint>
#include <optional>
#include <vector>

#include "encoded_file.h"
#include "peft/data/examples.h"
#include "peft/text/tokenizer.h"

namespace peft {

/// One file, or those of the parts of a split one after another. `limit`: examples to keep, the first ones of permutation(examples,
/// limit_seed), in that order; all in file order where it is absent or not below their number. Warns when the number of rows is not the
/// benchmark's.
EncodedFile encode_split(const std::vector<ExampleSource>& parts, const Tokenizer& tokenizer, const TaskConfig& task,
                         std::optional<int64_t> limit);
inline EncodedFile encode_split(const ExampleSource& source, const Tokenizer& tokenizer, const TaskConfig& task,
                                std::optional<int64_t> limit) {
  return encode_split(std::vector{source}, tokenizer, task, limit);
}

}  // namespace peft
