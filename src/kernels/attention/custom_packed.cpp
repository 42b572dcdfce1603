#include "src/kernels/attention/custom_packed.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>

#include "src/kernels/attention/custom_source.h"
#include "src/kernels/attention/internal.h"
#include "src/kernels/cuda/packed_attention/api.h"
#include "src/kernels/custom/dropout.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct PackedWork {
  at::Tensor sequences, queries, keys, chunks, first_chunk;
  int32_t query_count, key_count, chunk_count;
};

PackedWork packed_work(const AttentionArgs& args, const cuda::PackedShape& shape, at::Device device) {
  std::vector<int32_t> table;
  for (int64_t b = 0; b < args.queries->sequences(); ++b)
    table.push_back(args.prefix.defined() ? custom::count(prefix_table(args, b)) : -1);
  const auto list = cuda::packed_work_list(custom::narrowed(args.queries->cu()), custom::narrowed(args.keys->cu()),
                                           table, shape.tables, shape.width);
  return {custom::device_array(list.sequences, device),
          custom::device_array(list.queries, device),
          custom::device_array(list.keys, device),
          custom::device_array(list.chunks, device),
          custom::device_array(list.first_chunk, device),
          custom::count(list.queries.size()),
          custom::count(list.keys.size()),
          custom::count(list.chunks.size())};
}

/// One call, from its forward to its backward.
struct PackedCall : torch::CustomClassHolder {
  PackedCall(const AttentionArgs& args, const at::Tensor& q, const at::Tensor& k) {
    const at::Tensor& prefix = args.prefix.k_KPGD;
    shape = {.type = custom::element_of(q.scalar_type()),
             .heads = custom::count(q.size(1)),
             .key_heads = custom::count(k.size(1)),
             .width = custom::count(q.size(2)),
             .prefix = args.prefix.defined() ? custom::count(prefix.size(1)) : 0,
             .tables = args.prefix.defined() ? custom::count(prefix.size(0)) : 0,
             .query_rows = q.size(0),
             .key_rows = k.size(0),
             .scale = static_cast<float>(args.scale),
             .causal = args.causal,
             .window = custom::count(args.window)};
    const auto make = [&] { return packed_work(args, shape, q.device()); };
    if (args.keys == args.queries) {  // else another call may have other keys
      const char* tables = !args.prefix.defined() ? "" : args.prefix.per_sequence ? " of sequences" : " of adapters";
      work = args.queries->derived<PackedWork>(fmt::format("packed_attention {}{}", shape.width, tables), make);
    } else {
      work = std::make_shared<const PackedWork>(make());
    }
    if (args.bias.defined()) {
      bias_zero = cuda::packed_tiles(args.queries->longest());
      bias = distance_bias(args, bias_zero, bias_zero + cuda::packed_tiles(args.keys->longest()),
                           q.options().dtype(at::kFloat));
    }
    masks = custom::named_masks(args.dropout, args.queries, q);
    if (args.state.defined()) state = custom_source(args, q);
  }

  cuda::PackedKeys keys(const at::Tensor& k, const at::Tensor& v, const SourceTensors& source) const {
    return {.k = custom::head_rows(k),
            .v = custom::head_rows(v),
            .prefix_k = custom::pointer(source.prefix_k),
            .prefix_v = custom::pointer(source.prefix_v),
            .sequences = custom::array<cuda::PackedSequence>(work->sequences),
            .bias = bias.defined() ? custom::floats(bias) : nullptr,
            .bias_zero = custom::count(bias_zero),
            .bias_span = bias.defined() ? custom::count(bias.size(1)) : 0,
            .dropout = masks.arguments()};
  }

  cuda::PackedShape shape;
  std::shared_ptr<const PackedWork> work;
  at::Tensor bias;
  int64_t bias_zero = 0;
  custom::NamedMasks masks;
  std::unique_ptr<SourceRoute> state;  ///< merged behind the kernel; null: none
};

struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q_given, const at::Tensor& k_given,
                            const at::Tensor& v_given, const std::optional<at::Tensor>& prefix_k_given,
                            const std::optional<at::Tensor>& prefix_v_given, const std::optional<at::Tensor>& z_given,
                            const std::optional<at::Tensor>& den_given, const c10::intrusive_ptr<PackedCall>& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor q = custom::aligned_rows(q_given), k = custom::aligned_rows(k_given),
                     v = custom::aligned_rows(v_given);
    const auto held = [](const std::optional<at::Tensor>& x, at::ScalarType type) {
      return x ? custom::packed(x->to(type)) : at::Tensor();
    };
    const SourceTensors source{held(prefix_k_given, q.scalar_type()), held(prefix_v_given, q.scalar_type()),
                               held(z_given, at::kFloat), held(den_given, at::kFloat)};
    const at::Tensor lse_HT = custom::float_tensor(q, {q.size(1), q.size(0)});
    at::Tensor out = at::empty(q.sizes(), q.options());
    const cuda::PackedForward forward{.shape = call->shape,
                                      .keys = call->keys(k, v, source),
                                      .q = custom::head_rows(q),
                                      .out = custom::head_rows(out),
                                      .lse = custom::mutable_floats(lse_HT),
                                      .items = custom::array<cuda::RowItem>(call->work->queries),
                                      .item_count = call->work->query_count};
    custom::check(cuda::packed_attention_forward(forward, custom::stream_of(q)), "packed_attention_forward", q);
    if (call->state) out = call->state->merge(q, out, lse_HT, source);
    ctx->save_for_backward({q, k, v, out, lse_HT, source.prefix_k, source.prefix_v, source.z, source.den});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &lse_HT = saved[4];
    const SourceTensors source{saved[5], saved[6], saved[7], saved[8]};
    const auto held = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const PackedCall&>(*held);
    const PackedWork& work = *call.work;
    const cuda::PackedShape& shape = call.shape;
    std::array<at::Tensor, 3> d{at::empty(q.sizes(), q.options()), at::empty(k.sizes(), k.options()),
                                at::empty(v.sizes(), v.options())};
    const at::Tensor dout = custom::aligned_rows(grads[0]), delta = custom::float_tensor(q, lse_HT.sizes()),
                     partial = custom::float_tensor(
                         q, {work.chunk_count, shape.heads, cuda::prefix_partial_floats(shape.prefix, shape.width)});
    SourceTensors of_source;
    if (source.prefix_k.defined()) {
      of_source.prefix_k = custom::float_tensor(q, source.prefix_k.sizes());
      of_source.prefix_v = custom::float_tensor(q, source.prefix_v.sizes());
    }
    const auto written = [](const at::Tensor& x) { return x.defined() ? custom::mutable_floats(x) : nullptr; };
    const cuda::PackedBackward backward{.shape = shape,
                                        .keys = call.keys(k, v, source),
                                        .dout = custom::head_rows(dout),
                                        .q = custom::head_rows(q),
                                        .out = custom::head_rows(out),
                                        .dq = custom::head_rows(d[0]),
                                        .dk = custom::head_rows(d[1]),
                                        .dv = custom::head_rows(d[2]),
                                        .lse = custom::floats(lse_HT),
                                        .delta = custom::mutable_floats(delta),
                                        .merged = call.state != nullptr,
                                        .dprefix_k = written(of_source.prefix_k),
                                        .dprefix_v = written(of_source.prefix_v),
                                        .partial = custom::mutable_floats(partial),
                                        .queries = custom::array<cuda::RowItem>(work.queries),
                                        .key_items = custom::array<cuda::RowItem>(work.keys),
                                        .chunks = custom::array<cuda::RowItem>(work.chunks),
                                        .first_chunk = custom::array<int32_t>(work.first_chunk),
                                        .query_count = work.query_count,
                                        .key_count = work.key_count,
                                        .chunk_count = work.chunk_count};
    custom::check(cuda::packed_attention_backward(backward, custom::stream_of(q)), "packed_attention_backward", q);
    if (call.state) of_source = call.state->backward({dout, q, out, lse_HT}, source, d);
    return {d[0], d[1], d[2], of_source.prefix_k, of_source.prefix_v, of_source.z, of_source.den, at::Tensor()};
  }
};

}  // namespace

at::Tensor attention_packed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args) {
  const auto input = [](const at::Tensor& x) { return x.defined() ? std::optional(x) : std::nullopt; };
  return PackedAttention::apply(q, k, v, input(args.prefix.k_KPGD), input(args.prefix.v_KPGD), input(args.state.z_KHMD),
                                input(args.state.den_KHM), c10::make_intrusive<PackedCall>(args, q, k));
}

}  // namespace peft
