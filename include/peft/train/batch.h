#pragma once
/// Examples of encoded splits to one packed batch on the device.

#include <vector>

#include "peft/data/dataset.h"
#include "peft/models/transformer.h"
#include "peft/objectives/objective.h"

namespace peft {

/// An example of a split, for an adapter of the bank.
struct BatchExample {
  const EncodedSplit* split = nullptr;
  int64_t example = 0;
  int64_t adapter = 0;
  int64_t ordinal = 0;               ///< number of its first sequence in its adapter's step
  std::vector<int64_t> chosen = {};  ///< its sequences that are in the batch (Objective::drawn); empty: all
  int64_t sequences() const { return chosen.empty() ? split->sequences(example) : static_cast<int64_t>(chosen.size()); }
  /// Place in the split of the j-th of them.
  int64_t sequence(int64_t j) const { return split->first_sequence(example) + (chosen.empty() ? j : chosen[j]); }
  /// Tokens of these sequences and of the target.
  int64_t tokens() const;
};

/// All examples of a split, longest first, in batches of a few thousand tokens: enough to keep the products large, small enough to stay in
/// the processor's caches. `extra` tokens join every sequence.
std::vector<std::vector<int64_t>> length_batches(const EncodedSplit& split, int64_t extra);

/// Examples must be sorted by adapter. Their sequences follow one another, each with its own ordinal.
ModelInput make_input(const std::vector<BatchExample>& examples, int64_t adapters, at::Device device);

/// The tokens of the batch whose outputs are read (EncodedSplit::read_tokens).
Selection select_read_tokens(const std::vector<BatchExample>& examples);

/// A pass whose selected rows predict the target tokens, in order.
struct TargetInput {
  ModelInput input;
  Selection selection;
};

/// One stack reads source and target as one text. An encoder-decoder reads the source, and the target behind its start token. The last token
/// of a target is predicted and never read. Throws DataError where a target has no token in front of it.
TargetInput make_target_input(const ModelSpec& spec, const std::vector<BatchExample>& examples, int64_t adapters,
                              at::Device device);

/// Throws DataError where a target does not fit the model: its positions, less those that the method takes, and its output table.
void check_targets(const Objective& objective, const EncodedSplit& split, const ModelSpec& spec,
                   int64_t virtual_tokens);

}  // namespace peft
