#include "src/kernels/cuda/common/dispatch.cuh"
#include "src/kernels/cuda/ntk_attention/instances.cuh"
#include "src/kernels/cuda/ntk_attention/pack.cuh"

namespace peft::cuda {

int ntk_pack(const NtkPack& args, void* stream) {
  if (!ntk_supports(args.shape.width)) return kNoInstance;
  if (args.shape.type == Element::bfloat16) return launch_ntk_pack<bf16>(args, stream);
  if (args.shape.type == Element::float16) return launch_ntk_pack<half>(args, stream);
  return kNoInstance;
}

int ntk_attention_forward(const NtkForward& args, void* stream) {
  return with_head(args.shape.type, args.shape.width, [&](auto head) {
    using Head = decltype(head);
    return launch_ntk_forward<typename Head::Type, Head::kWidth>(args, stream);
  });
}

int ntk_attention_backward(const NtkBackward& args, void* stream) {
  return with_head(args.shape.type, args.shape.width, [&](auto head) {
    using Head = decltype(head);
    return launch_ntk_backward<typename Head::Type, Head::kWidth>(args, stream);
  });
}

}  // namespace peft::cuda
