#include "peft/objectives/objective.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace peft {
namespace {

double number_of(const Target& target, double invalid) {
  if (const auto* id = std::get_if<int64_t>(&target)) return static_cast<double>(*id);
  if (const auto* score = std::get_if<double>(&target)) return *score;
  return invalid;
}

std::vector<int64_t> set_of(const Target& target) {
  const auto* set = std::get_if<std::vector<int64_t>>(&target);
  return set != nullptr ? *set : std::vector<int64_t>{-1};
}

}  // namespace

void BatchTargets::add(const EncodedSplit& split, int64_t example, std::span<const int64_t> chosen) {
  labels.push_back(split.labels[example]);
  const auto sequences = chosen.empty() ? split.sequences(example) : static_cast<int64_t>(chosen.size());
  sequence_offsets.push_back(sequence_offsets.back() + sequences);
  const auto target_ids = split.example_target_ids(example);
  if (split.target_kind == TargetKind::span) {
    for (int64_t s = split.first_sequence(example); s < split.first_sequence(example + 1); ++s)
      row_offsets.push_back(row_offsets.back() + split.sequence_length(s));
  }
  if (split.target_kind == TargetKind::tags) {
    const auto words = split.example_words(example);
    const std::size_t before = ids.size();
    for (std::size_t w = 0; w < target_ids.size(); ++w)
      if (words[w] >= 0) ids.push_back(target_ids[w]);
    ids.resize(before + static_cast<std::size_t>(split.rows(example)), -1);  // no word: its first token has no tag
  } else if (chosen.empty()) {
    ids.insert(ids.end(), target_ids.begin(), target_ids.end());
  } else {
    for (const int32_t id : target_ids) ids.push_back(std::find(chosen.begin(), chosen.end(), id) - chosen.begin());
  }
  id_offsets.push_back(static_cast<int64_t>(ids.size()));
}

BatchTargets targets_of(const EncodedSplit& split) {
  BatchTargets targets;
  for (int64_t example = 0; example < split.size(); ++example) targets.add(split, example);
  return targets;
}

Registry<std::unique_ptr<const Objective>>& objectives() {
  static Registry<std::unique_ptr<const Objective>> registry("objective");
  return registry;
}

const Objective& objective_of(const TaskInfo& task) { return *objectives().at(task.objective); }

Scored Objective::scored(const std::vector<Target>& predictions, const EncodedSplit& split,
                         const TaskInfo& task) const {
  Scored scored;
  scored.groups = split.groups;
  scored.num_classes = static_cast<int64_t>(task.labels.size());
  if (target() == TargetKind::classes) {
    for (int64_t e = 0; e < split.size(); ++e) {
      scored.predicted_sets.push_back(set_of(predictions[e]));
      scored.reference_sets.push_back(set_of(split.target(e)));
    }
    return scored;
  }
  const double invalid = target() == TargetKind::score ? std::numeric_limits<double>::quiet_NaN() : -1.0;
  for (const Target& prediction : predictions) scored.predictions.push_back(number_of(prediction, invalid));
  scored.references = split.labels;
  return scored;
}

Json target_json(const Target& target, const TaskInfo& task) {
  const auto name = [&](int64_t id) {
    if (id < 0) return Json();  // a word without a prediction
    return task.labels.empty() ? Json(id) : Json(task.labels.at(static_cast<std::size_t>(id)));
  };
  if (const auto* id = std::get_if<int64_t>(&target)) return name(*id);
  if (const auto* score = std::get_if<double>(&target)) return std::isfinite(*score) ? Json(*score) : Json();
  if (const auto* text = std::get_if<std::string_view>(&target)) return *text;
  if (const auto* set = std::get_if<std::vector<int64_t>>(&target)) {
    Json names = Json::array();
    for (const int64_t id : *set) names.push_back(name(id));
    return names;
  }
  return {};
}

}  // namespace peft
