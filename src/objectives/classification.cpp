#include <ATen/ATen.h>

#include "peft/kernels/cross_entropy.h"
#include "peft/objectives/objective.h"
#include "src/objectives/predictions.h"

namespace peft {
namespace {

/// One of N classes: loss_e = -log softmax(logits_e)[label_e], or sum_n c_en (-log softmax(logits_e)[n]) where training weighs classes (c); the prediction is the class of the largest logit.
class Classification final : public Objective {
 public:
  TargetKind target() const override { return TargetKind::class_id; }
  int64_t outputs(const TaskInfo& task) const override { return static_cast<int64_t>(task.labels.size()); }

  at::Tensor losses(const at::Tensor& logits_EN, const BatchTargets& targets,
                    const Execution& execution) const override {
    if (!targets.class_weights.empty()) {
      const at::Tensor weights = at::tensor(at::ArrayRef<double>(targets.class_weights)).to(logits_EN.options());
      return -(weights.view_as(logits_EN) * at::log_softmax(logits_EN, 1)).sum(1);
    }
    return cross_entropy(logits_EN, {targets.labels.begin(), targets.labels.end()}, execution);
  }

  std::vector<Target> predict(const Answers& answers, const EncodedSplit& split) const override {
    return largest_of_each(answers.logits, split);
  }

  bool collapsed(const std::vector<Target>& predictions, const EncodedSplit& split) const override {
    return all_alike(predictions, split);
  }
};

[[maybe_unused]] const bool registered = objectives().add("classification", std::make_unique<Classification>());

}  // namespace
}  // namespace peft
