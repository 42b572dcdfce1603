#include <ATen/ATen.h>
#include <fmt/format.h>

#include "src/kernels/attention/custom_source.h"
#include "src/kernels/attention/internal.h"
#include "src/kernels/cuda/prefix_attention/api.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

/// prefix_attention: an exact prefix, which every query sees, without a bias, merged behind the operator. Tables of sequences are groups of
/// one sequence.
class CustomPrefix final : public SourceRoute {
 public:
  static bool serves(const AttentionArgs& args, const at::Tensor& q) {
    constexpr int64_t kLargestGrid = 65535;  // of tables times key heads
    return args.prefix.defined() && args.window == 0 && !(args.bias.defined() && args.bias.covers_prefix) &&
           q.scalar_type() != at::kFloat && cuda::prefix_supports(custom::count(q.size(2))) &&
           args.prefix.k_KPGD.size(0) * args.prefix.k_KPGD.size(2) <= kLargestGrid;
  }

  CustomPrefix(const AttentionArgs& args, const at::Tensor& q) {
    const auto width = custom::count(q.size(2));
    const bool per_sequence = args.prefix.per_sequence;
    const auto& groups = per_sequence ? args.queries->cu() : args.queries->group_rows();
    const auto name = fmt::format("prefix_attention {}{}", width, per_sequence ? " of sequences" : "");
    work_ = args.queries->derived<Work>(name, [&] {
      const auto list = cuda::prefix_work_list(custom::narrowed(groups), width);
      return Work{custom::device_array(list.forward, q.device()),
                  custom::device_array(list.queries, q.device()),
                  custom::device_array(list.chunks, q.device()),
                  custom::device_array(list.first_chunk, q.device()),
                  custom::count(list.forward.size()),
                  custom::count(list.queries.size()),
                  custom::count(list.chunks.size())};
    });
    shape_ = {custom::element_of(q.scalar_type()),
              custom::count(static_cast<int64_t>(groups.size()) - 1),
              custom::count(q.size(1)),
              custom::count(args.prefix.k_KPGD.size(2)),
              width,
              custom::count(args.prefix.k_KPGD.size(1)),
              q.size(0),
              static_cast<float>(args.scale)};
  }

  at::Tensor merge(const at::Tensor& q_given, const at::Tensor& out, const at::Tensor& lse_HT,
                   const SourceTensors& source) override {
    const at::Tensor q = custom::aligned_rows(q_given);
    at::Tensor merged = at::empty_like(out);
    self_out_ = out;
    self_lse_HT_ = lse_HT.clone();
    const cuda::PrefixForward forward{.shape = shape_,
                                      .keys = keys(source),
                                      .q = custom::head_rows(q),
                                      .self = custom::head_rows(out),
                                      .out = custom::head_rows(merged),
                                      .self_lse = custom::floats(self_lse_HT_),
                                      .lse = custom::mutable_floats(lse_HT),
                                      .items = custom::array<cuda::RowItem>(work_->forward),
                                      .item_count = work_->forward_count};
    custom::check(cuda::prefix_attention_forward(forward, custom::stream_of(q)), "prefix_attention_forward", q);
    return merged;
  }

  SourceTensors backward(const MergedAttention& m, const SourceTensors& source,
                         std::array<at::Tensor, 3>& gradients) override {
    const at::Tensor q = custom::aligned_rows(m.q), dout = custom::aligned_rows(m.dout);
    gradients[0] = custom::aligned_rows(gradients[0]);
    SourceTensors result{
        custom::float_tensor(q, source.prefix_k.sizes()), custom::float_tensor(q, source.prefix_v.sizes()), {}, {}};
    const at::Tensor delta = custom::float_tensor(q, m.lse_HT.sizes()),
                     partial = custom::float_tensor(q, {work_->chunk_count, shape_.heads,
                                                        cuda::prefix_partial_floats(shape_.prefix, shape_.width)});
    const cuda::PrefixBackward backward{.shape = shape_,
                                        .keys = keys(source),
                                        .dout = custom::head_rows(dout),
                                        .q = custom::head_rows(q),
                                        .self = custom::head_rows(self_out_),
                                        .out = custom::head_rows(m.out),
                                        .dq = custom::head_rows(gradients[0]),
                                        .self_lse = custom::floats(self_lse_HT_),
                                        .lse = custom::floats(m.lse_HT),
                                        .delta = custom::mutable_floats(delta),
                                        .dk = custom::mutable_floats(result.prefix_k),
                                        .dv = custom::mutable_floats(result.prefix_v),
                                        .partial = custom::mutable_floats(partial),
                                        .queries = custom::array<cuda::RowItem>(work_->queries),
                                        .chunks = custom::array<cuda::RowItem>(work_->chunks),
                                        .first_chunk = custom::array<int32_t>(work_->first_chunk),
                                        .query_count = work_->query_count,
                                        .chunk_count = work_->chunk_count};
    custom::check(cuda::prefix_attention_backward(backward, custom::stream_of(q)), "prefix_attention_backward", q);
    return result;
  }

 private:
  struct Work {
    at::Tensor forward, queries, chunks, first_chunk;
    int32_t forward_count, query_count, chunk_count;
  };
  static cuda::PrefixKeys keys(const SourceTensors& source) {
    return {source.prefix_k.const_data_ptr(), source.prefix_v.const_data_ptr()};
  }

  std::shared_ptr<const Work> work_;
  cuda::PrefixShape shape_ = {};
  at::Tensor self_out_, self_lse_HT_;  ///< of the operator, for the backward pass
};

}  // namespace

std::unique_ptr<SourceRoute> custom_prefix(const AttentionArgs& args, const at::Tensor& q) {
  return CustomPrefix::serves(args, q) ? std::make_unique<CustomPrefix>(args, q) : nullptr;
}

}  // namespace peft
