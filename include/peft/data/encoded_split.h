#pragma once
/// The examples of a split, encoded: examples -> sequences -> token ids, offsets at both levels, ready for packing.

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "peft/data/target.h"
#include "peft/text/tokenizer.h"

namespace peft {

/// What reading a split saw (docs/tasks.md#reports-and-fingerprints).
struct SplitStatistics {
  std::vector<std::string> files;
  std::map<std::string, int64_t> skipped;  ///< kind -> rows
  std::map<std::string, int64_t> odd;      ///< kind -> what was odd and accepted, such as span_mismatch
  std::vector<int64_t> label_counts;       ///< per class or choice; empty for scores, texts and hidden labels
  int64_t truncated_examples = 0, lost_tokens = 0, empty_texts = 0;
  std::map<int, int64_t> length_percentiles;  ///< 50, 90, 99, 100 -> tokens of an example
  std::map<int64_t, int64_t>
      length_histogram;  ///< 8, 16, 32, ... -> examples with so many tokens, more than the one before
  std::optional<int64_t> overlap_with_train;  ///< examples whose texts also occur in train; absent for train
};

/// Of a token that is not of the text.
inline constexpr Span outside_text{-1, -1};

/// Example e owns the sequences [sequence_offsets[e], sequence_offsets[e+1]), sequence s the ids [offsets[s], offsets[s+1]). Most tasks
/// have one sequence an example; then e = s.
class EncodedSplit {
 public:
  std::string name;  ///< canonical: train, dev, test
  TargetKind target_kind = TargetKind::class_id;
  std::vector<int32_t> ids;
  std::vector<uint8_t> types;                ///< token type of each id
  std::vector<int64_t> offsets{0};           ///< [sequences+1]
  std::vector<int64_t> sequence_offsets{0};  ///< [examples+1]
  std::vector<double> labels;  ///< [examples] class id, number of a choice or score; NaN: hidden, or below
  /// Class ids of sets, numbers of choices, token ids of target texts, tags of words, or of each sequence the first and the last token of
  /// the answer (both 0: it has none).
  std::vector<int32_t> target_ids;
  std::vector<int64_t> target_offsets{0};  ///< [examples+1] into target_ids; [1] for other targets
  std::vector<int64_t> idx;                ///< [examples] the file's own numbers, else those of its records
  std::vector<int64_t> outer_idx;          ///< [examples * numbers] of what holds them, outermost first; else empty
  std::vector<int64_t> groups;             ///< [examples] for grouped metrics; else empty
  std::vector<std::string> part_names;     ///< of a split of several files; else empty
  std::vector<uint8_t> parts;              ///< [examples] the part they come from; else empty
  std::vector<std::string> candidates;     ///< [sequences] what they stand for, with TargetKind::choices; else empty
  std::vector<std::vector<std::string>> references;  ///< [examples] right answers, with TargetKind::choices and span
  std::vector<int32_t> word_tokens;  ///< with TargetKind::tags: of each word the token of its example that begins it;
                                     ///< -1: there is none, or it was cut off
  std::vector<Span> word_spans;            ///< [words] their parts of `texts`, where these are kept; else empty
  std::vector<int64_t> word_offsets{0};    ///< [examples+1] into word_tokens; [1] for other targets
  std::vector<int64_t> tagged_offsets{0};  ///< [examples+1] sums of read_tokens().size(); [1] for other targets
  std::vector<Span> text_spans;  ///< with TargetKind::span: [tokens] the part of the text; outside_text: of no part
  std::vector<std::string>
      texts;  ///< [examples] with TargetKind::span, in which the answers stand; of unlabelled rows with tags too
  bool may_lack_answer = false;    ///< with TargetKind::span: TaskSpec::may_lack_answer
  std::vector<std::string> names;  ///< [examples] with TargetKind::span: what the file calls them, or ""; else empty
  bool hidden = false;             ///< no example has a label: predict only
  SplitStatistics statistics;

  int64_t size() const { return static_cast<int64_t>(sequence_offsets.size()) - 1; }  ///< examples
  int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t first_sequence(int64_t example) const { return sequence_offsets[example]; }
  int64_t sequences(int64_t example) const { return sequence_offsets[example + 1] - sequence_offsets[example]; }
  int64_t sequence_length(int64_t sequence) const { return offsets[sequence + 1] - offsets[sequence]; }
  /// Tokens of an example, all its sequences together.
  int64_t length(int64_t example) const {
    return offsets[sequence_offsets[example + 1]] - offsets[sequence_offsets[example]];
  }
  /// Rows of logits of an example, and those of the examples before it: one for each sequence, or for each token that is read.
  int64_t rows(int64_t example) const { return first_row(example + 1) - first_row(example); }
  int64_t first_row(int64_t example) const;
  /// With TargetKind::tags and span: the tokens of an example whose outputs are read, ascending. Of tags those that begin words, or the first
  /// token where none does.
  std::vector<int64_t> read_tokens(int64_t example) const;
  std::span<const int32_t> example_words(int64_t example) const;  ///< of word_tokens
  int64_t longest_sequence() const;
  int64_t longest_target() const;  ///< of texts, in tokens; 0 for other targets
  /// Of an example and of its target text.
  int64_t tokens(int64_t example) const {
    return length(example) +
           (target_kind == TargetKind::text ? target_offsets[example + 1] - target_offsets[example] : 0);
  }
  std::span<const int32_t> sequence_ids(int64_t sequence) const {
    return {ids.data() + offsets[sequence], static_cast<std::size_t>(sequence_length(sequence))};
  }
  std::span<const uint8_t> sequence_types(int64_t sequence) const {
    return {types.data() + offsets[sequence], static_cast<std::size_t>(sequence_length(sequence))};
  }
  std::span<const int64_t> example_outer_idx(int64_t example) const;
  /// The examples of one part.
  std::vector<int64_t> examples_of(std::size_t part) const;
  /// Of target_ids; empty for other targets.
  std::span<const int32_t> example_target_ids(int64_t example) const;
  /// The label as the file gave it; nothing where it is hidden or a text.
  Target target(int64_t example) const;

  /// Appends one sequence of the example that the next end_example() completes.
  template <class Types>
  void add_sequence(std::span<const int32_t> sequence, const Types& sequence_types) {
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    types.insert(types.end(), sequence_types.begin(), sequence_types.end());
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  /// `given_ids`: tokens of a target that is a text, ends of a span.
  void end_example(const Target& target, int64_t example_idx, std::optional<int64_t> group = std::nullopt,
                   std::span<const int32_t> given_ids = {});
  /// Of the example just ended, where its file has them.
  void add_outer_idx(std::span<const int64_t> numbers) {
    outer_idx.insert(outer_idx.end(), numbers.begin(), numbers.end());
  }
  /// With TargetKind::tags, of the example just ended.
  void add_words(std::span<const int32_t> tokens);
  /// Appends an example of another split of the same kind.
  void append(const EncodedSplit& other, int64_t example);
};

}  // namespace peft
