#pragma once
/// The encoded examples of one or several files, with what is counted for each of them, so that any part of them is a split.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "peft/data/encoded_split.h"

namespace peft {

struct EncodedFile {
  EncodedSplit split;
  std::vector<uint64_t> text_hashes;        ///< [examples] of their texts, for the overlap between splits
  std::vector<int32_t> lost_tokens;         ///< [examples]
  std::vector<uint8_t> empty_texts;         ///< [examples] 1: one of the texts is empty
  std::vector<std::string> content_hashes;  ///< of the files
};

/// The examples with these numbers, in this order. What was counted of the files (skipped, odd) stays as it is; the rest is to be counted
/// by count_examples.
EncodedFile take(const EncodedFile& file, std::span<const int64_t> examples);

/// Fills in the statistics of the examples themselves. `classes`: of the task, 0 where it has none.
void count_examples(EncodedFile& file, std::size_t classes);

}  // namespace peft
