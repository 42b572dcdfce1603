#include <ATen/ATen.h>

#include <algorithm>

#include "peft/base/rng.h"
#include "peft/kernels/cross_entropy.h"
#include "peft/objectives/objective.h"
#include "src/objectives/predictions.h"

namespace peft {
namespace {

constexpr int64_t kOutputs = 2;        // wrong, right
constexpr std::size_t kMostWrong = 9;  // candidates of a training example beside the right ones

/// Each of an example's sequences stands for a candidate, and is right or wrong by itself; several may be right:
///   loss_e = mean over its sequences s of -log softmax(logits_s)[s is right]
/// The prediction is the candidate with the largest logit(right) - logit(wrong), the first of equal ones. A training example shows all right
/// candidates and up to 9 wrong ones, others in every epoch.
class Candidates final : public Objective {
 public:
  TargetKind target() const override { return TargetKind::choices; }
  int64_t outputs(const TaskInfo& /*task*/) const override { return kOutputs; }

  at::Tensor losses(const at::Tensor& logits_S2, const BatchTargets& targets,
                    const Execution& execution) const override {
    const int64_t examples = targets.examples();
    std::vector<int64_t> right(static_cast<std::size_t>(targets.sequence_offsets.back()), 0), example_of;
    std::vector<double> shares;
    for (int64_t e = 0; e < examples; ++e) {
      const int64_t first = targets.sequence_offsets[e], count = targets.sequence_offsets[e + 1] - first;
      for (int64_t i = targets.id_offsets[e]; i < targets.id_offsets[e + 1]; ++i) right[first + targets.ids[i]] = 1;
      example_of.insert(example_of.end(), count, e);
      shares.insert(shares.end(), count, 1.0 / static_cast<double>(count));
    }
    const at::Tensor each_S = cross_entropy(logits_S2, right, execution);
    const at::Tensor share_S = at::tensor(at::ArrayRef<double>(shares)).to(each_S.options());
    const at::Tensor example_S = at::tensor(at::ArrayRef<int64_t>(example_of), at::kLong).to(each_S.device());
    return at::zeros({examples}, each_S.options()).index_add(0, example_S, each_S * share_S);
  }

  std::vector<int64_t> drawn(const EncodedSplit& split, int64_t example, uint64_t seed, int64_t epoch) const override {
    const auto right = split.example_target_ids(example);
    std::vector<int64_t> chosen(right.begin(), right.end()), wrong;
    for (int64_t s = 0; s < split.sequences(example); ++s)
      if (std::find(right.begin(), right.end(), s) == right.end()) wrong.push_back(s);
    const RngStream stream(hash64(std::to_string(split.idx[example]), hash64("wrong candidates", seed)),
                           static_cast<uint64_t>(epoch));
    const auto before = [&](int64_t a, int64_t b) {
      const uint32_t x = stream.word(static_cast<uint64_t>(a)), y = stream.word(static_cast<uint64_t>(b));
      return x != y ? x < y : a < b;
    };
    std::sort(wrong.begin(), wrong.end(), before);
    wrong.resize(std::min(wrong.size(), kMostWrong));
    chosen.insert(chosen.end(), wrong.begin(), wrong.end());
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

  std::vector<Target> predict(const Answers& answers, const EncodedSplit& split) const override {
    std::vector<Target> places;
    for (int64_t e = 0; e < split.size(); ++e) {
      const auto logits = example_logits(answers.logits, split, e);
      if (!all_finite(logits)) {
        places.emplace_back();
        continue;
      }
      int64_t best = 0;
      const auto lead = [&](int64_t s) { return logits[kOutputs * s + 1] - logits[kOutputs * s]; };
      for (int64_t s = 1; s < split.sequences(e); ++s)
        if (lead(s) > lead(best)) best = s;
      places.emplace_back(best);
    }
    return places;
  }

  /// Whether the chosen candidate is a right one: 1 or 0 beside references of 1, so that accuracy is the share of right answers.
  Scored scored(const std::vector<Target>& predictions, const EncodedSplit& split,
                const TaskInfo& /*task*/) const override {
    Scored scored;
    for (int64_t e = 0; e < split.size(); ++e) {
      const auto* place = std::get_if<int64_t>(&predictions[e]);
      const auto right = split.example_target_ids(e);
      const bool hit = place != nullptr && std::find(right.begin(), right.end(), *place) != right.end();
      scored.predictions.push_back(hit ? 1.0 : 0.0);
      scored.references.push_back(1.0);
    }
    scored.num_classes = kOutputs;
    return scored;
  }
};

[[maybe_unused]] const bool registered = objectives().add("candidates", std::make_unique<Candidates>());

}  // namespace
}  // namespace peft
