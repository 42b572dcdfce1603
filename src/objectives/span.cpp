#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "peft/data/record.h"
#include "peft/kernels/cross_entropy.h"
#include "peft/objectives/objective.h"
#include "src/objectives/predictions.h"

namespace peft {
namespace {

constexpr int64_t kOutputs = 2;         // first, last token of the answer
constexpr std::size_t kBest = 20;       // tokens of a window that may begin an answer, and that may end one
constexpr int64_t kLongestAnswer = 30;  // tokens

/// The part of a text that answers a question (transformers' ...ForQuestionAnswering). A long text is several windows w, sequences of one example:
///   loss_e = sum over w of (-log softmax(logits_w,0)[first_w] - log softmax(logits_w,1)[last_w]) / 2
/// over all tokens of the window; the first token stands for "no answer here". The mean loss is over windows, as in transformers' example.
/// The prediction is the part of the text with the largest logit_0(first) + logit_1(last): first and last among the 20 best of their window, in
/// order, at most 30 tokens. Where a task's texts may lack the answer, "" competes with the smallest such sum of a window's first token.
class SpanAnswers final : public Objective {
 public:
  TargetKind target() const override { return TargetKind::span; }
  LogitRows logit_rows() const override { return LogitRows::tokens; }
  HeadKind head() const override { return HeadKind::span; }
  int64_t outputs(const TaskInfo& /*task*/) const override { return kOutputs; }

  at::Tensor losses(const at::Tensor& logits_R2, const BatchTargets& targets,
                    const Execution& execution) const override {
    std::vector<int64_t> example;
    for (int64_t e = 0; e < targets.examples(); ++e)
      example.insert(example.end(), targets.sequence_offsets[e + 1] - targets.sequence_offsets[e], e);
    at::Tensor each_S;
    for (int64_t end = 0; end < kOutputs; ++end) {
      std::vector<int64_t> wanted;
      for (std::size_t s = 0; s < example.size(); ++s)
        wanted.push_back(targets.ids[2 * s + static_cast<std::size_t>(end)]);
      const at::Tensor loss =
          cross_entropy(side_by_side(logits_R2.select(1, end), targets.row_offsets), wanted, execution);
      each_S = each_S.defined() ? (each_S + loss) / kOutputs : loss;
    }
    const at::Tensor example_S = at::tensor(at::ArrayRef<int64_t>(example), at::kLong).to(each_S.device());
    return at::zeros({targets.examples()}, each_S.options()).index_add(0, example_S, each_S);
  }

  int64_t normaliser(const EncodedSplit& split, int64_t example) const override { return split.sequences(example); }

  std::vector<Target> predict(const Answers& answers, const EncodedSplit& split) const override {
    std::vector<Target> predictions;
    for (int64_t e = 0; e < split.size(); ++e) {
      const auto logits = example_logits(answers.logits, split, e);
      predictions.push_back(all_finite(logits) ? Target(best_answer(logits, split, e)) : Target());
    }
    return predictions;
  }

  Scored scored(const std::vector<Target>& predictions, const EncodedSplit& split,
                const TaskInfo& /*task*/) const override {
    Scored scored;
    scored.reference_texts = split.references;
    for (const Target& prediction : predictions) {
      const auto* text = std::get_if<std::string_view>(&prediction);
      scored.predicted_texts.emplace_back(text == nullptr ? "" : *text);
    }
    return scored;
  }

 private:
  /// The tokens with the largest logits of one output, best first, the first of equal ones.
  static std::vector<int64_t> best_tokens(std::span<const float> logits, int64_t output) {
    std::vector<int64_t> tokens(logits.size() / kOutputs);
    for (std::size_t t = 0; t < tokens.size(); ++t) tokens[t] = static_cast<int64_t>(t);
    const auto score = [&](int64_t token) { return logits[static_cast<std::size_t>(token * kOutputs + output)]; };
    const auto better = [&](int64_t a, int64_t b) { return score(a) != score(b) ? score(a) > score(b) : a < b; };
    const std::size_t count = std::min(kBest, tokens.size());
    std::partial_sort(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count), tokens.end(), better);
    tokens.resize(count);
    return tokens;
  }

  static std::string_view best_answer(std::span<const float> logits, const EncodedSplit& split, int64_t example) {
    float best = -std::numeric_limits<float>::infinity(), none = std::numeric_limits<float>::infinity();
    Span chosen{0, 0};
    const int64_t begin = split.first_row(example);
    for (int64_t s = split.first_sequence(example); s < split.first_sequence(example + 1); ++s) {
      const auto first_row = static_cast<std::size_t>(split.offsets[s] - begin);
      const auto window =
          logits.subspan(first_row * kOutputs, static_cast<std::size_t>(split.sequence_length(s)) * kOutputs);
      const Span* spans = split.text_spans.data() + split.offsets[s];
      none = std::min(none, window[0] + window[1]);
      const std::vector<int64_t> ends = best_tokens(window, 1);
      for (const int64_t first : best_tokens(window, 0)) {
        for (const int64_t last : ends) {
          if (spans[first] == outside_text || spans[last] == outside_text) continue;
          if (last < first || last - first + 1 > kLongestAnswer) continue;
          const float score = window[static_cast<std::size_t>(first * kOutputs)] +
                              window[static_cast<std::size_t>(last * kOutputs + 1)];
          if (score <= best) continue;
          best = score;
          chosen = {spans[first].start, spans[last].end};
        }
      }
    }
    if (split.may_lack_answer && none > best) return {};
    return code_points(split.texts[static_cast<std::size_t>(example)], chosen.start, chosen.end).value_or("");
  }
};

[[maybe_unused]] const bool registered = objectives().add("span", std::make_unique<SpanAnswers>());

}  // namespace
}  // namespace peft
