#include <ATen/ATen.h>

#include "peft/objectives/objective.h"
#include "src/objectives/predictions.h"

namespace peft {
namespace {

/// A score: one output, loss_e = (logit_e - score_e)^2, without clamping; the prediction is the output.
class Regression final : public Objective {
 public:
  TargetKind target() const override { return TargetKind::score; }
  int64_t outputs(const TaskInfo& /*task*/) const override { return 1; }

  at::Tensor losses(const at::Tensor& logits_E1, const BatchTargets& targets,
                    const Execution& /*execution*/) const override {
    const at::Tensor scores = at::tensor(at::ArrayRef<double>(targets.labels)).to(logits_E1.options());
    return at::square(logits_E1.squeeze(1) - scores);
  }

  std::vector<Target> predict(const Answers& answers, const EncodedSplit& split) const override {
    std::vector<Target> predictions;
    for (int64_t e = 0; e < split.size(); ++e) {
      const auto logits = example_logits(answers.logits, split, e);
      predictions.push_back(all_finite(logits) ? Target(double{logits.front()}) : Target());
    }
    return predictions;
  }
};

[[maybe_unused]] const bool registered = objectives().add("regression", std::make_unique<Regression>());

}  // namespace
}  // namespace peft
