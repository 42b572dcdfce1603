#include "src/kernels/custom/lora.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include "peft/base/error.h"
#include "src/kernels/cuda/grouped_matmul/api.h"
#include "src/kernels/custom/tensors.h"

namespace peft::custom {
namespace {

using cuda::FactorLayout;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LoraWork {
  at::Tensor tiles, chunks, first_chunk;
  int32_t tile_count, chunk_count;
};

/// [T,C] with rows that 16-byte accesses can serve: x itself or a copy.
at::Tensor aligned_matrix(const at::Tensor& x_TC) {
  const bool fits = x_TC.stride(1) == 1 && x_TC.stride(0) % 8 == 0 && on_16_bytes(x_TC);
  return fits ? x_TC : x_TC.clone(at::MemoryFormat::Contiguous);
}

/// The six products of one call. `factor`: A [K,C,R] (wide_by_rank) or B [K,R,O] (rank_by_wide).
struct LoraCall : torch::CustomClassHolder {
  LoraCall(const at::Tensor& x_TC, int64_t its_rank, at::Tensor its_scale_K, const Batch& rows)
      : type(element_of(x_TC.scalar_type())), rank(count(its_rank)), scale_K(std::move(its_scale_K)) {
    work = rows->derived<LoraWork>("grouped_matmul", [&] {
      const auto list = cuda::grouped_work_list(narrowed(rows->group_rows()), count(rows->rows()));
      return LoraWork{device_array(list.tiles, x_TC.device()), device_array(list.chunks, x_TC.device()),
                      device_array(list.first_chunk, x_TC.device()), count(list.tiles.size()),
                      count(list.chunks.size())};
    });
  }

  /// scale[k] x factor[k].     -> h [T, R rounded up to 8]
  at::Tensor shrunk(const at::Tensor& x, const at::Tensor& factor, FactorLayout layout) const {
    const int64_t padded = (int64_t{rank} + 7) / 8 * 8;
    at::Tensor h = at::empty({x.size(0), padded}, x.options());
    const cuda::GroupedShrink product{.type = type,
                                      .layout = layout,
                                      .wide = count(x.size(1)),
                                      .rank = rank,
                                      .x = x.const_data_ptr(),
                                      .x_stride = x.stride(0),
                                      .weight = factor.const_data_ptr(),
                                      .h = h.mutable_data_ptr(),
                                      .h_stride = h.stride(0),
                                      .scale = floats(scale_K),
                                      .dropout = {},
                                      .tiles = array<cuda::GroupItem>(work->tiles),
                                      .tile_count = work->tile_count};
    check(cuda::grouped_shrink(product, stream_of(x)), "grouped_shrink", x);
    return h;
  }

  /// h factor[k].     -> [T, wide]
  at::Tensor expanded(const at::Tensor& h, const at::Tensor& factor, FactorLayout layout) const {
    const int64_t wide = factor.size(layout == FactorLayout::wide_by_rank ? 1 : 2);
    at::Tensor y = at::empty({h.size(0), wide}, h.options());
    const cuda::GroupedExpand product{.type = type,
                                      .layout = layout,
                                      .wide = count(wide),
                                      .rank = rank,
                                      .h = h.const_data_ptr(),
                                      .h_stride = h.stride(0),
                                      .weight = factor.const_data_ptr(),
                                      .y = y.mutable_data_ptr(),
                                      .y_stride = y.stride(0),
                                      .accumulate = false,
                                      .scale = nullptr,
                                      .dropout = {},
                                      .tiles = array<cuda::GroupItem>(work->tiles),
                                      .tile_count = work->tile_count};
    check(cuda::grouped_expand(product, stream_of(h)), "grouped_expand", y);
    return y;
  }

  /// x^T h over the rows of each adapter.     -> float32, as `factor`
  at::Tensor factor_gradient(const at::Tensor& x, const at::Tensor& h, const at::Tensor& factor,
                             FactorLayout layout) const {
    at::Tensor gradient = float_tensor(x, factor.sizes());
    const at::Tensor partial = float_tensor(x, {work->chunk_count, x.size(1) * rank});
    const cuda::GroupedGradient product{.type = type,
                                        .layout = layout,
                                        .wide = count(x.size(1)),
                                        .rank = rank,
                                        .x = x.const_data_ptr(),
                                        .x_stride = x.stride(0),
                                        .h = h.const_data_ptr(),
                                        .h_stride = h.stride(0),
                                        .gradient = mutable_floats(gradient),
                                        .accumulate = false,
                                        .scale = nullptr,
                                        .dropout = {},
                                        .chunks = array<cuda::GroupItem>(work->chunks),
                                        .first_chunk = array<int32_t>(work->first_chunk),
                                        .chunk_count = work->chunk_count,
                                        .groups = count(factor.size(0)),
                                        .partial = mutable_floats(partial)};
    check(cuda::grouped_gradient(product, stream_of(x)), "grouped_gradient", x);
    return gradient;
  }

  cuda::Element type;
  int32_t rank;
  at::Tensor scale_K;
  std::shared_ptr<const LoraWork> work;
};

struct LoraAddition : torch::autograd::Function<LoraAddition> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_given, const at::Tensor& a_given,
                            const at::Tensor& b_given, const c10::intrusive_ptr<LoraCall>& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor x = aligned_matrix(x_given), a = packed(a_given.to(x.scalar_type())),
                     b = packed(b_given.to(x.scalar_type()));
    const at::Tensor h = call->shrunk(x, a, FactorLayout::wide_by_rank);
    ctx->save_for_backward({x, a, b, h});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    return call->expanded(h, b, FactorLayout::rank_by_wide);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &a = saved[1], &b = saved[2], &h = saved[3], dy = aligned_matrix(grads[0]);
    const auto held = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const LoraCall&>(*held);
    const at::Tensor dh = call.shrunk(dy, b, FactorLayout::rank_by_wide);
    at::Tensor dx, da, db;
    if (ctx->needs_input_grad(0)) dx = call.expanded(dh, a, FactorLayout::wide_by_rank);
    if (ctx->needs_input_grad(1)) da = call.factor_gradient(x, dh, a, FactorLayout::wide_by_rank);
    if (ctx->needs_input_grad(2)) db = call.factor_gradient(dy, h, b, FactorLayout::rank_by_wide);
    return {dx, da, db, at::Tensor()};
  }
};

}  // namespace

at::Tensor lora_addition(const at::Tensor& x_TC, const at::Tensor& a_KCR, const at::Tensor& b_KRO,
                         const at::Tensor& scale_K, const Batch& rows) {
  const int64_t adapters = rows->adapters();
  const bool shapes = x_TC.dim() == 2 && a_KCR.dim() == 3 && b_KRO.dim() == 3 && x_TC.size(0) == rows->rows() &&
                      a_KCR.size(0) == adapters && b_KRO.size(0) == adapters && a_KCR.size(1) == x_TC.size(1) &&
                      a_KCR.size(2) == b_KRO.size(1) && scale_K.dim() == 1 && scale_K.size(0) == adapters &&
                      scale_K.scalar_type() == at::kFloat && scale_K.is_contiguous();
  if (!shapes) {
    throw_error("lora_addition: x {}, A {}, B {}, scale {} {} for {} rows of {} adapters", fmt::join(x_TC.sizes(), "x"),
                fmt::join(a_KCR.sizes(), "x"), fmt::join(b_KRO.sizes(), "x"), fmt::join(scale_K.sizes(), "x"),
                c10::toString(scale_K.scalar_type()), rows->rows(), adapters);
  }
  if (x_TC.size(1) % 8 != 0 || b_KRO.size(2) % 8 != 0 || a_KCR.size(2) < 1 || a_KCR.size(2) > cuda::kMaxRank) {
    throw_error("lora_addition: {} to {} columns by rank {}, expected multiples of 8 and a rank of 1 to {}",
                x_TC.size(1), b_KRO.size(2), a_KCR.size(2), cuda::kMaxRank);
  }
  return LoraAddition::apply(x_TC, a_KCR, b_KRO, c10::make_intrusive<LoraCall>(x_TC, a_KCR.size(2), scale_K, rows));
}

}  // namespace peft::custom
