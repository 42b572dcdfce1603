#pragma once
/// Rows of predictions (docs/formats.md#predictions).

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <vector>

#include "peft/data/dataset.h"

namespace peft {

/// The answers of one adapter to the examples of a split.
class AnswerWriter {
 public:
  explicit AnswerWriter(const TaskInfo& task);

  /// Members of a JSON object, without its braces: `"label": ..., "probabilities": {...}` and the like. `logits_SN`: float32 on the CPU.
  /// Null stands where a logit is not finite.
  std::string members(const at::Tensor& logits_SN, const EncodedSplit& split, int64_t example,
                      const Target& prediction) const;

 private:
  std::string name(int64_t id) const { return names_.at(static_cast<std::size_t>(id)); }
  std::string tags(const std::vector<int64_t>& ids, const EncodedSplit& split, int64_t example) const;
  static std::string answer(std::string_view text, const EncodedSplit& split, int64_t example);
  std::string named(const std::vector<double>& probabilities) const;

  TargetKind kind_;
  std::vector<std::string> labels_, names_;  ///< of classes, and the same as JSON
};

}  // namespace peft
