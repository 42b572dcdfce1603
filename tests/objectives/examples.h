#pragma once
/// Encoded splits by hand: only targets and numbers of sequences matter to an objective.

#include <gtest/gtest.h>

#include <vector>

#include "peft/objectives/objective.h"

namespace peft {

struct HandExample {
  Target target;
  int64_t sequences = 1;
  std::vector<int32_t> text_ids = {};  ///< tokens of a target that is a text
};

inline EncodedSplit split_of(TargetKind kind, const std::vector<HandExample>& examples, bool hidden = false) {
  EncodedSplit split;
  split.target_kind = kind;
  split.hidden = hidden;
  split.statistics.files = {"file.jsonl"};
  const std::vector<int32_t> ids{1, 2};
  const std::vector<uint8_t> types{0, 0};
  for (const HandExample& example : examples) {
    for (int64_t s = 0; s < example.sequences; ++s) split.add_sequence(ids, types);
    split.end_example(example.target, 7 * split.size(), std::nullopt, example.text_ids);
  }
  return split;
}

inline const Objective& objective(const std::string& name) { return *objectives().at(name); }

}  // namespace peft
