#include "src/apps/merged_classes.h"

#include <algorithm>
#include <limits>

#include "peft/base/lower_case.h"

namespace peft {

std::optional<std::vector<int64_t>> merged_classes(const std::vector<std::string>& head, const TaskSpec& spec) {
  if (spec.merged_classes.empty() || head.size() <= spec.labels.size()) return std::nullopt;
  std::vector<int64_t> merged;
  for (const std::string& name : head) {
    const auto joined = spec.merged_classes.find(lower_case(name));
    const std::string wanted = joined == spec.merged_classes.end() ? lower_case(name) : joined->second;
    const auto at = std::find(spec.labels.begin(), spec.labels.end(), wanted);
    if (at == spec.labels.end()) return std::nullopt;
    merged.push_back(at - spec.labels.begin());
  }
  return merged;
}

Evaluation evaluate_merged(const Transformer& model, Method& method, EncodedSplit split, TaskInfo task,
                           const std::vector<std::string>& head, const std::vector<int64_t>& merged) {
  split.hidden = true;  // its labels are no classes of the head
  task.labels = head;
  Evaluation evaluation = evaluate(model, method, 0, split, task);
  for (Target& prediction : evaluation.predictions)
    if (auto* id = std::get_if<int64_t>(&prediction)) *id = merged[*id];
  evaluation.loss = std::numeric_limits<double>::quiet_NaN();
  return evaluation;
}

}  // namespace peft
