#include "src/kernels/custom/dropout.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "peft/base/error.h"
#include "peft/base/hash.h"
#include "src/kernels/cuda/grouped_matmul/api.h"
#include "src/kernels/custom/tensors.h"

namespace peft::custom {
namespace {

std::vector<cuda::MaskRow> mask_rows(const PackedBatch& rows) {
  std::vector<cuda::MaskRow> all;
  all.reserve(rows.index().size());
  for (int64_t b = 0; b < rows.sequences(); ++b) {
    for (int64_t t = rows.begin(b); t < rows.begin(b) + rows.length(b); ++t) {
      all.push_back(
          {static_cast<uint32_t>(rows.index()[t]), static_cast<uint32_t>(rows.ordinal(b)), count(rows.adapter(b)), 0});
    }
  }
  return all;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct HeldMasks : torch::CustomClassHolder {
  explicit HeldMasks(NamedMasks its_masks) : masks(std::move(its_masks)) {}
  NamedMasks masks;
};

struct RowDropout : torch::autograd::Function<RowDropout> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_TC, const c10::intrusive_ptr<HeldMasks>& held) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->saved_data["masks"] = at::IValue::make_capsule(held);
    return row_dropout(x_TC, held->masks);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto held = ctx->saved_data["masks"].toCapsule();
    return {row_dropout(grads[0], static_cast<const HeldMasks&>(*held).masks), at::Tensor()};
  }
};

}  // namespace

cuda::NamedDropout NamedMasks::arguments() const {
  if (!active()) return {};
  return {array<cuda::MaskRow>(rows), array<cuda::MaskStream>(streams), array<int64_t>(steps)};
}

NamedMasks named_masks(const DropoutSite& site, const Batch& rows, const at::Tensor& x_TC) {
  if (!site.active()) return {};
  if (rows == nullptr || rows->rows() != x_TC.size(0) || rows->device() != x_TC.device())
    throw_error("dropout {}: {} rows to drop from, but the batch has {}, or they are on other devices", site.name,
                x_TC.size(0), rows == nullptr ? 0 : rows->rows());
  const DropoutContext& context = *site.context;
  std::vector<cuda::MaskStream> streams;
  for (std::size_t k = 0; k < context.seeds.size(); ++k) {
    streams.push_back(cuda::mask_stream(hash64(site.name, context.seeds[k]), site.of(static_cast<int64_t>(k))));
  }
  const auto names =
      rows->derived<at::Tensor>("mask rows", [&] { return device_array(mask_rows(*rows), rows->device()); });
  return {*names, device_array(streams, x_TC.device()), device_array(context.steps, x_TC.device())};
}

at::Tensor row_dropout(const at::Tensor& x_given, const NamedMasks& masks) {
  const at::Tensor x = packed(x_given);
  at::Tensor y = at::empty_like(x);
  const cuda::RowDropout arguments{.type = element_of(x.scalar_type()),
                                   .rows = count(x.size(0)),
                                   .wide = count(x.size(1)),
                                   .x = x.const_data_ptr(),
                                   .x_stride = x.stride(0),
                                   .y = y.mutable_data_ptr(),
                                   .y_stride = y.stride(0),
                                   .accumulate = false,
                                   .dropout = masks.arguments()};
  if (x.numel() > 0) check(cuda::row_dropout(arguments, stream_of(x)), "row_dropout", x);
  return y;
}

at::Tensor row_dropout(const at::Tensor& x_TC, const DropoutSite& site, const Batch& rows) {
  if (!site.active()) return x_TC;
  if (x_TC.dim() != 2 || x_TC.size(1) % 8 != 0)
    throw_error("row_dropout: {} dimensions, {} columns, expected rows of a multiple of 8", x_TC.dim(), x_TC.size(-1));
  return RowDropout::apply(x_TC, c10::make_intrusive<HeldMasks>(named_masks(site, rows, x_TC)));
}

}  // namespace peft::custom
