#include "peft/models/cache.h"

#include <ATen/ATen.h>

#include "peft/base/error.h"

namespace peft {
namespace {

/// Rows of sequence order[b] of `rows`, one sequence after another.
at::Tensor rows_in_order(const PackedBatch& rows, const std::vector<int64_t>& order) {
  std::vector<int64_t> numbers;
  for (const int64_t b : order) {
    for (int64_t t = rows.begin(b); t < rows.begin(b) + rows.length(b); ++t) numbers.push_back(t);
  }
  return row_numbers(numbers, rows);
}

}  // namespace

KeyValueCache::Entry& KeyValueCache::of(const Attention& site) {
  const auto number = static_cast<std::size_t>(site.number);
  if (entries.size() <= number) entries.resize(number + 1);
  return entries[number];
}

const KeyValueCache::Entry& KeyValueCache::append(const Attention& site, const at::Tensor& k_TGD,
                                                  const at::Tensor& v_TGD, const Batch& rows) {
  Entry& entry = of(site);
  if (entry.rows == nullptr) return entry = {k_TGD, v_TGD, rows};
  // Old and new rows stand one behind the other; this is each sequence's place among them.
  std::vector<PackedBatch::Sequence> sequences;
  std::vector<int64_t> numbers;
  for (int64_t b = 0; b < rows->sequences(); ++b) {
    sequences.push_back(entry.rows->sequence(b));
    sequences.back().length += rows->length(b);
    for (int64_t t = 0; t < entry.rows->length(b); ++t) numbers.push_back(entry.rows->begin(b) + t);
    for (int64_t t = 0; t < rows->length(b); ++t) numbers.push_back(entry.rows->rows() + rows->begin(b) + t);
  }
  const at::Tensor order = row_numbers(numbers, *rows);
  const auto joined = [&](const at::Tensor& old, const at::Tensor& added) {
    return at::cat({old, added}).index_select(0, order);
  };
  return entry = {joined(entry.k_TGD, k_TGD), joined(entry.v_TGD, v_TGD),
                  std::make_shared<const PackedBatch>(sequences, rows->adapters(), rows->device())};
}

void KeyValueCache::gather(const std::vector<int64_t>& order) {
  const auto seen = static_cast<int64_t>(next_positions.size());
  for (const int64_t b : order) {
    if (b < 0 || b >= seen) throw_error("key/value cache: sequence {} of {} is out of range", b, seen);
  }
  for (Entry& entry : entries) {
    if (entry.rows == nullptr) continue;
    const at::Tensor numbers = rows_in_order(*entry.rows, order);
    std::vector<PackedBatch::Sequence> sequences;
    for (const int64_t b : order) sequences.push_back(entry.rows->sequence(b));
    entry = {entry.k_TGD.index_select(0, numbers), entry.v_TGD.index_select(0, numbers),
             std::make_shared<const PackedBatch>(sequences, entry.rows->adapters(), entry.rows->device())};
  }
  std::vector<int64_t> next;
  for (const int64_t b : order) next.push_back(next_positions[b]);
  next_positions = std::move(next);
}

}  // namespace peft
