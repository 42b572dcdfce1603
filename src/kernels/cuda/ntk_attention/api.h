#pragma once
/// A linear-attention state merged into softmax attention, forward and backward (kernels.md K1).   [NTK-Attention, arXiv:2406.14036]
/// No torch, no CUDA header. T rows, K adapters, H heads, Hs heads of the state (H, or one per H/Hs query heads), D head width, M features.
///
///   y = sqrt(scale) q     elu: phi = y + 1 (y > 0) or e^y, M = D     taylor1: phi = [1, y], M = 1 + D
///   a = phi Z     b = phi . den     c = scale q . center, or 0
///   L = logaddexp(L_s, log b + c)     g = e^{c - L}     O = e^{L_s - L} O_s + g a
///   delta = rowsum(dO * O)     dphi = g (dO Z^T - delta den)     dZ = phi^T (g dO)     dden = -phi^T (g delta)
///   dq = dq_s + sqrt(scale) phi'(y) dphi + scale (phi . dphi) center
/// O_s and L_s are the softmax part's; dq_s is its gradient from the merged O and L. The center is a constant.
///
/// c - L is clamped at 80. taylor1 is signed: where b <= 0 a row's state is off (a = b = 0) and gets no gradient. elu is never off: with
/// den = 0 and Z != 0 it adds g a. A row without keys has L_s = -inf (or +inf, as flash attention writes it); without mass either, O = 0
/// and L = -inf. Rows without an adapter come first and keep O_s, L_s and dq_s.
///
/// Tensors [T,H,D] are bfloat16 or half with any strides that are multiples of 8 elements, D contiguous and 16-byte aligned; L, delta are
/// float [H,T]. Sums are float, results bitwise repeatable, and a group's do not depend on its neighbours. In half, |Z|, den and |delta|
/// must stay below 65504.

#include <cstdint>
#include <vector>

namespace peft::cuda {

enum class NtkType : int32_t { bfloat16, float16 };
enum class StateMap : int32_t { elu, taylor1 };

constexpr int kNtkUnsupported = -1;  ///< status of a width without an instance
constexpr bool ntk_supports(int width) {
  return width == 32 || width == 64 || width == 80 || width == 96 || width == 128;
}

/// Rows of one head's packed state: the features of y, then taylor1's constant. A row is D values of Z, den, and 7 zeros.
constexpr int ntk_state_rows(StateMap map, int width) { return width + (map == StateMap::taylor1 ? 1 : 0); }
/// Rows of a block: forward, backward.
constexpr int ntk_tile_rows(int) { return 128; }
constexpr int ntk_chunk_rows(int width) { return width == 80 || width == 96 ? 240 : 256; }
/// Floats that the backward of a chunk leaves for each head: Z's gradient by rows, then den's.
constexpr int64_t ntk_partial_floats(StateMap map, int width) {
  return int64_t{ntk_state_rows(map, width)} * width + (ntk_state_rows(map, width) + 3) / 4 * 4;
}

/// Consecutive rows of one adapter (-1: none); without rows there is nothing to do.
struct NtkItem {
  int32_t row0, rows, group;
};

/// What the blocks do, sorted by row. The lists are filled with empty items up to the sizes below, which batches of one shape share.
struct NtkWorkList {
  std::vector<NtkItem> tiles, chunks;  ///< forward, backward
  std::vector<int32_t> first_chunk;    ///< [K+1], of each adapter
};
constexpr int64_t ntk_tile_bound(int64_t rows, int64_t groups, int width) {
  return rows / ntk_tile_rows(width) + groups + 1;
}
constexpr int64_t ntk_chunk_bound(int64_t rows, int64_t groups, int width) {
  return rows / ntk_chunk_rows(width) + groups + 1;
}
/// group_rows [K+1]: the first row of each adapter, and T. Throws std::invalid_argument when it decreases.
NtkWorkList ntk_work_list(const std::vector<int32_t>& group_rows, int width);

struct NtkShape {
  NtkType type = NtkType::bfloat16;
  StateMap map = StateMap::elu;
  int32_t groups = 1, heads = 1, state_heads = 1, width = 64;
  int64_t rows = 0;
  float scale = 1.0F;
};

/// [T,H,D] in the type of the shape; strides in elements.
struct NtkRows {
  void* data = nullptr;
  int64_t row_stride = 0, head_stride = 0;
};

/// packed [K,Hs,ntk_state_rows,D+8] in the type of the shape, 16-byte aligned, from float z [K,Hs,M,D] and den [K,Hs,M].
struct NtkPack {
  NtkShape shape = {};
  const float *z = nullptr, *den = nullptr;
  void* packed = nullptr;
};
int ntk_pack(const NtkPack& args, void* stream);

/// `out` may be `own` and `lse` may be `own_lse`.
struct NtkForward {
  NtkShape shape = {};
  NtkRows q = {}, own = {}, out = {};  ///< own: O_s
  const float* own_lse = nullptr;      ///< [H,T]
  float* lse = nullptr;                ///< [H,T]
  const void* state = nullptr;         ///< of ntk_pack
  const float* center = nullptr;       ///< [K,Hs,D], or null
  const NtkItem* tiles = nullptr;      ///< on the device
  int32_t tile_count = 0;
};
int ntk_attention_forward(const NtkForward& args, void* stream);

/// Two launches: rows, then the sum of the chunks.
struct NtkBackward {
  NtkShape shape = {};
  NtkRows dout = {}, q = {}, out = {}, dq = {};  ///< dq: in dq_s, out dq
  const float* lse = nullptr;                    ///< [H,T], merged
  const void* state = nullptr;
  const float* center = nullptr;
  float* delta = nullptr;                ///< [H,T], or null
  float *dz = nullptr, *dden = nullptr;  ///< [K,Hs,M,D], [K,Hs,M]: written, not added to
  float* partial = nullptr;              ///< [chunk_count,H,ntk_partial_floats], scratch, 16-byte aligned
  const NtkItem* chunks = nullptr;       ///< on the device
  const int32_t* first_chunk = nullptr;  ///< on the device
  int32_t chunk_count = 0;
};
int ntk_attention_backward(const NtkBackward& args, void* stream);

}  // namespace peft::cuda
