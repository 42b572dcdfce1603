#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "peft/kernels/cross_entropy.h"
#include "peft/objectives/objective.h"
#include "src/objectives/predictions.h"

namespace peft {
namespace {

/// Scores of each example's sequences side by side; an example with fewer than others ends in -infinity.     logits_S1 -> [E, most]
at::Tensor side_by_side(const at::Tensor& logits_S1, const std::vector<int64_t>& offsets) {
  const auto examples = static_cast<int64_t>(offsets.size()) - 1;
  int64_t most = 0;
  for (int64_t e = 0; e < examples; ++e) most = std::max(most, offsets[e + 1] - offsets[e]);
  std::vector<int64_t> places;
  for (int64_t e = 0; e < examples; ++e)
    for (int64_t s = offsets[e]; s < offsets[e + 1]; ++s) places.push_back(e * most + s - offsets[e]);
  const at::Tensor place_S = at::tensor(at::ArrayRef<int64_t>(places), at::kLong).to(logits_S1.device());
  return at::full({examples * most}, -std::numeric_limits<double>::infinity(), logits_S1.options())
      .scatter(0, place_S, logits_S1.flatten())
      .view({examples, most});
}

/// The right one of an example's own sequences, any number of them (BertForMultipleChoice): the head has one output, and
///   loss_e = -log softmax(scores of the sequences of e)[label_e]
/// The prediction is the number of the sequence with the largest score.
class Choice final : public Objective {
 public:
  TargetKind target() const override { return TargetKind::choice; }
  int64_t outputs(const TaskInfo& /*task*/) const override { return 1; }

  at::Tensor losses(const at::Tensor& logits_S1, const BatchTargets& targets,
                    const Execution& execution) const override {
    return cross_entropy(side_by_side(logits_S1, targets.sequence_offsets),
                         {targets.labels.begin(), targets.labels.end()}, execution);
  }

  std::vector<Target> predict(const Answers& answers, const EncodedSplit& split) const override {
    return largest_of_each(answers.logits, split);
  }

  bool collapsed(const std::vector<Target>& predictions, const EncodedSplit& split) const override {
    return all_alike(predictions, split);
  }
};

[[maybe_unused]] const bool registered = objectives().add("choice", std::make_unique<Choice>());

}  // namespace
}  // namespace peft
