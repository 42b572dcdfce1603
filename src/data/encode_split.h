#pragma once
/// Examples of a file to one encoded split.

#include <cstdint>
#include <string>
#include <vector>

#include "peft/data/dataset.h"
#include "peft/data/examples.h"

namespace peft {

struct EncodedFile {
  EncodedSplit split;
  std::vector<uint64_t> text_hashes;  ///< of each row's texts, for the overlap between splits
  std::string content_hash;           ///< of the file
};

/// `limit`: rows to keep, the first ones of permutation(rows, limit_seed), in that order; all rows in file order where it is absent
/// or not below their number. Warns when the number of rows is not the benchmark's.
EncodedFile encode_split(const ExampleSource& source, const Tokenizer& tokenizer, int64_t max_length,
                         std::optional<int64_t> limit);

}  // namespace peft
