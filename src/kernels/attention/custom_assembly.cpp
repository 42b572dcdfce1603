#include <ATen/ATen.h>
#include <fmt/format.h>

#include "src/kernels/attention/custom_source.h"
#include "src/kernels/attention/internal.h"
#include "src/kernels/cuda/kv_assembly/api.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

/// kv_assembly: prefix rows in front of the keys of every sequence, in one launch each way.
class CustomAssembly final : public SourceRoute {
 public:
  /// Its plan gives a sequence without rows no prefix, which queries of other rows would see.
  static bool serves(const AttentionArgs& args, const at::Tensor& q) {
    for (int64_t b = 0; b < args.keys->sequences(); ++b) {
      if (args.keys->length(b) == 0 && args.queries->length(b) > 0) return false;
    }
    return args.prefix.defined() && q.size(2) % 8 == 0;
  }

  CustomAssembly(const AttentionArgs& args, const at::Tensor& q) : self_rows_(args.keys->rows()) {
    const PackedBatch& keys = *args.keys;
    const int64_t prefix = args.prefix.k_KPGD.size(1);
    const bool per_sequence = args.prefix.per_sequence;
    const auto name = fmt::format("kv_assembly {}{}", prefix, per_sequence ? " of sequences" : "");
    work_ = keys.derived<Work>(name, [&] {
      std::vector<int32_t> adapter;
      for (int64_t b = 0; b < keys.sequences(); ++b) adapter.push_back(custom::count(keys.adapter(b)));
      const cuda::KvPlan plan =
          cuda::kv_plan({.cu = custom::narrowed(keys.cu()),
                         .adapter = adapter,
                         .prefix_length = std::vector<int32_t>(keys.adapters(), custom::count(prefix)),
                         .prefix = custom::count(prefix),
                         .per_sequence = per_sequence});
      std::vector<PackedBatch::Sequence> longer;
      for (int64_t b = 0; b < keys.sequences(); ++b)
        longer.push_back({plan.cu_k[b + 1] - plan.cu_k[b], keys.adapter(b), keys.ordinal(b)});
      return Work{std::make_shared<PackedBatch>(longer, keys.adapters(), keys.device()),
                  custom::device_array(plan.rows, q.device()),
                  custom::device_array(plan.sums, q.device()),
                  custom::device_array(plan.first_sum, q.device()),
                  custom::device_array(plan.prefix_begin, q.device()),
                  custom::device_array(plan.length, q.device()),
                  custom::count(plan.rows.size()),
                  custom::count(plan.sums.size()),
                  custom::count(plan.length.size())};
    });
    shape_ = {custom::element_of(q.scalar_type()), custom::count(q.size(1)), custom::count(args.prefix.k_KPGD.size(2)),
              custom::count(q.size(2)), custom::count(prefix)};
  }

  Batch key_rows(const Batch& /*self*/) const override { return work_->longer; }

  std::array<at::Tensor, 2> keys_and_values(const at::Tensor& k_given, const at::Tensor& v_given,
                                            const SourceTensors& source) override {
    const at::Tensor k = whole_rows(k_given), v = whole_rows(v_given);
    const std::vector<int64_t> shape{work_->row_count, k.size(1), k.size(2)};
    std::array<at::Tensor, 2> joined{at::empty(shape, k.options()), at::empty(shape, v.options())};
    const cuda::KvAssembly assembly{.shape = shape_,
                                    .q = nullptr,
                                    .k = k.const_data_ptr(),
                                    .v = v.const_data_ptr(),
                                    .q_stride = 0,
                                    .k_stride = k.stride(0),
                                    .v_stride = v.stride(0),
                                    .prefix_k = source.prefix_k.const_data_ptr(),
                                    .prefix_v = source.prefix_v.const_data_ptr(),
                                    .q_out = nullptr,
                                    .q_out_stride = 0,
                                    .keys = joined[0].mutable_data_ptr(),
                                    .values = joined[1].mutable_data_ptr(),
                                    .cos = nullptr,
                                    .sin = nullptr,
                                    .rows = custom::array<cuda::KvRow>(work_->rows),
                                    .row_count = work_->row_count};
    custom::check(cuda::kv_assembly(assembly, custom::stream_of(k)), "kv_assembly", k);
    // A sequence without rows has no prefix either: the arrays may be longer than the rows in use.
    for (at::Tensor& x : joined) x = x.narrow(0, 0, work_->longer->rows());
    return joined;
  }

  SourceTensors backward(const MergedAttention& /*merged*/, const SourceTensors& source,
                         std::array<at::Tensor, 3>& gradients) override {
    const at::Tensor dkeys = gradients[1].contiguous(), dvalues = gradients[2].contiguous();
    std::vector<int64_t> shape = dkeys.sizes().vec();
    shape[0] = self_rows_;
    gradients[1] = at::empty(shape, dkeys.options());
    gradients[2] = at::empty(shape, dvalues.options());
    SourceTensors result{custom::float_tensor(dkeys, source.prefix_k.sizes()),
                         custom::float_tensor(dkeys, source.prefix_v.sizes()),
                         {},
                         {}};
    const at::Tensor partial =
        custom::float_tensor(dkeys, {work_->sum_count, shape_.prefix, 2, dkeys.size(1), dkeys.size(2)});
    const int64_t stride = dkeys.size(1) * dkeys.size(2);
    const cuda::KvAssemblyBackward backward{.shape = shape_,
                                            .dq_out = nullptr,
                                            .dq_out_stride = 0,
                                            .dkeys = dkeys.const_data_ptr(),
                                            .dvalues = dvalues.const_data_ptr(),
                                            .dq = nullptr,
                                            .dk = gradients[1].mutable_data_ptr(),
                                            .dv = gradients[2].mutable_data_ptr(),
                                            .dq_stride = 0,
                                            .dk_stride = stride,
                                            .dv_stride = stride,
                                            .dprefix_k = custom::mutable_floats(result.prefix_k),
                                            .dprefix_v = custom::mutable_floats(result.prefix_v),
                                            .accumulate = false,
                                            .rotate_prefix = false,
                                            .cos = nullptr,
                                            .sin = nullptr,
                                            .rows = custom::array<cuda::KvRow>(work_->rows),
                                            .sums = custom::array<cuda::KvSum>(work_->sums),
                                            .first_sum = custom::array<int32_t>(work_->first_sum),
                                            .prefix_begin = custom::array<int32_t>(work_->prefix_begin),
                                            .length = custom::array<int32_t>(work_->length),
                                            .row_count = work_->row_count,
                                            .sum_count = work_->sum_count,
                                            .tables = work_->tables,
                                            .partial = custom::mutable_floats(partial)};
    custom::check(cuda::kv_assembly_backward(backward, custom::stream_of(dkeys)), "kv_assembly_backward", dkeys);
    return result;
  }

 private:
  struct Work {
    Batch longer;
    at::Tensor rows, sums, first_sum, prefix_begin, length;
    int32_t row_count, sum_count, tables;
  };
  /// Rows whose heads lie one after another.
  static at::Tensor whole_rows(const at::Tensor& x_TGD) {
    const at::Tensor x = custom::aligned_rows(x_TGD);
    return x.size(1) == 1 || x.stride(1) == x.size(2) ? x : x.contiguous();
  }

  std::shared_ptr<const Work> work_;
  cuda::KvShape shape_ = {};
  int64_t self_rows_;
};

}  // namespace

std::unique_ptr<SourceRoute> custom_assembly(const AttentionArgs& args, const at::Tensor& q) {
  return CustomAssembly::serves(args, q) ? std::make_unique<CustomAssembly>(args, q) : nullptr;
}

}  // namespace peft
