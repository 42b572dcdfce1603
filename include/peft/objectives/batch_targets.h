#pragma once
/// The targets of a batch of examples, in the order of the batch.

#include <cstdint>
#include <span>
#include <vector>

#include "peft/data/encoded_split.h"

namespace peft {

/// Example e owns the sequences [sequence_offsets[e], sequence_offsets[e+1]) of the batch and the target ids [id_offsets[e],
/// id_offsets[e+1]).
struct BatchTargets {
  std::vector<double> labels;  ///< [E] class id, number of a choice or score; NaN where the target is none of them
  std::vector<int64_t> sequence_offsets{0};  ///< [E+1]
  /// [E, N] what -log p of each class counts in an example's loss, in training; empty: 1 for its own class, 0 for the others.
  std::vector<double> class_weights;
  /// Classes of sets, numbers of right sequences, tokens of texts, the tag of each token that is read (-1: none), or of each sequence the first and
  /// the last token of the answer.
  std::vector<int64_t> ids;
  std::vector<int64_t> id_offsets{0};   ///< [E+1]
  std::vector<int64_t> row_offsets{0};  ///< [S+1] tokens of the sequences, with TargetKind::span; else [1]

  /// `chosen`: the example's sequences that are in the batch; empty: all.
  void add(const EncodedSplit& split, int64_t example, std::span<const int64_t> chosen = {});
  int64_t examples() const { return static_cast<int64_t>(labels.size()); }
};

/// Of every example of a split.
BatchTargets targets_of(const EncodedSplit& split);

}  // namespace peft
