#pragma once
/// What is learned: how many outputs a task needs, the loss of an example, and what a prediction is. One file of src/objectives adds one
/// objective; the trainer, evaluation and programs never name one. E examples, S sequences, R tokens that are read, N outputs, V vocabulary.

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "peft/base/json.h"
#include "peft/base/registry.h"
#include "peft/data/dataset.h"
#include "peft/kernels/execution.h"
#include "peft/metrics/metrics.h"
#include "peft/models/spec.h"
#include "peft/objectives/batch_targets.h"

namespace peft {

/// Which outputs of the network an objective reads.
enum class LogitRows {
  sequences,     ///< [S, N]: the head on the pooled token of every sequence, examples in order
  tokens,        ///< [R, N]: the head on every token of EncodedSplit::read_tokens, examples in order
  target_tokens  ///< [target tokens, V]: the output table on every token that predicts one of a target text, in order
};

/// What the network said of the examples of a split, in their order.
struct Answers {
  at::Tensor
      logits;  ///< [S or R, N] float32 on the CPU; undefined with LogitRows::target_tokens, where it would be too large
  at::Tensor losses;  ///< [E]; undefined where the labels are hidden
};

class Objective {
 public:
  virtual ~Objective() = default;

  /// The targets it takes.
  virtual TargetKind target() const = 0;
  virtual LogitRows logit_rows() const { return LogitRows::sequences; }
  /// The head that it needs.
  virtual HeadKind head() const { return HeadKind::sequence; }
  /// Outputs of the trained head; 0: there is none, the logits are those of the vocabulary.
  virtual int64_t outputs(const TaskInfo& task) const = 0;

  /// Loss of each example, differentiable.     -> [E]
  virtual at::Tensor losses(const at::Tensor& logits, const BatchTargets& targets,
                            const Execution& execution = {}) const = 0;
  /// What an example adds to the denominator of a mean loss, over a step as over a split.
  virtual int64_t normaliser(const EncodedSplit& /*split*/, int64_t /*example*/) const { return 1; }

  /// Throws DataError where a target does not fit the model: a text longer than `positions`, with its source where it stands `behind_source`;
  /// a token without a row in the output table.
  virtual void check_targets(const EncodedSplit& /*split*/, int64_t /*vocabulary*/, int64_t /*positions*/,
                             bool /*behind_source*/) const {}

  /// Which of an example's sequences a training step shows, by their numbers in ascending order: a function of its arguments alone. Empty:
  /// all of them.
  virtual std::vector<int64_t> drawn(const EncodedSplit& /*split*/, int64_t /*example*/, uint64_t /*seed*/,
                                     int64_t /*epoch*/) const {
    return {};
  }

  /// One prediction an example: a target as a file could give it, or nothing (invalid) where its logits are not finite.
  virtual std::vector<Target> predict(const Answers& answers, const EncodedSplit& split) const = 0;
  /// Predictions beside the split's references, as metrics take them.
  virtual Scored scored(const std::vector<Target>& predictions, const EncodedSplit& split, const TaskInfo& task) const;
  /// Whether every example of a split with several answers is answered alike.
  virtual bool collapsed(const std::vector<Target>& /*predictions*/, const EncodedSplit& /*split*/) const {
    return false;
  }
};

Registry<std::unique_ptr<const Objective>>& objectives();
const Objective& objective_of(const TaskInfo& task);

/// A prediction or reference as predictions files hold it: a label's name, a list of them, a number (of a choice, or a score), a text;
/// null: nothing, or a score that is not finite.
Json target_json(const Target& target, const TaskInfo& task);

}  // namespace peft
