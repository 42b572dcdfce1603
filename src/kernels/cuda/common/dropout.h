#pragma once
/// Dropout masks that are named, not drawn: bit for bit those of src/kernels/dropout.cpp, on the host and on the device. No CUDA header.
///
/// Column c of a row is kept where its 16-bit draw is at or above the limit. The draw is part c % 8 of block c / 8 of Philox4x32-10
/// [Salmon et al. 2011] with
///   key = hash64(site, the adapter's seed)     counter = (c / 8, position of the row in its sequence, ordinal of the example in the
///   adapter's step, step)
/// so a mask does not depend on packing, bank or neighbours. Forward and backward compute it anew; nothing is stored.

#include <cstdint>
#include <vector>

#include "src/kernels/cuda/common/rowmath.h"

namespace peft::cuda {

/// What names the mask of one row. The same for every site of a pass.
struct alignas(16) MaskRow {
  uint32_t position, ordinal;
  int32_t adapter;  ///< -1: nothing is dropped
  int32_t unused;
};

/// One adapter at one site; constant over a run, the step apart.
struct alignas(16) MaskStream {
  uint32_t key[2];
  uint32_t limit;  ///< draws below it are dropped; 0: none
  float scale;     ///< of what is kept
};

/// Dropout of a kernel's rows: device pointers. `streams` null: the identity.
struct NamedDropout {
  const MaskRow* rows = nullptr;        ///< [rows]
  const MaskStream* streams = nullptr;  ///< [K]
  const int64_t* steps = nullptr;       ///< [K], read when the kernel runs: a captured graph sees every step's own
};

/// `name`: hash64(site, the adapter's seed). Probabilities are multiples of 2^-16, and at least one draw of 65536 is kept.
MaskStream mask_stream(uint64_t name, double probability);

/// The rows of sequences that lie one after another: cu [B+1], adapter and ordinal [B].
std::vector<MaskRow> mask_rows(const std::vector<int64_t>& cu, const std::vector<int64_t>& adapter,
                               const std::vector<int64_t>& ordinal);
/// One row of every sequence, at `position`.
std::vector<MaskRow> picked_mask_rows(int64_t position, const std::vector<int64_t>& adapter,
                                      const std::vector<int64_t>& ordinal);

/// The draws of eight columns.
struct MaskChunk {
  uint32_t words[4];
  uint32_t limit;
  float scale;
  PEFT_HOST_DEVICE float apply(int column, float x) const {
    return (words[column / 2] >> (16 * (column % 2)) & 0xffffU) >= limit ? x * scale : 0.0F;
  }
  /// A bit for each column that is kept.
  PEFT_HOST_DEVICE uint32_t kept() const {
    uint32_t bits = 0;
    for (int i = 0; i < 4; ++i)
      bits |= ((words[i] & 0xffffU) >= limit ? 1U << (2 * i) : 0U) | (words[i] >> 16 >= limit ? 2U << (2 * i) : 0U);
    return bits;
  }
};

/// Attention probabilities: the chunk that key `column` of a head is in, of the prefix or of the sequence's own. Up to 2^22 keys.
PEFT_HOST_DEVICE uint32_t attention_chunk(int head, bool prefix, int column) {
  return static_cast<uint32_t>(head) << 20 | (prefix ? 1U << 19 : 0U) | static_cast<uint32_t>(column / 8);
}

PEFT_HOST_DEVICE MaskChunk mask_chunk(const MaskStream& stream, const MaskRow& row, uint32_t step, uint32_t chunk) {
  uint32_t c0 = chunk, c1 = row.position, c2 = row.ordinal, c3 = step, k0 = stream.key[0], k1 = stream.key[1];
  if (stream.limit > 0) {
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = uint64_t{0xD2511F53} * c0, b = uint64_t{0xCD9E8D57} * c2;
      c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
      c1 = static_cast<uint32_t>(b);
      c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
      c3 = static_cast<uint32_t>(a);
      k0 += 0x9E3779B9U;
      k1 += 0xBB67AE85U;
    }
  }
  return {{c0, c1, c2, c3}, stream.limit, stream.scale};
}

/// A row's masks, one chunk after another.
struct RowMask {
  MaskRow row{0, 0, -1, 0};
  MaskStream stream{{0, 0}, 0, 1.0F};
  uint32_t step = 0;

  PEFT_HOST_DEVICE RowMask(const NamedDropout& dropout, int64_t index) {
    if (dropout.streams == nullptr) return;
    row = dropout.rows[index];
    if (row.adapter < 0) return;
    stream = dropout.streams[row.adapter];
    step = static_cast<uint32_t>(dropout.steps[row.adapter]);
  }
  PEFT_HOST_DEVICE MaskChunk chunk(int index) const {
    return mask_chunk(stream, row, step, static_cast<uint32_t>(index));
  }
};

}  // namespace peft::cuda
