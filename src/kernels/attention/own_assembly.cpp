#include <ATen/ATen.h>
#include <fmt/format.h>

#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/own_source.h"
#include "src/kernels/cuda/kv_assembly/api.h"
#include "src/kernels/own/tensors.h"

namespace peft {
namespace {

/// kv_assembly: prefix rows in front of the keys of every sequence, in one launch each way.
class OwnAssembly final : public SourceRoute {
 public:
  /// Its plan gives a sequence without rows no prefix, which queries of other rows would see.
  static bool serves(const AttentionArgs& args, const at::Tensor& q) {
    for (int64_t b = 0; b < args.keys->sequences(); ++b) {
      if (args.keys->length(b) == 0 && args.queries->length(b) > 0) return false;
    }
    return args.prefix.defined() && q.size(2) % 8 == 0;
  }

  OwnAssembly(const AttentionArgs& args, const at::Tensor& q) : own_rows_(args.keys->rows()) {
    const PackedBatch& keys = *args.keys;
    const int64_t prefix = args.prefix.k_KPGD.size(1);
    const bool per_sequence = args.prefix.per_sequence;
    const auto name = fmt::format("kv_assembly {}{}", prefix, per_sequence ? " of sequences" : "");
    work_ = keys.derived<Work>(name, [&] {
      std::vector<int32_t> adapter;
      for (int64_t b = 0; b < keys.sequences(); ++b) adapter.push_back(own::count(keys.adapter(b)));
      const cuda::KvPlan plan =
          cuda::kv_plan({.cu = own::narrowed(keys.cu()),
                         .adapter = adapter,
                         .prefix_length = std::vector<int32_t>(keys.adapters(), own::count(prefix)),
                         .prefix = own::count(prefix),
                         .per_sequence = per_sequence});
      std::vector<PackedBatch::Sequence> longer;
      for (int64_t b = 0; b < keys.sequences(); ++b)
        longer.push_back({plan.cu_k[b + 1] - plan.cu_k[b], keys.adapter(b), keys.ordinal(b)});
      return Work{std::make_shared<PackedBatch>(longer, keys.adapters(), keys.device()),
                  own::device_array(plan.rows, q.device()),
                  own::device_array(plan.sums, q.device()),
                  own::device_array(plan.first_sum, q.device()),
                  own::device_array(plan.prefix_begin, q.device()),
                  own::device_array(plan.length, q.device()),
                  own::count(plan.rows.size()),
                  own::count(plan.sums.size()),
                  own::count(plan.length.size())};
    });
    shape_ = {own::element_of(q.scalar_type()), own::count(q.size(1)), own::count(args.prefix.k_KPGD.size(2)),
              own::count(q.size(2)), own::count(prefix)};
  }

  Batch key_rows(const Batch& /*own*/) const override { return work_->longer; }

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
                                    .rows = own::array<cuda::KvRow>(work_->rows),
                                    .row_count = work_->row_count};
    own::check(cuda::kv_assembly(assembly, own::stream_of(k)), "kv_assembly", k);
    // A sequence without rows has no prefix either: the arrays may be longer than the rows in use.
    for (at::Tensor& x : joined) x = x.narrow(0, 0, work_->longer->rows());
    return joined;
  }

  SourceTensors backward(const MergedAttention& /*merged*/, const SourceTensors& source,
                         std::array<at::Tensor, 3>& gradients) override {
    const at::Tensor dkeys = gradients[1].contiguous(), dvalues = gradients[2].contiguous();
    std::vector<int64_t> shape = dkeys.sizes().vec();
    shape[0] = own_rows_;
    gradients[1] = at::empty(shape, dkeys.options());
    gradients[2] = at::empty(shape, dvalues.options());
    SourceTensors result{
        own::float_tensor(dkeys, source.prefix_k.sizes()), own::float_tensor(dkeys, source.prefix_v.sizes()), {}, {}};
    const at::Tensor partial =
        own::float_tensor(dkeys, {work_->sum_count, shape_.prefix, 2, dkeys.size(1), dkeys.size(2)});
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
                                            .dprefix_k = own::mutable_floats(result.prefix_k),
                                            .dprefix_v = own::mutable_floats(result.prefix_v),
                                            .accumulate = false,
                                            .rotate_prefix = false,
                                            .cos = nullptr,
                                            .sin = nullptr,
                                            .rows = own::array<cuda::KvRow>(work_->rows),
                                            .sums = own::array<cuda::KvSum>(work_->sums),
                                            .first_sum = own::array<int32_t>(work_->first_sum),
                                            .prefix_begin = own::array<int32_t>(work_->prefix_begin),
                                            .length = own::array<int32_t>(work_->length),
                                            .row_count = work_->row_count,
                                            .sum_count = work_->sum_count,
                                            .tables = work_->tables,
                                            .partial = own::mutable_floats(partial)};
    own::check(cuda::kv_assembly_backward(backward, own::stream_of(dkeys)), "kv_assembly_backward", dkeys);
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
    const at::Tensor x = own::aligned_rows(x_TGD);
    return x.size(1) == 1 || x.stride(1) == x.size(2) ? x : x.contiguous();
  }

  std::shared_ptr<const Work> work_;
  cuda::KvShape shape_ = {};
  int64_t own_rows_;
};

}  // namespace

std::unique_ptr<SourceRoute> own_assembly(const AttentionArgs& args, const at::Tensor& q) {
  return OwnAssembly::serves(args, q) ? std::make_unique<OwnAssembly>(args, q) : nullptr;
}

}  // namespace peft
