#include "distribute.h"

#include <algorithm>
#include <numeric>

#include "k_shot.h"
#include "peft/data/permutation.h"

namespace peft {
namespace {

// Those of `rows` whose positions are given, in the order of the positions.
std::vector<int64_t> chosen(const std::vector<int64_t>& rows, const std::vector<int64_t>& positions) {
  std::vector<int64_t> picked;
  for (const int64_t position : positions) picked.push_back(rows[static_cast<std::size_t>(position)]);
  return picked;
}

std::vector<int64_t> few_of_each_class(const std::vector<int64_t>& rows, const EncodedSplit& split,
                                       const std::string& name, const Distribution& rules) {
  const SplitConfig& config = rules.data.split;
  const ExampleClasses classes =
      example_classes(split, rules.spec, rules.task, rules.labels, config.k_shot ? "data.k_shot" : "data.k_shot_total");
  return chosen(rows,
                choose_k_shot(config, chosen(classes.of, rows), classes.names, split.statistics.files.front(), name));
}

std::vector<int64_t> first_of_permutation(const std::vector<int64_t>& rows, int64_t limit, int64_t seed) {
  const auto count = static_cast<int64_t>(rows.size());
  if (limit >= count) return rows;
  auto order = permutation(count, static_cast<uint64_t>(seed));
  order.resize(static_cast<std::size_t>(limit));
  return chosen(rows, order);
}

}  // namespace

std::optional<int64_t> limit_of(const LimitConfig& limits, const std::string& split) {
  return split.starts_with("train") ? limits.train : split.starts_with("dev") ? limits.dev : limits.test;
}

bool is_whole(const std::string& split, const Distribution& rules) {
  return origin_of(split, rules.spec, rules.data).rows == SplitOrigin::Rows::all && !is_k_shot(rules.data.split, split);
}

std::vector<EncodedFile> distribute(const EncodedFile& file, const std::string& files_split,
                                    const std::vector<std::string>& names, const Distribution& rules) {
  std::vector<int64_t> all(static_cast<std::size_t>(file.split.size()));
  std::iota(all.begin(), all.end(), int64_t{0});
  RowCut cut;
  const auto origin = [&](const std::string& name) { return origin_of(name, rules.spec, rules.data).rows; };
  if (std::any_of(names.begin(), names.end(), [&](const auto& name) { return origin(name) != SplitOrigin::Rows::all; }))
    cut = cut_rows(file.split, files_split, rules.spec, rules.task, rules.data, rules.labels);

  std::vector<EncodedFile> splits;
  for (const std::string& name : names) {
    const SplitOrigin::Rows from = origin(name);
    std::vector<int64_t> rows = from == SplitOrigin::Rows::all        ? all
                                : from == SplitOrigin::Rows::held_out ? cut.held_out
                                                                      : cut.rest;
    if (is_k_shot(rules.data.split, name)) rows = few_of_each_class(rows, file.split, name, rules);
    if (const auto limit = limit_of(rules.data.limit, name))
      rows = first_of_permutation(rows, *limit, rules.data.limit_seed);
    splits.push_back(take(file, rows));
    count_examples(splits.back(), rules.labels.size());
  }
  return splits;
}

}  // namespace peft
