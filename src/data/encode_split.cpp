#include "encode_split.h"

#include <algorithm>
#include <numeric>

#include "parallel.h"
#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/data/permutation.h"
#include "sequence_plan.h"

namespace peft {
namespace {

constexpr std::size_t batch_examples = 4096;   // held as text at a time
constexpr std::size_t batch_bytes = 32 << 20;  // or their bytes, whichever comes first

// A sequence waiting to be encoded; texts lie end to end in one string.
struct PendingSequence {
  std::size_t text_begin, pair_begin, end;
  bool has_pair;
  Encoding encoding = {};
  uint64_t hash = 0;         // of its texts
  std::string problem = {};  // why it cannot be encoded
};

struct PendingExample {
  std::size_t first, last;  // its sequences
  Target target;            // a text lies in the string at:
  std::size_t target_begin, target_end;
  std::optional<int64_t> group;
  int64_t idx, line;
  int64_t place;                         // in the permutation of a limit, else unused
  std::vector<int32_t> target_ids = {};  // of a text
  std::string problem = {};              // of its target
};

class SplitEncoder {
 public:
  SplitEncoder(ExampleReader& reader, const ExampleSource& source, const Tokenizer& tokenizer, int64_t max_length,
               EncodedFile& result)
      : reader_(reader), plan_(source.spec), tokenizer_(tokenizer), result_(result) {
    options_.max_length = max_length;
    options_.truncation = source.spec.truncation;
    result.split.target_kind = source.spec.target;
  }

  void add(const Example& example, int64_t place) {
    const std::size_t first = sequences_.size();
    const int64_t count = plan_.sequences(example.texts.size());
    for (int64_t s = 0; s < count; ++s) {
      const std::size_t begin = texts_.size();
      plan_.write(example.texts, s, SequencePlan::Side::text, texts_);
      const std::size_t middle = texts_.size();
      const bool pair = plan_.write(example.texts, s, SequencePlan::Side::text_pair, texts_);
      sequences_.push_back({begin, middle, texts_.size(), pair});
    }
    const std::size_t target_begin = texts_.size();
    if (const auto* words = std::get_if<std::string_view>(&example.target)) texts_ += *words;
    examples_.push_back({first, sequences_.size(), example.target, target_begin, texts_.size(), example.group,
                         example.idx, example.line, place});
    if (examples_.size() >= batch_examples || texts_.size() >= batch_bytes) flush();
  }

  void flush() {
    parallel_for(sequences_.size(), [&](std::size_t i) { encode(sequences_[i]); });
    if (result_.split.target_kind == TargetKind::text)
      parallel_for(examples_.size(), [&](std::size_t i) { encode_target(examples_[i]); });
    for (const PendingExample& example : examples_) append(example);
    examples_.clear();
    sequences_.clear();
    texts_.clear();
  }

  /// Of the examples in the split.
  const std::vector<int64_t>& places() const { return places_; }

 private:
  std::string_view text(std::size_t begin, std::size_t end) const {
    return std::string_view(texts_).substr(begin, end - begin);
  }
  std::string_view text(const PendingSequence& s) const { return text(s.text_begin, s.pair_begin); }
  std::string_view text_pair(const PendingSequence& s) const { return text(s.pair_begin, s.end); }

  void encode(PendingSequence& s) {
    s.hash = hash64(text(s));
    if (s.has_pair) s.hash = hash64(text_pair(s), s.hash);
    try {
      s.encoding = tokenizer_.encode(text(s), s.has_pair ? std::optional(text_pair(s)) : std::nullopt, options_);
    } catch (const DataError& error) {
      s.problem = error.what();
    }
  }

  void encode_target(PendingExample& example) {
    if (is_hidden(example.target)) return;
    try {
      example.target_ids = tokenizer_.encode(text(example.target_begin, example.target_end)).ids;
    } catch (const DataError& error) {
      example.problem = error.what();
    }
  }

  // Whether all sequences of an example can be used; reports the first that cannot.
  bool usable(const PendingExample& example) {
    if (!example.problem.empty()) {
      reader_.report("length", example.line, example.problem);
      return false;
    }
    for (std::size_t i = example.first; i < example.last; ++i) {
      const PendingSequence& s = sequences_[i];
      if (!s.problem.empty()) {
        reader_.report("length", example.line, s.problem);
        return false;
      }
      if (s.encoding.ids.empty()) {
        reader_.report("no_tokens", example.line, "no token at all");
        return false;
      }
    }
    return true;
  }

  void append(const PendingExample& example) {
    if (!usable(example)) return;
    EncodedSplit& split = result_.split;
    int64_t lost = 0;
    bool empty = false;
    uint64_t hash = 0;
    for (std::size_t i = example.first; i < example.last; ++i) {
      const PendingSequence& s = sequences_[i];
      split.add_sequence(s.encoding.ids, s.encoding.types);
      lost += s.encoding.lost_tokens;
      empty = empty || text(s).empty() || (s.has_pair && text_pair(s).empty());
      hash = i == example.first ? s.hash : hash64({reinterpret_cast<const char*>(&s.hash), sizeof s.hash}, hash);
    }
    split.end_example(example.target, example.idx, example.group, example.target_ids);
    result_.text_hashes.push_back(hash);
    places_.push_back(example.place);
    split.statistics.truncated_examples += lost > 0;
    split.statistics.lost_tokens += lost;
    split.statistics.empty_texts += empty;
  }

  ExampleReader& reader_;
  const SequencePlan plan_;
  const Tokenizer& tokenizer_;
  EncodeOptions options_;
  EncodedFile& result_;
  std::string texts_;
  std::vector<PendingSequence> sequences_;
  std::vector<PendingExample> examples_;
  std::vector<int64_t> places_;
};

// Examples of the file, counted without bad ones.
int64_t count_examples(const ExampleSource& source) {
  ExampleReader reader(source, /*quiet=*/true);
  Example example;
  while (reader.next(example)) {
  }
  return reader.good();
}

// Sorts the examples by their place.
void reorder(EncodedFile& file, const std::vector<int64_t>& places) {
  std::vector<std::size_t> order(places.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return places[a] < places[b]; });
  EncodedFile sorted;
  sorted.split.target_kind = file.split.target_kind;
  sorted.split.statistics = file.split.statistics;
  for (const std::size_t example : order) {
    sorted.split.append(file.split, static_cast<int64_t>(example));
    sorted.text_hashes.push_back(file.text_hashes[example]);
  }
  file = std::move(sorted);
}

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

void finish_statistics(EncodedSplit& split, const ExampleSource& source) {
  SplitStatistics& statistics = split.statistics;
  if (!split.hidden) statistics.label_counts = count_labels(split, source.labels.size());
  std::vector<int64_t> lengths;
  for (int64_t example = 0; example < split.size(); ++example) lengths.push_back(split.length(example));
  std::sort(lengths.begin(), lengths.end());
  for (const int percent :
       {50, 90, 99, 100}) {  // the smallest length that so many percent of the examples do not exceed
    const auto rank = (lengths.size() * static_cast<std::size_t>(percent) + 99) / 100;
    statistics.length_percentiles[percent] = lengths[rank - 1];
  }
}

void warn_of_unusual_size(const ExampleSource& source, int64_t rows) {
  if (source.file.format != (source.spec.dump.tsv() ? FileFormat::glue_tsv : FileFormat::jsonl)) return;
  const auto official = source.spec.dump.rows.find(source.split);
  if (official != source.spec.dump.rows.end() && official->second != rows)
    log_warning("{}: {} examples, the benchmark's {} split has {}", source.file.path.string(), rows, source.split,
                official->second);
}

}  // namespace

EncodedFile encode_split(const ExampleSource& source, const Tokenizer& tokenizer, int64_t max_length,
                         std::optional<int64_t> limit) {
  std::vector<int64_t> place;  // of each good row within the permutation
  if (limit) {
    const int64_t rows = count_examples(source);
    if (*limit < rows) {
      const auto order = permutation(rows, static_cast<uint64_t>(source.data.limit_seed));
      place.resize(order.size());
      for (std::size_t i = 0; i < order.size(); ++i)
        place[static_cast<std::size_t>(order[i])] = static_cast<int64_t>(i);
    }
  }

  EncodedFile result;
  ExampleReader reader(source);
  const std::string file = source.file.path.string();
  SplitEncoder encoder(reader, source, tokenizer, max_length, result);
  Example example;
  while (reader.next(example)) {
    const int64_t at = place.empty() ? reader.good() - 1 : place[static_cast<std::size_t>(reader.good() - 1)];
    if (place.empty() || at < *limit) encoder.add(example, at);
  }
  encoder.flush();
  if (result.split.size() == 0) throw_error<DataError>("{}: no examples", file);
  if (!place.empty()) reorder(result, encoder.places());
  result.content_hash = reader.content_hash();
  result.split.name = source.split;
  result.split.hidden = reader.hidden();
  result.split.statistics.files = {file};
  for (const auto& more : source.file.more) result.split.statistics.files.push_back(more.string());
  result.split.statistics.skipped = reader.skipped();
  finish_statistics(result.split, source);
  warn_of_unusual_size(source, reader.rows());
  return result;
}

}  // namespace peft
