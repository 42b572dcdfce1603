#include "encoded_file.h"

#include <algorithm>
#include <numeric>

namespace peft {
namespace {

constexpr int64_t shortest_bin = 8;  // of the histogram of lengths; the upper bounds double

// Examples of each class or choice.
std::vector<int64_t> count_labels(const EncodedSplit& split, std::size_t classes) {
  std::vector<int64_t> counts(classes, 0);
  for (int64_t example = 0; example < split.size(); ++example) {
    const Target target = split.target(example);
    if (const auto* ids = std::get_if<std::vector<int64_t>>(&target)) {
      for (const int64_t id : *ids) ++counts[static_cast<std::size_t>(id)];
    } else if (const auto* id = std::get_if<int64_t>(&target)) {
      if (split.target_kind == TargetKind::choice)
        counts.resize(std::max(counts.size(), static_cast<std::size_t>(split.sequences(example))), 0);
      ++counts[static_cast<std::size_t>(*id)];
    }
  }
  return counts;
}

void count_lengths(const EncodedSplit& split, SplitStatistics& statistics) {
  std::vector<int64_t> lengths;
  for (int64_t example = 0; example < split.size(); ++example) lengths.push_back(split.length(example));
  std::sort(lengths.begin(), lengths.end());
  statistics.length_percentiles.clear();
  statistics.length_histogram.clear();
  if (lengths.empty()) return;
  for (const int percent :
       {50, 90, 99, 100}) {  // the smallest length that so many percent of the examples do not exceed
    const auto rank = (lengths.size() * static_cast<std::size_t>(percent) + 99) / 100;
    statistics.length_percentiles[percent] = lengths[rank - 1];
  }
  auto from = lengths.begin();
  for (int64_t bound = shortest_bin; from != lengths.end(); bound *= 2) {
    const auto to = std::upper_bound(from, lengths.end(), bound);
    statistics.length_histogram[bound] = to - from;
    from = to;
  }
}

}  // namespace

EncodedFile take(const EncodedFile& file, std::span<const int64_t> examples) {
  EncodedFile taken;
  EncodedSplit& split = taken.split;
  split.name = file.split.name;
  split.target_kind = file.split.target_kind;
  split.may_lack_answer = file.split.may_lack_answer;
  split.hidden = file.split.hidden;
  split.part_names = file.split.part_names;
  split.statistics = file.split.statistics;
  taken.content_hashes = file.content_hashes;
  int64_t tokens = 0;
  for (const int64_t example : examples) tokens += file.split.length(example);
  split.ids.reserve(static_cast<std::size_t>(tokens));  // long splits would else hold up to twice as much
  split.types.reserve(static_cast<std::size_t>(tokens));
  for (const int64_t example : examples) {
    const auto from = static_cast<std::size_t>(example);
    split.append(file.split, example);
    taken.text_hashes.push_back(file.text_hashes[from]);
    taken.lost_tokens.push_back(file.lost_tokens[from]);
    taken.empty_texts.push_back(file.empty_texts[from]);
  }
  return taken;
}

void count_examples(EncodedFile& file, std::size_t classes) {
  SplitStatistics& statistics = file.split.statistics;
  statistics.label_counts.clear();
  if (!file.split.hidden && file.split.target_kind != TargetKind::choices && file.split.target_kind != TargetKind::span)
    statistics.label_counts = count_labels(file.split, classes);
  statistics.lost_tokens = std::accumulate(file.lost_tokens.begin(), file.lost_tokens.end(), int64_t{0});
  statistics.truncated_examples =
      static_cast<int64_t>(file.lost_tokens.size()) - std::count(file.lost_tokens.begin(), file.lost_tokens.end(), 0);
  statistics.empty_texts = std::count(file.empty_texts.begin(), file.empty_texts.end(), 1);
  count_lengths(file.split, statistics);
}

}  // namespace peft
