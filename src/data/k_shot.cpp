#include "k_shot.h"

#include <algorithm>

#include "peft/base/error.h"
#include "peft/data/permutation.h"

namespace peft {

std::vector<int64_t> choose_k_shot(const SplitConfig& config, std::span<const int64_t> classes,
                                   const std::vector<std::string>& names, const std::string& file,
                                   const std::string& split) {
  const std::string key = config.k_shot ? "data.k_shot" : "data.k_shot_total";
  const auto count = static_cast<int64_t>(names.size());
  if (count < 2)
    throw_error<DataError>("{}: all {} examples of {} have the label {}; {} needs two classes at least", file,
                           classes.size(), split, names.empty() ? "" : names.front(), key);
  if (config.k_shot_total && *config.k_shot_total < count)
    throw_error<ConfigError>("{}: {}; expected at least {}, one example of each class", key, *config.k_shot_total,
                             count);
  const int64_t of_each = config.k_shot ? *config.k_shot : *config.k_shot_total / count;
  int64_t further = config.k_shot ? 0 : *config.k_shot_total % count;
  const int64_t wanted = of_each * count + further;

  std::vector<int64_t> taken(names.size(), 0), all(names.size(), 0), chosen;
  const auto order = permutation(static_cast<int64_t>(classes.size()), static_cast<uint64_t>(k_shot_seed(config)));
  for (const int64_t position : order) {
    const auto id = static_cast<std::size_t>(classes[static_cast<std::size_t>(position)]);
    ++all[id];
    if (taken[id] < of_each) {
      ++taken[id];
    } else if (further > 0) {
      --further;
    } else {
      continue;
    }
    chosen.push_back(position);
  }
  for (std::size_t id = 0; id < names.size(); ++id)
    if (taken[id] < of_each)
      throw_error<DataError>("{}: the class {} has {} examples in {}, {} asks for {}", file, names[id], all[id], split,
                             key, of_each);
  if (further > 0)
    throw_error<DataError>("{}: {} has {} examples, {} asks for {}", file, split, classes.size(), key, wanted);
  return chosen;
}

}  // namespace peft
