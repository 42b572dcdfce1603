#include <ATen/ATen.h>

#include <algorithm>

#include "peft/kernels/cross_entropy.h"
#include "peft/objectives/objective.h"
#include "src/objectives/predictions.h"

namespace peft {
namespace {

/// One of N classes for each word (transformers' ...ForTokenClassification): the head reads the token that begins the word.
///   loss_e = sum over the words w of e of -log softmax(logits_w)[tag_w]
/// The mean loss of a step or split is over its words, as in transformers; words that were cut off are none. The prediction is the class of the
/// largest logit of each word.
class TokenClassification final : public Objective {
 public:
  TargetKind target() const override { return TargetKind::tags; }
  LogitRows logit_rows() const override { return LogitRows::tokens; }
  HeadKind head() const override { return HeadKind::token; }
  int64_t outputs(const TaskInfo& task) const override { return static_cast<int64_t>(task.labels.size()); }

  at::Tensor losses(const at::Tensor& logits_RN, const BatchTargets& targets,
                    const Execution& execution) const override {
    std::vector<int64_t> rows, tags, example;
    for (int64_t e = 0; e < targets.examples(); ++e) {
      for (int64_t r = targets.id_offsets[e]; r < targets.id_offsets[e + 1]; ++r) {
        if (targets.ids[r] < 0) continue;
        rows.push_back(r);
        tags.push_back(targets.ids[r]);
        example.push_back(e);
      }
    }
    const auto index = [&](const std::vector<int64_t>& numbers) {
      return at::tensor(at::ArrayRef<int64_t>(numbers), at::kLong).to(logits_RN.device());
    };
    const bool all = static_cast<int64_t>(rows.size()) == logits_RN.size(0);
    const at::Tensor each_R = cross_entropy(all ? logits_RN : logits_RN.index_select(0, index(rows)), tags, execution);
    return at::zeros({targets.examples()}, each_R.options()).index_add(0, index(example), each_R);
  }

  int64_t normaliser(const EncodedSplit& split, int64_t example) const override {
    const auto words = split.example_words(example);
    return std::count_if(words.begin(), words.end(), [](int32_t token) { return token >= 0; });
  }

  std::vector<Target> predict(const Answers& answers, const EncodedSplit& split) const override {
    const auto outputs = static_cast<std::size_t>(answers.logits.size(1));
    std::vector<Target> predictions;
    for (int64_t e = 0; e < split.size(); ++e) {
      const auto logits = example_logits(answers.logits, split, e);
      std::vector<int64_t> tags;
      std::size_t row = 0;
      for (const int32_t token : split.example_words(e)) {
        if (token < 0) {
          tags.push_back(-1);
          continue;
        }
        const auto scores = logits.subspan(outputs * row++, outputs);
        tags.push_back(std::max_element(scores.begin(), scores.end()) - scores.begin());
      }
      predictions.push_back(all_finite(logits) ? Target(std::move(tags)) : Target());
    }
    return predictions;
  }

  /// Names of the classes; a word without a prediction has the tag O, as one outside of everything.
  Scored scored(const std::vector<Target>& predictions, const EncodedSplit& split,
                const TaskInfo& task) const override {
    Scored scored;
    for (int64_t e = 0; e < split.size(); ++e) {
      const auto references = split.example_target_ids(e);
      const auto* predicted = std::get_if<std::vector<int64_t>>(&predictions[e]);
      auto& wanted = scored.reference_tags.emplace_back();
      auto& found = scored.predicted_tags.emplace_back();
      for (std::size_t w = 0; w < references.size(); ++w) {
        const int64_t tag = predicted == nullptr ? -1 : (*predicted)[w];
        wanted.push_back(task.labels.at(static_cast<std::size_t>(references[w])));
        found.push_back(tag < 0 ? kOutside : task.labels.at(static_cast<std::size_t>(tag)));
      }
    }
    return scored;
  }

  bool collapsed(const std::vector<Target>& predictions, const EncodedSplit& split) const override {
    std::optional<int64_t> only;
    for (const Target& prediction : predictions) {
      const auto* tags = std::get_if<std::vector<int64_t>>(&prediction);
      if (tags == nullptr) return false;
      for (const int64_t tag : *tags) {
        if (tag < 0) continue;
        if (only.value_or(tag) != tag) return false;
        only = tag;
      }
    }
    const auto& wanted = split.target_ids;
    return only && std::adjacent_find(wanted.begin(), wanted.end(), std::not_equal_to<>()) != wanted.end();
  }

 private:
  static constexpr const char* kOutside = "O";
};

[[maybe_unused]] const bool registered =
    objectives().add("token_classification", std::make_unique<TokenClassification>());

}  // namespace
}  // namespace peft
