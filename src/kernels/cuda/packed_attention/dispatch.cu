#include "src/kernels/cuda/common/dispatch.cuh"
#include "src/kernels/cuda/packed_attention/instances.cuh"
#include "src/kernels/cuda/prefix_attention/instances.cuh"

namespace peft::cuda {
namespace {

/// dPk and dPv follow from q, dO, L and delta alone, as behind any softmax.
PrefixBackward prefix_part(const PackedBackward& args) {
  PrefixBackward prefix;
  const PackedShape& shape = args.shape;
  prefix.shape = {shape.type,  shape.tables, shape.heads,      shape.key_heads,
                  shape.width, shape.prefix, shape.query_rows, shape.scale};
  prefix.keys = {args.keys.prefix_k, args.keys.prefix_v};
  prefix.dout = args.dout;
  prefix.q = args.q;
  prefix.lse = args.lse;
  prefix.delta = args.delta;
  prefix.dk = args.dprefix_k;
  prefix.dv = args.dprefix_v;
  prefix.partial = args.partial;
  prefix.chunks = args.chunks;
  prefix.first_chunk = args.first_chunk;
  prefix.chunk_count = args.chunk_count;
  return prefix;
}

}  // namespace

int packed_attention_forward(const PackedForward& args, void* stream) {
  return with_head(args.shape.type, args.shape.width, [&](auto head) {
    using Head = decltype(head);
    return launch_packed_forward<typename Head::Type, Head::kWidth>(args, stream);
  });
}

int packed_attention_backward(const PackedBackward& args, void* stream) {
  return with_head(args.shape.type, args.shape.width, [&](auto head) {
    using T = typename decltype(head)::Type;
    constexpr int kWidth = decltype(head)::kWidth;
    if (const int error = launch_packed_queries<T, kWidth>(args, stream)) return error;
    if (const int error = launch_packed_keys<T, kWidth>(args, stream)) return error;
    return launch_prefix_keys<T, kWidth>(prefix_part(args), args.keys.dropout, stream);
  });
}

}  // namespace peft::cuda
