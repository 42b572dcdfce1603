#include "encode_split.h"

#include <algorithm>
#include <numeric>

#include "parallel.h"
#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/data/permutation.h"
#include "sequence_plan.h"
#include "tagged_words.h"
#include "windows.h"

namespace peft {
namespace {

constexpr std::size_t batch_examples = 4096;   // held as text at a time
constexpr std::size_t batch_bytes = 32 << 20;  // or their bytes, whichever comes first

// A sequence waiting to be encoded; texts lie end to end in one string.
struct PendingSequence {
  std::size_t text_begin, pair_begin, end;
  bool has_pair;
  std::vector<Encoding> encodings = {};  // one, or the windows of a long text
  uint64_t hash = 0;                     // of its texts
  std::string problem = {};              // why it cannot be encoded
};

struct PendingExample {
  std::size_t first, last;  // its sequences
  Target target;            // a text lies in the string at:
  std::size_t target_begin, target_end;
  std::optional<int64_t> group;
  int64_t idx, line;
  int64_t place;  // in the permutation of a limit, else unused
  std::vector<int64_t> outer_idx = {};
  std::vector<std::string> candidates = {}, references = {};
  std::vector<Span> words = {};
  std::optional<Span> answer = {};
  std::string name = {};
  std::vector<int32_t> target_ids = {};  // of a text
  std::string problem = {};              // of its target
};

class SplitEncoder {
 public:
  SplitEncoder(const TaskSpec& spec, const Tokenizer& tokenizer, const TaskConfig& task, EncodedFile& result)
      : plan_(spec), tokenizer_(tokenizer), result_(result) {
    options_.max_length = task.max_length;
    options_.truncation = spec.truncation;
    options_.offsets = spec.target == TargetKind::tags;
    if (spec.target == TargetKind::span) windows_.emplace(tokenizer, task.max_length, task.doc_stride);
    result.split.target_kind = spec.target;
    result.split.may_lack_answer = spec.may_lack_answer;
  }

  /// Goes on with the examples of another file; those of the one before must be flushed. Nothing: its split has no parts.
  void begin(ExampleReader& reader, std::optional<uint8_t> part) {
    reader_ = &reader;
    part_ = part;
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
                         example.idx, example.line, place, example.outer_idx});
    PendingExample& pending = examples_.back();
    pending.candidates.assign(example.candidates.begin(), example.candidates.end());
    pending.references.assign(example.references.begin(), example.references.end());
    pending.words.assign(example.words.begin(), example.words.end());
    pending.answer = example.answer;
    pending.name = example.id;
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
      s.encodings = windows_ ? (*windows_)(text(s), text_pair(s))
                             : std::vector{tokenizer_.encode(
                                   text(s), s.has_pair ? std::optional(text_pair(s)) : std::nullopt, options_)};
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
      reader_->report("length", example.line, example.problem);
      return false;
    }
    for (std::size_t i = example.first; i < example.last; ++i) {
      const PendingSequence& s = sequences_[i];
      if (!s.problem.empty()) {
        reader_->report("length", example.line, s.problem);
        return false;
      }
      if (s.encodings.front().ids.empty()) {
        reader_->report("no_tokens", example.line, "no token at all");
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
      for (const Encoding& encoding : s.encodings) {
        split.add_sequence(encoding.ids, encoding.types);
        lost += encoding.lost_tokens;
      }
      empty = empty || text(s).empty() || (s.has_pair && text_pair(s).empty());
      hash = i == example.first ? s.hash : hash64({reinterpret_cast<const char*>(&s.hash), sizeof s.hash}, hash);
    }
    const Encoding& first = sequences_[example.first].encodings.front();
    if (windows_) {
      add_answer(example, sequences_[example.first]);
    } else {
      split.end_example(example.target, example.idx, example.group, example.target_ids);
    }
    if (split.target_kind == TargetKind::tags) split.add_words(first_tokens(example.words, first.offsets));
    split.add_outer_idx(example.outer_idx);
    if (part_) split.parts.push_back(*part_);
    if (split.target_kind == TargetKind::choices) {
      split.candidates.insert(split.candidates.end(), example.candidates.begin(), example.candidates.end());
      split.references.push_back(example.references);
    }
    result_.text_hashes.push_back(hash);
    places_.push_back(example.place);
    result_.lost_tokens.push_back(static_cast<int32_t>(lost));
    result_.empty_texts.push_back(empty ? 1 : 0);
  }

  // The windows of a text end their example with the places of the answer in each.
  void add_answer(const PendingExample& example, const PendingSequence& s) {
    EncodedSplit& split = result_.split;
    std::vector<int32_t> ends;
    for (const Encoding& window : s.encodings) {
      split.text_spans.insert(split.text_spans.end(), window.offsets.begin(), window.offsets.end());
      const TokenRange range = example.answer ? find_answer(window, *example.answer) : TokenRange{};
      ends.insert(ends.end(), {range.first, range.last});
    }
    split.end_example({}, example.idx, example.group, ends);
    split.texts.emplace_back(text_pair(s));
    split.references.push_back(example.references);
    split.names.push_back(example.name);
  }

  ExampleReader* reader_ = nullptr;
  std::optional<uint8_t> part_;
  const SequencePlan plan_;
  const Tokenizer& tokenizer_;
  EncodeOptions options_;
  std::optional<WindowEncoder> windows_;
  EncodedFile& result_;
  std::string texts_;
  std::vector<PendingSequence> sequences_;
  std::vector<PendingExample> examples_;
  std::vector<int64_t> places_;
};

// Examples of the files, counted without bad ones.
int64_t count_rows(const std::vector<ExampleSource>& parts) {
  int64_t examples = 0;
  for (const ExampleSource& part : parts) {
    ExampleReader reader(part, /*quiet=*/true);
    Example example;
    while (reader.next(example)) {
    }
    examples += reader.good();
  }
  return examples;
}

// Sorts the examples by their place.
void reorder(EncodedFile& file, const std::vector<int64_t>& places) {
  std::vector<int64_t> order(places.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return places[std::size_t(a)] < places[std::size_t(b)]; });
  file = take(file, order);
}

void warn_of_unusual_size(const ExampleSource& source, int64_t rows) {
  const TaskSpec::Dump& dump = source.spec.dump;
  if (source.file.format != (dump.tsv() ? FileFormat::glue_tsv : dump.csv ? FileFormat::csv : FileFormat::jsonl))
    return;
  const std::string split = source.part.empty() ? source.split : source.split + "_" + source.part;
  const auto official = dump.rows.find(split);
  if (official != dump.rows.end() && official->second != rows)
    log_warning("{}: {} examples, the benchmark's {} split has {}", source.file.path.string(), rows, split,
                official->second);
}

// Labels of one split are all hidden or all there.
void join_hidden(const ExampleReader& reader, const ExampleSource& part, bool first, EncodedSplit& split) {
  if (!first && split.hidden != reader.hidden())
    throw_error<DataError>("{}: {} labels, unlike {}; expected labels in all files of {} or in none",
                           part.file.path.string(), reader.hidden() ? "no" : "it has", split.statistics.files.front(),
                           part.split);
  split.hidden = reader.hidden();
}

void add_counts(const std::map<std::string, int64_t>& counts, std::map<std::string, int64_t>& sums) {
  for (const auto& [kind, count] : counts) sums[kind] += count;
}

}  // namespace

EncodedFile encode_split(const std::vector<ExampleSource>& parts, const Tokenizer& tokenizer, const TaskConfig& task,
                         std::optional<int64_t> limit) {
  const ExampleSource& source = parts.front();
  std::vector<int64_t> place;  // of each good row within the permutation
  if (limit) {
    const int64_t rows = count_rows(parts);
    if (*limit < rows) {
      const auto order = permutation(rows, static_cast<uint64_t>(source.data.limit_seed));
      place.resize(order.size());
      for (std::size_t i = 0; i < order.size(); ++i)
        place[static_cast<std::size_t>(order[i])] = static_cast<int64_t>(i);
    }
  }

  EncodedFile result;
  EncodedSplit& split = result.split;
  SplitEncoder encoder(source.spec, tokenizer, task, result);
  Example example;
  const bool named = parts.size() > 1;
  int64_t before = 0;  // examples of earlier files
  for (std::size_t p = 0; p < parts.size(); ++p) {
    ExampleReader reader(parts[p]);
    encoder.begin(reader, named ? std::optional(static_cast<uint8_t>(p)) : std::nullopt);
    while (reader.next(example)) {
      const int64_t number = before + reader.good() - 1;
      const int64_t at = place.empty() ? number : place[static_cast<std::size_t>(number)];
      if (place.empty() || at < *limit) encoder.add(example, at);
    }
    encoder.flush();
    before += reader.good();
    join_hidden(reader, parts[p], p == 0, split);
    if (named) split.part_names.push_back(parts[p].part);
    split.statistics.files.push_back(parts[p].file.path.string());
    for (const auto& more : parts[p].file.more) split.statistics.files.push_back(more.string());
    add_counts(reader.skipped(), split.statistics.skipped);
    add_counts(reader.odd(), split.statistics.odd);
    result.content_hashes.push_back(reader.content_hash());
    warn_of_unusual_size(parts[p], reader.rows());
  }
  if (split.size() == 0) throw_error<DataError>("{}: no examples", split.statistics.files.front());
  if (!place.empty()) reorder(result, encoder.places());
  split.name = source.split;
  count_examples(result, source.labels.size());
  return result;
}

}  // namespace peft
