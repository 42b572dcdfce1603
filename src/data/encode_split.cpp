#include "encode_split.h"

#include <algorithm>
#include <numeric>

#include "parallel.h"
#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/data/permutation.h"

namespace peft {
namespace {

constexpr std::size_t batch_rows = 4096;       // rows held as text at a time
constexpr std::size_t batch_bytes = 32 << 20;  // or their bytes, whichever comes first

// A row waiting to be encoded; texts lie end to end in one string.
struct Pending {
  std::size_t text_begin, pair_begin, end;
  bool has_pair;
  double label;
  int64_t idx, line;
  int64_t place;  // in the permutation of a limit, else unused
};

class SplitEncoder {
 public:
  SplitEncoder(ExampleReader& reader, const std::string& file, const Tokenizer& tokenizer, int64_t max_length,
               EncodedFile& result)
      : reader_(reader), file_(file), tokenizer_(tokenizer), result_(result) {
    options_.max_length = max_length;
  }

  void add(const Example& example, int64_t place) {
    const std::size_t begin = texts_.size();
    texts_ += example.text;
    const std::size_t middle = texts_.size();
    if (example.text_pair) texts_ += *example.text_pair;
    pending_.push_back(
        {begin, middle, texts_.size(), example.text_pair.has_value(), example.label, example.idx, example.line, place});
    if (pending_.size() >= batch_rows || texts_.size() >= batch_bytes) flush();
  }

  void flush() {
    encodings_.resize(pending_.size());
    hashes_.resize(pending_.size());
    parallel_for(pending_.size(), [&](std::size_t i) { encode(i); });
    for (std::size_t i = 0; i < pending_.size(); ++i) append(pending_[i], encodings_[i], hashes_[i]);
    pending_.clear();
    texts_.clear();
  }

  /// Of the rows in the split.
  const std::vector<int64_t>& places() const { return places_; }

 private:
  std::string_view text(const Pending& row) const {
    return std::string_view(texts_).substr(row.text_begin, row.pair_begin - row.text_begin);
  }
  std::string_view text_pair(const Pending& row) const {
    return std::string_view(texts_).substr(row.pair_begin, row.end - row.pair_begin);
  }

  void encode(std::size_t i) {
    const Pending& row = pending_[i];
    hashes_[i] = hash64(text(row));
    if (row.has_pair) hashes_[i] = hash64(text_pair(row), hashes_[i]);
    try {
      encodings_[i] =
          tokenizer_.encode(text(row), row.has_pair ? std::optional(text_pair(row)) : std::nullopt, options_);
    } catch (const DataError& error) {
      throw_error<DataError>("{}:{}: {}", file_, row.line, error.what());
    }
  }

  void append(const Pending& row, const Encoding& encoding, uint64_t hash) {
    if (encoding.ids.empty()) {
      reader_.report("no_tokens", row.line, "no token at all");
      return;
    }
    EncodedSplit& split = result_.split;
    split.ids.insert(split.ids.end(), encoding.ids.begin(), encoding.ids.end());
    for (const int32_t type : encoding.types) split.types.push_back(static_cast<uint8_t>(type));
    split.offsets.push_back(static_cast<int64_t>(split.ids.size()));
    split.labels.push_back(row.label);
    split.idx.push_back(row.idx);
    result_.text_hashes.push_back(hash);
    places_.push_back(row.place);
    split.statistics.truncated_examples += encoding.lost_tokens > 0;
    split.statistics.lost_tokens += encoding.lost_tokens;
    split.statistics.empty_texts += text(row).empty() || (row.has_pair && text_pair(row).empty());
  }

  ExampleReader& reader_;
  const std::string& file_;
  const Tokenizer& tokenizer_;
  EncodeOptions options_;
  EncodedFile& result_;
  std::string texts_;
  std::vector<Pending> pending_;
  std::vector<Encoding> encodings_;
  std::vector<uint64_t> hashes_;
  std::vector<int64_t> places_;
};

// Rows of the file, counted without bad ones.
int64_t count_examples(const ExampleSource& source) {
  ExampleReader reader(source, /*quiet=*/true);
  Example example;
  while (reader.next(example)) {
  }
  return reader.good();
}

// Sorts the rows by their place.
void reorder(EncodedFile& file, const std::vector<int64_t>& places) {
  std::vector<std::size_t> order(places.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return places[a] < places[b]; });
  EncodedSplit& split = file.split;
  EncodedFile sorted;
  for (const std::size_t row : order) {
    const auto ids = split.row_ids(static_cast<int64_t>(row));
    const auto types = split.row_types(static_cast<int64_t>(row));
    sorted.split.ids.insert(sorted.split.ids.end(), ids.begin(), ids.end());
    sorted.split.types.insert(sorted.split.types.end(), types.begin(), types.end());
    sorted.split.offsets.push_back(static_cast<int64_t>(sorted.split.ids.size()));
    sorted.split.labels.push_back(split.labels[row]);
    sorted.split.idx.push_back(split.idx[row]);
    sorted.text_hashes.push_back(file.text_hashes[row]);
  }
  split.ids = std::move(sorted.split.ids);
  split.types = std::move(sorted.split.types);
  split.offsets = std::move(sorted.split.offsets);
  split.labels = std::move(sorted.split.labels);
  split.idx = std::move(sorted.split.idx);
  file.text_hashes = std::move(sorted.text_hashes);
}

void finish_statistics(EncodedSplit& split, const ExampleSource& source) {
  SplitStatistics& statistics = split.statistics;
  if (!split.hidden && !source.spec.regression) {
    statistics.label_counts.assign(source.labels.size(), 0);
    for (const double label : split.labels) ++statistics.label_counts[static_cast<std::size_t>(label)];
  }
  std::vector<int64_t> lengths;
  for (int64_t row = 0; row < split.size(); ++row) lengths.push_back(split.length(row));
  std::sort(lengths.begin(), lengths.end());
  for (const int percent : {50, 90, 99, 100}) {  // the smallest length that so many percent of the rows do not exceed
    const auto rank = (lengths.size() * static_cast<std::size_t>(percent) + 99) / 100;
    statistics.length_percentiles[percent] = lengths[rank - 1];
  }
}

void warn_of_unusual_size(const ExampleSource& source, int64_t rows) {
  if (source.file.shape != Shape::glue_tsv) return;
  const auto official = source.spec.dump.rows.find(source.split);
  if (official != source.spec.dump.rows.end() && official->second != rows)
    log_warning("{}: {} rows, the benchmark's {} split has {}", source.file.path.string(), rows, source.split,
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
  SplitEncoder encoder(reader, file, tokenizer, max_length, result);
  Example example;
  while (reader.next(example)) {
    const int64_t at = place.empty() ? reader.good() - 1 : place[static_cast<std::size_t>(reader.good() - 1)];
    if (place.empty() || at < *limit) encoder.add(example, at);
  }
  encoder.flush();
  if (result.split.size() == 0) throw_error<DataError>("{}: no rows", file);
  if (!place.empty()) reorder(result, encoder.places());
  result.content_hash = reader.content_hash();
  result.split.name = source.split;
  result.split.hidden = reader.hidden();
  result.split.statistics.files = {file};
  result.split.statistics.skipped = reader.skipped();
  finish_statistics(result.split, source);
  warn_of_unusual_size(source, reader.rows());
  return result;
}

}  // namespace peft
