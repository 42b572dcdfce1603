#pragma once
/// A linear-attention state merged into softmax attention, forward and backward (docs/kernels.md#merging-parts).   [arXiv:2406.14036]
/// No torch, no CUDA header. T rows, K adapters, H heads, Hs heads of the state (H, or one per H/Hs query heads), D head width, M features.
///
///   y = sqrt(scale) q     elu: phi = y + 1 (y > 0) or e^y, M = D     taylor1: phi = [1, y], M = 1 + D
///   a = phi Z     b = phi . den     c = scale q . center, or 0
///   L = logaddexp(L_s, log b + c)     g = e^{c - L}     O = e^{L_s - L} O_s + g a
///   delta = dO . O = e^{L_s - L} dO . O_s + g phi . (dO Z^T)
///   dphi = g (dO Z^T - delta den)     dZ = phi^T (g dO)     dden = -phi^T (g delta)
///   dq = dq_s + sqrt(scale) phi'(y) dphi + scale (phi . dphi) center
/// O_s and L_s are the softmax part's; dq_s is its gradient from the merged O and L. The center is a constant.
///
/// c - L is clamped at 80. taylor1 is signed: where b <= 0 a row's state is off (a = b = 0) and gets no gradient. elu is never off: with
/// den = 0 and Z != 0 it adds g a. A row without keys has L_s = -inf (or +inf, as flash attention writes it); without mass either, O = 0
/// and L = -inf. Rows without an adapter come first and keep O_s, L_s and dq_s.
///
/// Tensors [T,H,D] are bfloat16 or half with any strides that are multiples of 8 elements, D contiguous and 16-byte aligned; L is float
/// [H,T]. Sums are float, results bitwise repeatable, and a group's do not depend on its neighbours. In half, |Z|, den and |delta|
/// must stay below 65504.

#include "src/kernels/cuda/common/row_items.h"
#include "src/kernels/cuda/common/status.h"

namespace peft::cuda {

enum class StateMap : int32_t { elu, taylor1 };

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
  const int64_t rows = ntk_state_rows(map, width);
  return rows * width + (rows + 3) / 4 * 4;
}

/// What the blocks of both passes do (row_items.h).
struct NtkWorkList {
  std::vector<RowItem> tiles, chunks;  ///< forward, backward
  std::vector<int32_t> first_chunk;    ///< [K+1], of each adapter
};
NtkWorkList ntk_work_list(const std::vector<int32_t>& group_rows, int width);

struct NtkShape {
  Element type = Element::bfloat16;
  StateMap map = StateMap::elu;
  int32_t groups = 1, heads = 1, state_heads = 1, width = 64;
  int64_t rows = 0;
  float scale = 1.0F;
};

/// packed [K,Hs,ntk_state_rows,D+8] in the type of the shape, 16-byte aligned, from float z [K,Hs,M,D] and den [K,Hs,M].
struct NtkPack {
  NtkShape shape = {};
  const float *z = nullptr, *den = nullptr;
  void* packed = nullptr;
};
int ntk_pack(const NtkPack& args, void* stream);

struct NtkForward {
  NtkShape shape = {};
  HeadRows q = {}, self = {}, out = {};  ///< self: O_s
  const float* self_lse = nullptr;       ///< [H,T]
  float* lse = nullptr;                  ///< [H,T]
  const void* state = nullptr;           ///< of ntk_pack
  const float* center = nullptr;         ///< [K,Hs,D], or null
  const RowItem* tiles = nullptr;        ///< on the device
  int32_t tile_count = 0;
};
int ntk_attention_forward(const NtkForward& args, void* stream);

/// Two launches: rows, then the sum of the chunks.
struct NtkBackward {
  NtkShape shape = {};
  HeadRows dout = {}, q = {}, self = {}, dq = {};   ///< self: O_s; dq: in dq_s, out dq
  const float *self_lse = nullptr, *lse = nullptr;  ///< [H,T]: L_s, L
  const void* state = nullptr;
  const float* center = nullptr;
  float *dz = nullptr, *dden = nullptr;  ///< [K,Hs,M,D], [K,Hs,M]: written, not added to
  float* partial = nullptr;              ///< [chunk_count,H,ntk_partial_floats], scratch, 16-byte aligned
  const RowItem* chunks = nullptr;       ///< on the device
  const int32_t* first_chunk = nullptr;  ///< on the device
  int32_t chunk_count = 0;
};
int ntk_attention_backward(const NtkBackward& args, void* stream);

}  // namespace peft::cuda
