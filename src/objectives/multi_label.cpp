#include <ATen/ATen.h>

#include "peft/objectives/objective.h"
#include "src/objectives/predictions.h"

namespace peft {
namespace {

/// A set of N classes, each a question of its own (transformers' problem_type "multi_label_classification"):
///   loss_e = mean over n of -(y_n log sigmoid(x_n) + (1 - y_n) log(1 - sigmoid(x_n)))     y_n = 1 where the set holds class n
/// The prediction is the set of classes with a logit above 0.
class MultiLabel final : public Objective {
 public:
  TargetKind target() const override { return TargetKind::classes; }
  int64_t outputs(const TaskInfo& task) const override { return static_cast<int64_t>(task.labels.size()); }

  at::Tensor losses(const at::Tensor& logits_EN, const BatchTargets& targets,
                    const Execution& /*execution*/) const override {
    at::Tensor held_EN = at::zeros(logits_EN.sizes(), at::kFloat);
    const int64_t classes = logits_EN.size(1);
    auto* held = held_EN.data_ptr<float>();
    for (int64_t e = 0; e < targets.examples(); ++e)
      for (int64_t i = targets.id_offsets[e]; i < targets.id_offsets[e + 1]; ++i)
        held[e * classes + targets.ids[i]] = 1.0F;
    return at::binary_cross_entropy_with_logits(logits_EN, held_EN.to(logits_EN.options()), {}, {}, at::Reduction::None)
        .mean(1);
  }

  std::vector<Target> predict(const Answers& answers, const EncodedSplit& split) const override {
    std::vector<Target> predictions;
    for (int64_t e = 0; e < split.size(); ++e) {
      const auto logits = example_logits(answers.logits, split, e);
      std::vector<int64_t> classes;
      for (std::size_t n = 0; n < logits.size(); ++n)
        if (logits[n] > 0) classes.push_back(static_cast<int64_t>(n));
      predictions.push_back(all_finite(logits) ? Target(std::move(classes)) : Target());
    }
    return predictions;
  }

  bool collapsed(const std::vector<Target>& predictions, const EncodedSplit& split) const override {
    return all_alike(predictions, split);
  }
};

[[maybe_unused]] const bool registered = objectives().add("multi_label", std::make_unique<MultiLabel>());

}  // namespace
}  // namespace peft
