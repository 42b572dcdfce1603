#include "peft/data/encoded_split.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace peft {
namespace {

int64_t longest(const std::vector<int64_t>& offsets) {
  int64_t most = 0;
  for (std::size_t i = 1; i < offsets.size(); ++i) most = std::max(most, offsets[i] - offsets[i - 1]);
  return most;
}

bool holds_lists(TargetKind kind) {
  return kind == TargetKind::classes || kind == TargetKind::choices || kind == TargetKind::tags;
}

double number_of(const Target& target) {
  if (const auto* id = std::get_if<int64_t>(&target)) return static_cast<double>(*id);
  if (const auto* score = std::get_if<double>(&target)) return *score;
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

int64_t EncodedSplit::first_row(int64_t example) const {
  if (target_kind == TargetKind::tags) return tagged_offsets[example];
  const int64_t sequence = sequence_offsets[example];
  return target_kind == TargetKind::span ? offsets[sequence] : sequence;
}

std::span<const int32_t> EncodedSplit::example_words(int64_t example) const {
  return std::span(word_tokens)
      .subspan(static_cast<std::size_t>(word_offsets[example]),
               static_cast<std::size_t>(word_offsets[example + 1] - word_offsets[example]));
}

std::vector<int64_t> EncodedSplit::read_tokens(int64_t example) const {
  std::vector<int64_t> tokens;
  if (target_kind == TargetKind::span) {
    tokens.resize(static_cast<std::size_t>(length(example)));
    std::iota(tokens.begin(), tokens.end(), int64_t{0});
    return tokens;
  }
  for (const int32_t token : example_words(example))
    if (token >= 0) tokens.push_back(token);
  if (tokens.empty()) tokens.push_back(0);
  return tokens;
}

void EncodedSplit::add_words(std::span<const int32_t> tokens) {
  word_tokens.insert(word_tokens.end(), tokens.begin(), tokens.end());
  word_offsets.push_back(static_cast<int64_t>(word_tokens.size()));
  tagged_offsets.push_back(tagged_offsets.back() +
                           static_cast<int64_t>(read_tokens(static_cast<int64_t>(word_offsets.size()) - 2).size()));
}

int64_t EncodedSplit::longest_sequence() const { return longest(offsets); }

int64_t EncodedSplit::longest_target() const { return target_kind == TargetKind::text ? longest(target_offsets) : 0; }

std::span<const int32_t> EncodedSplit::example_target_ids(int64_t example) const {
  if (target_offsets.size() == 1) return {};
  return std::span(target_ids)
      .subspan(static_cast<std::size_t>(target_offsets[example]),
               static_cast<std::size_t>(target_offsets[example + 1] - target_offsets[example]));
}

std::span<const int64_t> EncodedSplit::example_outer_idx(int64_t example) const {
  const std::size_t numbers = idx.empty() ? 0 : outer_idx.size() / idx.size();
  return std::span(outer_idx).subspan(static_cast<std::size_t>(example) * numbers, numbers);
}

std::vector<int64_t> EncodedSplit::examples_of(std::size_t part) const {
  std::vector<int64_t> examples;
  for (std::size_t e = 0; e < parts.size(); ++e)
    if (parts[e] == part) examples.push_back(static_cast<int64_t>(e));
  return examples;
}

Target EncodedSplit::target(int64_t example) const {
  if (hidden || target_kind == TargetKind::text || target_kind == TargetKind::span) return {};
  if (holds_lists(target_kind)) {
    const auto classes = example_target_ids(example);
    return std::vector<int64_t>(classes.begin(), classes.end());
  }
  const double label = labels[example];
  if (std::isnan(label)) return {};
  if (target_kind == TargetKind::score) return label;
  return static_cast<int64_t>(label);
}

void EncodedSplit::end_example(const Target& target, int64_t example_idx, std::optional<int64_t> group,
                               std::span<const int32_t> given_ids) {
  sequence_offsets.push_back(sequences());
  labels.push_back(number_of(target));
  if (const auto* classes = std::get_if<std::vector<int64_t>>(&target)) {
    target_ids.insert(target_ids.end(), classes->begin(), classes->end());
  } else {
    target_ids.insert(target_ids.end(), given_ids.begin(), given_ids.end());
  }
  if (holds_lists(target_kind) || target_kind == TargetKind::text || target_kind == TargetKind::span)
    target_offsets.push_back(static_cast<int64_t>(target_ids.size()));
  idx.push_back(example_idx);
  if (group) groups.push_back(*group);
}

void EncodedSplit::append(const EncodedSplit& other, int64_t example) {
  for (int64_t s = other.sequence_offsets[example]; s < other.sequence_offsets[example + 1]; ++s)
    add_sequence(other.sequence_ids(s), other.sequence_types(s));
  if (!other.candidates.empty()) {
    const auto begin = other.candidates.begin();
    candidates.insert(candidates.end(), begin + other.sequence_offsets[example],
                      begin + other.sequence_offsets[example + 1]);
  }
  if (!other.references.empty()) references.push_back(other.references[example]);
  if (!other.texts.empty()) texts.push_back(other.texts[example]);
  if (!other.names.empty()) names.push_back(other.names[example]);
  if (!other.text_spans.empty()) {
    const auto begin = other.text_spans.begin() + other.first_row(example);
    text_spans.insert(text_spans.end(), begin, begin + other.rows(example));
  }
  const bool has_ids = target_kind == TargetKind::text || target_kind == TargetKind::span;
  end_example(other.target(example), other.idx[example],
              other.groups.empty() ? std::nullopt : std::optional(other.groups[example]),
              has_ids ? other.example_target_ids(example) : std::span<const int32_t>{});
  if (target_kind == TargetKind::tags) add_words(other.example_words(example));
  add_outer_idx(other.example_outer_idx(example));
  if (!other.parts.empty()) parts.push_back(other.parts[example]);
}

}  // namespace peft
