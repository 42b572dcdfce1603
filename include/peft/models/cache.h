#pragma once
/// Keys and values of tokens that a decoder has read, so that the next token costs one row.

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/models/sites.h"

namespace peft {

/// Plain data: what every attention of the model has seen. An empty cache is a fresh one.
struct KeyValueCache {
  struct Entry {
    at::Tensor k_TGD, v_TGD;  ///< packed; keys are rotated
    Batch rows;               ///< their sequences and positions
  };
  std::vector<Entry> entries;           ///< by Attention::number
  std::vector<int64_t> next_positions;  ///< of each sequence's next token

  bool empty() const { return next_positions.empty(); }
  /// The entry of an attention; its `rows` are null where it has seen nothing.
  Entry& of(const Attention& site);
  /// Puts the rows of each sequence behind those that are there, and returns all of them.
  const Entry& append(const Attention& site, const at::Tensor& k_TGD, const at::Tensor& v_TGD, const Batch& rows);
  /// Sequence b goes on as sequence order[b] was: the survivors of a beam. Sequences stay sorted by adapter.
  void gather(const std::vector<int64_t>& order);
};

}  // namespace peft
