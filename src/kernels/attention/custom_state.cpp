#include <ATen/ATen.h>
#include <fmt/format.h>

#include "src/kernels/attention/custom_source.h"
#include "src/kernels/attention/internal.h"
#include "src/kernels/cuda/ntk_attention/api.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

/// ntk_attention: a state merged behind the operator.
class CustomState final : public SourceRoute {
 public:
  static bool serves(const AttentionArgs& args, const at::Tensor& q) {
    const LinearState& state = args.state;
    // Rows that are switched off are not counted; only signed features have any.
    return args.state.defined() && q.scalar_type() != at::kFloat && cuda::ntk_supports(custom::count(q.size(2))) &&
           !state.dropout.active() &&
           (state.map == FeatureMap::elu || (state.map == FeatureMap::taylor1 && state.gated == nullptr));
  }

  CustomState(const AttentionArgs& args, const at::Tensor& q) : args_(args) {
    const auto width = custom::count(q.size(2));
    work_ = args.queries->derived<Work>(fmt::format("ntk_attention {}", width), [&] {
      const auto list = cuda::ntk_work_list(custom::narrowed(args.queries->group_rows()), width);
      return Work{custom::device_array(list.tiles, q.device()), custom::device_array(list.chunks, q.device()),
                  custom::device_array(list.first_chunk, q.device()), custom::count(list.tiles.size()),
                  custom::count(list.chunks.size())};
    });
    shape_ = {custom::element_of(q.scalar_type()),
              args.state.map == FeatureMap::elu ? cuda::StateMap::elu : cuda::StateMap::taylor1,
              custom::count(args.queries->adapters()),
              custom::count(q.size(1)),
              custom::count(args.state.z_KHMD.size(1)),
              width,
              q.size(0),
              static_cast<float>(args.scale)};
    if (args.state.center_KHD.defined()) center_ = args.state.center_KHD.detach().to(at::kFloat).contiguous();
  }

  at::Tensor merge(const at::Tensor& q_given, const at::Tensor& out, const at::Tensor& lse_HT,
                   const SourceTensors& source) override {
    const at::Tensor q = custom::aligned_rows(q_given), z = source.z.contiguous(), den = source.den.contiguous();
    const int64_t rows = cuda::ntk_state_rows(shape_.map, shape_.width);
    packed_ = at::empty({z.size(0), z.size(1), rows, shape_.width + 8}, q.options());
    custom::check(
        cuda::ntk_pack({shape_, custom::floats(z), custom::floats(den), packed_.data_ptr()}, custom::stream_of(q)),
        "ntk_pack", z);
    at::Tensor merged = at::empty_like(out);
    self_out_ = out;
    self_lse_HT_ = lse_HT.clone();
    const cuda::NtkForward forward{.shape = shape_,
                                   .q = custom::head_rows(q),
                                   .self = custom::head_rows(out),
                                   .out = custom::head_rows(merged),
                                   .self_lse = custom::floats(self_lse_HT_),
                                   .lse = custom::mutable_floats(lse_HT),
                                   .state = packed_.const_data_ptr(),
                                   .center = center(),
                                   .tiles = custom::array<cuda::RowItem>(work_->tiles),
                                   .tile_count = work_->tile_count};
    custom::check(cuda::ntk_attention_forward(forward, custom::stream_of(q)), "ntk_attention_forward", q);
    if (args_.state.gated != nullptr) args_.state.gated->rows += q.size(0) * q.size(1);
    return merged;
  }

  SourceTensors backward(const MergedAttention& m, const SourceTensors& source,
                         std::array<at::Tensor, 3>& gradients) override {
    const at::Tensor q = custom::aligned_rows(m.q), dout = custom::aligned_rows(m.dout);
    gradients[0] = custom::aligned_rows(gradients[0]);
    SourceTensors result{
        {}, {}, custom::float_tensor(q, source.z.sizes()), custom::float_tensor(q, source.den.sizes())};
    const at::Tensor partial =
        custom::float_tensor(q, {work_->chunk_count, shape_.heads, cuda::ntk_partial_floats(shape_.map, shape_.width)});
    const cuda::NtkBackward backward{.shape = shape_,
                                     .dout = custom::head_rows(dout),
                                     .q = custom::head_rows(q),
                                     .self = custom::head_rows(self_out_),
                                     .dq = custom::head_rows(gradients[0]),
                                     .self_lse = custom::floats(self_lse_HT_),
                                     .lse = custom::floats(m.lse_HT),
                                     .state = packed_.const_data_ptr(),
                                     .center = center(),
                                     .dz = custom::mutable_floats(result.z),
                                     .dden = custom::mutable_floats(result.den),
                                     .partial = custom::mutable_floats(partial),
                                     .chunks = custom::array<cuda::RowItem>(work_->chunks),
                                     .first_chunk = custom::array<int32_t>(work_->first_chunk),
                                     .chunk_count = work_->chunk_count};
    custom::check(cuda::ntk_attention_backward(backward, custom::stream_of(q)), "ntk_attention_backward", q);
    return result;
  }

 private:
  struct Work {
    at::Tensor tiles, chunks, first_chunk;
    int32_t tile_count, chunk_count;
  };
  const float* center() const { return center_.defined() ? custom::floats(center_) : nullptr; }

  AttentionArgs args_;
  std::shared_ptr<const Work> work_;
  cuda::NtkShape shape_ = {};
  at::Tensor center_, packed_;
  at::Tensor self_out_, self_lse_HT_;  ///< of the operator, for the backward pass
};

}  // namespace

std::unique_ptr<SourceRoute> custom_state(const AttentionArgs& args, const at::Tensor& q) {
  return CustomState::serves(args, q) ? std::make_unique<CustomState>(args, q) : nullptr;
}

}  // namespace peft
