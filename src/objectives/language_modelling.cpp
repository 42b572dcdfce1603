#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "peft/base/error.h"
#include "peft/kernels/cross_entropy.h"
#include "peft/objectives/objective.h"

namespace peft {
namespace {

/// The tokens of a text, each from those before it. Row t of the logits belongs to target token t of the batch:
///   loss_e = sum over the target tokens t of e of -log softmax(logits_t)[id_t]
/// The mean loss of a step or split is over its target tokens (docs/methods.md#the-bank), so an example counts as many times as it has tokens.
class LanguageModelling final : public Objective {
 public:
  TargetKind target() const override { return TargetKind::text; }
  LogitRows logit_rows() const override { return LogitRows::target_tokens; }
  int64_t outputs(const TaskInfo& /*task*/) const override { return 0; }

  at::Tensor losses(const at::Tensor& logits_TV, const BatchTargets& targets,
                    const Execution& execution) const override {
    std::vector<int64_t> example;
    for (int64_t e = 0; e < targets.examples(); ++e)
      example.insert(example.end(), static_cast<std::size_t>(targets.id_offsets[e + 1] - targets.id_offsets[e]), e);
    const at::Tensor each_T = cross_entropy(logits_TV, targets.ids, execution);
    const at::Tensor example_T = at::tensor(at::ArrayRef<int64_t>(example), at::kLong).to(each_T.device());
    return at::zeros({targets.examples()}, each_T.options()).index_add(0, example_T, each_T);
  }

  int64_t normaliser(const EncodedSplit& split, int64_t example) const override {
    return static_cast<int64_t>(split.example_target_ids(example).size());
  }

  void check_targets(const EncodedSplit& split, int64_t vocabulary, int64_t positions,
                     bool behind_source) const override {
    for (int64_t e = 0; e < split.size(); ++e) {
      const auto ids = split.example_target_ids(e);
      // The last token is predicted and never read; without a source in front a start token is.
      const int64_t tokens = static_cast<int64_t>(ids.size()) + (behind_source ? split.length(e) - 1 : 0);
      const std::string& file = split.statistics.files.front();
      if (tokens > positions)
        throw_error<DataError>("{}: idx {}: a target that takes {} positions, the model has {}", file, split.idx[e],
                               tokens, positions);
      const auto highest = std::max_element(ids.begin(), ids.end());
      if (highest != ids.end() && *highest >= vocabulary)
        throw_error<DataError>("{}: idx {}: a target with the token {}, expected ids below {}, the output table's size",
                               file, split.idx[e], *highest, vocabulary);
    }
  }

  /// The summed negative log-likelihood of each text: what perplexity is made of.
  std::vector<Target> predict(const Answers& answers, const EncodedSplit& split) const override {
    if (!answers.losses.defined()) return std::vector<Target>(static_cast<std::size_t>(split.size()));
    const at::Tensor losses = answers.losses.to(at::kCPU, at::kDouble).contiguous();
    const auto* loss = losses.const_data_ptr<double>();
    std::vector<Target> predictions;
    for (int64_t e = 0; e < split.size(); ++e)
      predictions.push_back(std::isfinite(loss[e]) ? Target(loss[e]) : Target());
    return predictions;
  }

  Scored scored(const std::vector<Target>& predictions, const EncodedSplit& split,
                const TaskInfo& /*task*/) const override {
    Scored scored;
    scored.groups = split.groups;
    for (int64_t e = 0; e < split.size(); ++e) {
      const auto* loss = std::get_if<double>(&predictions[e]);
      scored.predictions.push_back(loss != nullptr ? *loss : std::numeric_limits<double>::quiet_NaN());
      scored.references.push_back(static_cast<double>(normaliser(split, e)));
    }
    return scored;
  }
};

[[maybe_unused]] const bool registered = objectives().add("language_modelling", std::make_unique<LanguageModelling>());

}  // namespace
}  // namespace peft
