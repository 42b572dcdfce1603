#include "peft/kernels/grouped_matmul.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <fmt/ranges.h>

#include "peft/base/error.h"

namespace peft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor range(const at::Tensor& x, const std::vector<int64_t>& groups, std::size_t k) {
  return x.narrow(0, groups[k], groups[k + 1] - groups[k]);
}

/// Autograd's own slices would give every group a zero-filled [K,C,R] gradient to sum; this writes each slice once.
struct GroupedMatmul : torch::autograd::Function<GroupedMatmul> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& w,
                            const std::vector<int64_t>& groups) {
    at::Tensor y = at::empty({x.size(0), w.size(2)}, x.options());
    for (std::size_t k = 0; k + 1 < groups.size(); ++k) {
      at::Tensor out = range(y, groups, k);
      if (out.size(0) > 0) at::mm_out(out, range(x, groups, k), w[k]);
    }
    ctx->save_for_backward({x, w});
    ctx->saved_data["groups"] = groups;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &w = saved[1], &dy = grads[0];
    const auto groups = ctx->saved_data["groups"].toIntVector();
    at::Tensor dx, dw;
    if (ctx->needs_input_grad(0)) dx = at::empty_like(x);
    if (ctx->needs_input_grad(1)) dw = at::zeros_like(w);
    for (std::size_t k = 0; k + 1 < groups.size(); ++k) {
      const at::Tensor d = range(dy, groups, k);
      if (d.size(0) == 0) continue;
      if (dx.defined()) {
        at::Tensor out = range(dx, groups, k);
        at::mm_out(out, d, w[k].t());
      }
      if (dw.defined()) {
        at::Tensor out = dw[k];
        at::mm_out(out, range(x, groups, k).t(), d);
      }
    }
    return {dx, dw, at::Tensor()};
  }
};

/// Which slice of a bank each sequence takes.
std::vector<int64_t> slices_of(const PackedBatch& rows, bool slice_per_sequence) {
  std::vector<int64_t> slices;
  for (int64_t b = 0; b < rows.sequences(); ++b) slices.push_back(slice_per_sequence ? b : rows.adapter(b));
  return slices;
}

/// Gradient of a bank whose slices went to rows begin[b].. of y. Sums over sequences run in float32 at least, in the order of the
/// sequences: repeatable, and right under bfloat16.
at::Tensor bank_gradient(const at::Tensor& dy, const std::vector<int64_t>& shape, const std::vector<int64_t>& slices,
                         const std::vector<int64_t>& begin) {
  const auto accumulate = dy.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor sum = at::zeros(shape, dy.options().dtype(accumulate));
  for (std::size_t b = 0; b < slices.size(); ++b) sum[slices[b]].add_(dy.narrow(0, begin[b], shape[1]));
  return sum.to(dy.scalar_type());
}

struct PrependRows : torch::autograd::Function<PrependRows> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& bank, const at::Tensor& x, const Batch& rows,
                            const Batch& longer, const std::vector<int64_t>& slices) {
    const int64_t virtual_rows = bank.size(1);
    at::Tensor y = at::empty({longer->rows(), x.size(1)}, x.options());
    for (int64_t b = 0; b < rows->sequences(); ++b) {
      y.narrow(0, longer->begin(b), virtual_rows).copy_(bank[slices[b]]);
      y.narrow(0, longer->begin(b) + virtual_rows, rows->length(b)).copy_(x.narrow(0, rows->begin(b), rows->length(b)));
    }
    ctx->saved_data["shape"] = bank.sizes().vec();
    ctx->saved_data["cu"] = rows->cu();
    ctx->saved_data["longer_cu"] = longer->cu();
    ctx->saved_data["slices"] = slices;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto shape = ctx->saved_data["shape"].toIntVector(), cu = ctx->saved_data["cu"].toIntVector(),
               longer = ctx->saved_data["longer_cu"].toIntVector();
    const at::Tensor& dy = grads[0];
    at::Tensor dbank, dx;
    if (ctx->needs_input_grad(0)) dbank = bank_gradient(dy, shape, ctx->saved_data["slices"].toIntVector(), longer);
    if (ctx->needs_input_grad(1)) {
      dx = at::empty({cu.back(), dy.size(1)}, dy.options());
      for (std::size_t b = 0; b + 1 < cu.size(); ++b)
        dx.narrow(0, cu[b], cu[b + 1] - cu[b]).copy_(dy.narrow(0, longer[b] + shape[1], cu[b + 1] - cu[b]));
    }
    return {dbank, dx, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct OverwriteRows : torch::autograd::Function<OverwriteRows> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& bank, const at::Tensor& x, const Batch& rows,
                            const std::vector<int64_t>& slices) {
    at::Tensor y = x.clone();
    for (int64_t b = 0; b < rows->sequences(); ++b) y.narrow(0, rows->begin(b), bank.size(1)).copy_(bank[slices[b]]);
    ctx->saved_data["shape"] = bank.sizes().vec();
    ctx->saved_data["cu"] = rows->cu();
    ctx->saved_data["slices"] = slices;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto shape = ctx->saved_data["shape"].toIntVector(), cu = ctx->saved_data["cu"].toIntVector();
    const at::Tensor& dy = grads[0];
    at::Tensor dbank, dx;
    if (ctx->needs_input_grad(0)) dbank = bank_gradient(dy, shape, ctx->saved_data["slices"].toIntVector(), cu);
    if (ctx->needs_input_grad(1)) {
      dx = dy.clone();
      for (std::size_t b = 0; b + 1 < cu.size(); ++b) dx.narrow(0, cu[b], shape[1]).zero_();
    }
    return {dbank, dx, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor grouped_matmul(const at::Tensor& x_TC, const at::Tensor& w_KCR, const std::vector<int64_t>& groups) {
  if (x_TC.dim() != 2 || w_KCR.dim() != 3 || x_TC.size(1) != w_KCR.size(1) ||
      static_cast<int64_t>(groups.size()) != w_KCR.size(0) + 1 || groups.back() != x_TC.size(0)) {
    throw_error("grouped_matmul: x {}, w {}, {} group offsets up to {}", fmt::join(x_TC.sizes(), "x"),
                fmt::join(w_KCR.sizes(), "x"), groups.size(), groups.empty() ? -1 : groups.back());
  }
  if (w_KCR.size(0) == 1) return at::mm(x_TC, w_KCR.squeeze(0));
  return GroupedMatmul::apply(x_TC, w_KCR, groups);
}

at::Tensor grouped_linear(const at::Tensor& x_TC, const at::Tensor& w_KOC, const at::Tensor& b_KO,
                          const std::vector<int64_t>& groups) {
  at::Tensor y = grouped_matmul(x_TC, w_KOC.transpose(1, 2), groups);
  return b_KO.defined() ? y + grouped_rows(b_KO, groups) : y;
}

at::Tensor grouped_rows(const at::Tensor& b_KO, const std::vector<int64_t>& groups) {
  if (b_KO.size(0) == 1) return b_KO;
  std::vector<at::Tensor> per_group;
  for (std::size_t k = 0; k + 1 < groups.size(); ++k)
    per_group.push_back(b_KO[k].unsqueeze(0).expand({groups[k + 1] - groups[k], -1}));
  return at::cat(per_group);
}

at::Tensor gather_adapters(const at::Tensor& bank, const PackedBatch& rows) {
  std::vector<int64_t> index;
  for (int64_t b = 0; b < rows.sequences(); ++b) index.push_back(rows.adapter(b));
  return bank.index_select(
      0, at::tensor(at::ArrayRef<int64_t>(index), at::TensorOptions().dtype(at::kLong)).to(bank.device()));
}

at::Tensor rows_of_adapters(const std::vector<double>& values, const PackedBatch& rows, const at::Tensor& like) {
  at::Tensor column = at::empty({rows.rows(), 1}, like.options().device(at::kCPU));
  for (std::size_t k = 0; k < values.size(); ++k)
    column.narrow(0, rows.group_rows()[k], rows.group_rows()[k + 1] - rows.group_rows()[k]).fill_(values[k]);
  return column.to(like.device());
}

at::Tensor prepend_rows(const at::Tensor& bank_KPC, const at::Tensor& x_TC, const Batch& rows, const Batch& longer,
                        bool slice_per_sequence) {
  return PrependRows::apply(bank_KPC, x_TC, rows, longer, slices_of(*rows, slice_per_sequence));
}

at::Tensor overwrite_rows(const at::Tensor& bank_KPC, const at::Tensor& x_TC, const Batch& rows,
                          bool slice_per_sequence) {
  return OverwriteRows::apply(bank_KPC, x_TC, rows, slices_of(*rows, slice_per_sequence));
}

}  // namespace peft
