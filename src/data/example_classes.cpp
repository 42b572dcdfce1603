#include "example_classes.h"

#include <algorithm>

#include "peft/base/error.h"

namespace peft {
namespace {

constexpr double middle_score = 2.5;  // of 0..5

}  // namespace

ExampleClasses example_classes(const EncodedSplit& split, const TaskSpec& spec, const std::string& task,
                               const std::vector<std::string>& labels, const std::string& key) {
  ExampleClasses classes;
  const bool halves = split.target_kind == TargetKind::score && spec.bounded;
  if (split.target_kind != TargetKind::class_id && split.target_kind != TargetKind::choice && !halves)
    throw_error<ConfigError>("{}: the examples of {} are not of one class each; data.limit takes rows of any kind", key,
                             task);
  if (halves) {
    classes.names = {"score <= 2.5", "score > 2.5"};
    for (const double score : split.labels) classes.of.push_back(score > middle_score ? 1 : 0);
    return classes;
  }
  classes.names = labels;
  for (int64_t e = 0; e < split.size(); ++e) {
    classes.of.push_back(static_cast<int64_t>(split.labels[static_cast<std::size_t>(e)]));
    if (split.target_kind != TargetKind::choice) continue;
    while (static_cast<int64_t>(classes.names.size()) < split.sequences(e))
      classes.names.push_back("choice " + std::to_string(classes.names.size()));
  }
  return classes;
}

}  // namespace peft
