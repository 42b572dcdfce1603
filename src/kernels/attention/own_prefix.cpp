#include <ATen/ATen.h>
#include <fmt/format.h>

#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/own_source.h"
#include "src/kernels/cuda/prefix_attention/api.h"
#include "src/kernels/own/tensors.h"

namespace peft {
namespace {

/// prefix_attention: an exact prefix, which every query sees, without a bias, merged behind the operator. Tables of sequences are groups of
/// one sequence.
class OwnPrefix final : public SourceRoute {
 public:
  static bool serves(const AttentionArgs& args, const at::Tensor& q) {
    constexpr int64_t kLargestGrid = 65535;  // of tables times key heads
    return args.prefix.defined() && args.window == 0 && !(args.bias.defined() && args.bias.covers_prefix) &&
           q.scalar_type() != at::kFloat && cuda::prefix_supports(own::count(q.size(2))) &&
           args.prefix.k_KPGD.size(0) * args.prefix.k_KPGD.size(2) <= kLargestGrid;
  }

  OwnPrefix(const AttentionArgs& args, const at::Tensor& q) {
    const auto width = own::count(q.size(2));
    const bool per_sequence = args.prefix.per_sequence;
    const auto& groups = per_sequence ? args.queries->cu() : args.queries->group_rows();
    const auto name = fmt::format("prefix_attention {}{}", width, per_sequence ? " of sequences" : "");
    work_ = args.queries->derived<Work>(name, [&] {
      const auto list = cuda::prefix_work_list(own::narrowed(groups), width);
      return Work{own::device_array(list.forward, q.device()),
                  own::device_array(list.queries, q.device()),
                  own::device_array(list.chunks, q.device()),
                  own::device_array(list.first_chunk, q.device()),
                  own::count(list.forward.size()),
                  own::count(list.queries.size()),
                  own::count(list.chunks.size())};
    });
    shape_ = {own::element_of(q.scalar_type()),
              own::count(static_cast<int64_t>(groups.size()) - 1),
              own::count(q.size(1)),
              own::count(args.prefix.k_KPGD.size(2)),
              width,
              own::count(args.prefix.k_KPGD.size(1)),
              q.size(0),
              static_cast<float>(args.scale)};
  }

  at::Tensor merge(const at::Tensor& q_given, const at::Tensor& out, const at::Tensor& lse_HT,
                   const SourceTensors& source) override {
    const at::Tensor q = own::aligned_rows(q_given);
    at::Tensor merged = at::empty_like(out);
    own_out_ = out;
    own_lse_HT_ = lse_HT.clone();
    const cuda::PrefixForward forward{.shape = shape_,
                                      .keys = keys(source),
                                      .q = own::head_rows(q),
                                      .own = own::head_rows(out),
                                      .out = own::head_rows(merged),
                                      .own_lse = own::floats(own_lse_HT_),
                                      .lse = own::mutable_floats(lse_HT),
                                      .items = own::array<cuda::RowItem>(work_->forward),
                                      .item_count = work_->forward_count};
    own::check(cuda::prefix_attention_forward(forward, own::stream_of(q)), "prefix_attention_forward", q);
    return merged;
  }

  SourceTensors backward(const MergedAttention& m, const SourceTensors& source,
                         std::array<at::Tensor, 3>& gradients) override {
    const at::Tensor q = own::aligned_rows(m.q), dout = own::aligned_rows(m.dout);
    gradients[0] = own::aligned_rows(gradients[0]);
    SourceTensors result{
        own::float_tensor(q, source.prefix_k.sizes()), own::float_tensor(q, source.prefix_v.sizes()), {}, {}};
    const at::Tensor delta = own::float_tensor(q, m.lse_HT.sizes()),
                     partial = own::float_tensor(q, {work_->chunk_count, shape_.heads,
                                                     cuda::prefix_partial_floats(shape_.prefix, shape_.width)});
    const cuda::PrefixBackward backward{.shape = shape_,
                                        .keys = keys(source),
                                        .dout = own::head_rows(dout),
                                        .q = own::head_rows(q),
                                        .own = own::head_rows(own_out_),
                                        .out = own::head_rows(m.out),
                                        .dq = own::head_rows(gradients[0]),
                                        .own_lse = own::floats(own_lse_HT_),
                                        .lse = own::floats(m.lse_HT),
                                        .delta = own::mutable_floats(delta),
                                        .dk = own::mutable_floats(result.prefix_k),
                                        .dv = own::mutable_floats(result.prefix_v),
                                        .partial = own::mutable_floats(partial),
                                        .queries = own::array<cuda::RowItem>(work_->queries),
                                        .chunks = own::array<cuda::RowItem>(work_->chunks),
                                        .first_chunk = own::array<int32_t>(work_->first_chunk),
                                        .query_count = work_->query_count,
                                        .chunk_count = work_->chunk_count};
    own::check(cuda::prefix_attention_backward(backward, own::stream_of(q)), "prefix_attention_backward", q);
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
  at::Tensor own_out_, own_lse_HT_;  ///< of the operator, for the backward pass
};

}  // namespace

std::unique_ptr<SourceRoute> own_prefix(const AttentionArgs& args, const at::Tensor& q) {
  return OwnPrefix::serves(args, q) ? std::make_unique<OwnPrefix>(args, q) : nullptr;
}

}  // namespace peft
