#pragma once
/// All tokens of all sequences one after another: no padding and no mask, so nothing depends on a padding side or amount.
/// B sequences, T rows (tokens), K adapters.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace peft {

/// Which rows belong to which sequence, and which sequence to which adapter. Immutable once made, shared by every layer of a pass.
///
/// Invariants: every row belongs to a sequence; sequences are sorted by adapter, so adapter k owns the contiguous rows
/// [group_rows[k], group_rows[k+1]) and sequences [group_sequences[k], group_sequences[k+1]).
class PackedBatch {
 public:
  struct Sequence {
    int64_t length = 0;   ///< rows
    int64_t adapter = 0;  ///< index in the bank
    int64_t ordinal =
        0;              ///< number of the example in its adapter's step: names its dropout masks, whatever the packing
    int64_t start = 0;  ///< position of the first row: behind a prefix, or behind the rows of a key/value cache
  };

  /// Throws Error when sequences are not sorted by adapter, an adapter is outside 0..adapters-1, or a length is negative.
  PackedBatch(const std::vector<Sequence>& sequences, int64_t adapters, at::Device device = at::kCPU);

  int64_t rows() const { return cu_.back(); }                                        ///< T
  int64_t sequences() const { return static_cast<int64_t>(cu_.size()) - 1; }         ///< B
  int64_t adapters() const { return static_cast<int64_t>(group_rows_.size()) - 1; }  ///< K
  int64_t length(int64_t b) const { return cu_[b + 1] - cu_[b]; }
  int64_t begin(int64_t b) const { return cu_[b]; }  ///< first row of sequence b
  int64_t adapter(int64_t b) const { return adapter_[b]; }
  int64_t ordinal(int64_t b) const { return ordinal_[b]; }
  int64_t start(int64_t b) const { return start_[b]; }
  Sequence sequence(int64_t b) const { return {length(b), adapter_[b], ordinal_[b], start_[b]}; }
  int64_t longest() const;                                                          ///< rows of the longest sequence
  const std::vector<int64_t>& cu() const { return cu_; }                            ///< [B+1] row offsets
  at::Tensor cu_seqlens() const;                                                    ///< int32 on the device, made once
  const std::vector<int64_t>& group_rows() const { return group_rows_; }            ///< [K+1]
  const std::vector<int64_t>& group_sequences() const { return group_sequences_; }  ///< [K+1]
  at::Device device() const { return device_; }

  /// Number of each row in its own sequence, [T]: names its dropout masks.
  const std::vector<int64_t>& index() const { return index_; }
  /// Position of row t of sequence b: start(b) + index()[t]. Tables, rotations, biases, windows and causality see it.
  int64_t position(int64_t b, int64_t t) const { return start_[b] + index_[t]; }
  at::Tensor position_T() const;  ///< int64 on the device, made once

  /// The same sequences with `extra` more rows in front of each (virtual tokens); the first of them takes the start.
  std::shared_ptr<const PackedBatch> lengthened(int64_t extra) const;
  /// The same rows from other positions on.     start [B]
  std::shared_ptr<const PackedBatch> starting_at(const std::vector<int64_t>& start) const;
  /// Some of the rows, by ascending number: what is read of the last layer. Indices and positions stay.
  std::shared_ptr<const PackedBatch> select(const std::vector<int64_t>& rows) const;
  /// One row of index 0 in place of every sequence: what a classifier makes of it.
  std::shared_ptr<const PackedBatch> one_each() const;

  /// What follows from these rows alone and every layer needs: `make()` when `name` is asked for first. A name stands for one type.
  template <class T, class Make>
  std::shared_ptr<const T> derived(const std::string& name, const Make& make) const {
    std::shared_ptr<const void>& slot = derived_[name];
    if (slot == nullptr) slot = std::make_shared<const T>(make());
    return std::static_pointer_cast<const T>(slot);
  }

 private:
  PackedBatch() = default;
  std::vector<int64_t> cu_{0}, adapter_, ordinal_, start_, group_rows_, group_sequences_, index_;
  at::Device device_ = at::kCPU;
  mutable at::Tensor position_T_, cu_seqlens_;
  mutable std::map<std::string, std::shared_ptr<const void>> derived_;
};

using Batch = std::shared_ptr<const PackedBatch>;

/// Row numbers on the device of `rows`, int64.
at::Tensor row_numbers(const std::vector<int64_t>& numbers, const PackedBatch& rows);

}  // namespace peft
