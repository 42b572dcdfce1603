#include <ATen/ATen.h>

#include "peft/kernels/cross_entropy.h"
#include "peft/objectives/objective.h"
#include "src/objectives/predictions.h"

namespace peft {
namespace {

/// The right one of an example's own sequences, any number of them (BertForMultipleChoice): the head has one output, and
///   loss_e = -log softmax(scores of the sequences of e)[label_e]
/// The prediction is the number of the sequence with the largest score.
class Choice final : public Objective {
 public:
  TargetKind target() const override { return TargetKind::choice; }
  int64_t outputs(const TaskInfo& /*task*/) const override { return 1; }

  at::Tensor losses(const at::Tensor& logits_S1, const BatchTargets& targets,
                    const Execution& execution) const override {
    return cross_entropy(side_by_side(logits_S1.flatten(), targets.sequence_offsets),
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
