#include "src/train/loss_weights.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "peft/base/error.h"
#include "peft/base/peer_names.h"

namespace peft {
namespace {

constexpr const char* kKey = "train.class_weights";

/// n / (N n_c), so that all classes together count the same: scikit-learn's "balanced".
std::vector<double> balanced(const std::vector<int64_t>& counts, const std::vector<std::string>& labels) {
  double all = 0.0;
  for (const int64_t count : counts) all += static_cast<double>(count);
  std::vector<double> weights;
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] == 0)
      throw_error<ConfigError>("{}: \"balanced\" needs examples of every class, and train has none of {}", kKey,
                               labels[c]);
    weights.push_back(all / static_cast<double>(counts.size()) / static_cast<double>(counts[c]));
  }
  return weights;
}

std::vector<double> named(const Json& weights, const std::vector<std::string>& labels) {
  std::vector<double> classes(labels.size(), 1.0);
  for (const auto& [name, weight] : weights.items()) {
    const auto label = std::find(labels.begin(), labels.end(), name);
    if (label == labels.end())
      throw_error<ConfigError>("{}: no class is called \"{}\"; the classes are {}{}", kKey, name,
                               fmt::join(labels, ", "), value_hint("label", name, labels));
    classes[static_cast<std::size_t>(label - labels.begin())] = weight.get<double>();
  }
  return classes;
}

}  // namespace

bool LossWeights::plain() const {
  return smoothing == 0.0 && std::all_of(classes.begin(), classes.end(), [](double weight) { return weight == 1.0; });
}

void LossWeights::add_row(double label, std::vector<double>& rows) const {
  const auto own = static_cast<std::size_t>(label);
  for (std::size_t n = 0; n < classes.size(); ++n) {
    const double share = (n == own ? 1.0 - smoothing : 0.0) + smoothing / static_cast<double>(classes.size());
    rows.push_back(classes[n] * share);
  }
}

LossWeights loss_weights(const TrainConfig& config, const EncodedSplit& train, const TaskInfo& task) {
  const bool one_of_classes = train.target_kind == TargetKind::class_id;
  if (!one_of_classes && !config.class_weights.is_null())
    throw_error<ConfigError>("{}: {} is not answered with one of its classes", kKey, task.name);
  if (!one_of_classes && config.label_smoothing_factor > 0)
    throw_error<ConfigError>("train.label_smoothing_factor: {} is not answered with one of its classes", task.name);
  if (!one_of_classes) return {};
  LossWeights weights{.classes = std::vector<double>(task.labels.size(), 1.0),
                      .smoothing = config.label_smoothing_factor};
  if (config.class_weights == "balanced") {
    weights.classes = balanced(train.statistics.label_counts, task.labels);
  } else if (config.class_weights.is_object()) {
    weights.classes = named(config.class_weights, task.labels);
  }
  return weights;
}

}  // namespace peft
