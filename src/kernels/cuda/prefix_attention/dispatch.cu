#include "src/kernels/cuda/common/dispatch.cuh"
#include "src/kernels/cuda/prefix_attention/instances.cuh"

namespace peft::cuda {

int prefix_attention_forward(const PrefixForward& args, void* stream) {
  return with_head(args.shape.type, args.shape.width, [&](auto head) {
    using Head = decltype(head);
    return launch_prefix_forward<typename Head::Type, Head::kWidth>(args, stream);
  });
}

int prefix_attention_backward(const PrefixBackward& args, void* stream) {
  return with_head(args.shape.type, args.shape.width, [&](auto head) {
    using Head = decltype(head);
    if (const int error = launch_prefix_queries<typename Head::Type, Head::kWidth>(args, stream)) return error;
    return launch_prefix_keys<typename Head::Type, Head::kWidth>(args, NamedDropout{}, stream);
  });
}

}  // namespace peft::cuda
