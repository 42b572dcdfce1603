#include "src/kernels/cuda/ntk_attention/instances.cuh"
#include "src/kernels/cuda/ntk_attention/pack.cuh"

namespace peft::cuda {
namespace {

template <int kWidth>
struct Forward {
  template <class T>
  static int run(const NtkForward& args, void* stream) {
    return launch_ntk_forward<T, kWidth>(args, stream);
  }
};
template <int kWidth>
struct Backward {
  template <class T>
  static int run(const NtkBackward& args, void* stream) {
    return launch_ntk_backward<T, kWidth>(args, stream);
  }
};

template <class Launch, class Args>
int with_type(const Args& args, void* stream) {
  if (args.shape.type == Element::bfloat16) return Launch::template run<bf16>(args, stream);
  if (args.shape.type == Element::float16) return Launch::template run<half>(args, stream);
  return kNoInstance;
}
template <template <int> class Launch, class Args>
int with_width(const Args& args, void* stream) {
  switch (args.shape.width) {
    case 32:
      return with_type<Launch<32>>(args, stream);
    case 64:
      return with_type<Launch<64>>(args, stream);
    case 80:
      return with_type<Launch<80>>(args, stream);
    case 96:
      return with_type<Launch<96>>(args, stream);
    case 128:
      return with_type<Launch<128>>(args, stream);
    default:
      return kNoInstance;
  }
}

}  // namespace

int ntk_pack(const NtkPack& args, void* stream) {
  if (!ntk_supports(args.shape.width)) return kNoInstance;
  if (args.shape.type == Element::bfloat16) return launch_ntk_pack<bf16>(args, stream);
  if (args.shape.type == Element::float16) return launch_ntk_pack<half>(args, stream);
  return kNoInstance;
}
int ntk_attention_forward(const NtkForward& args, void* stream) { return with_width<Forward>(args, stream); }
int ntk_attention_backward(const NtkBackward& args, void* stream) { return with_width<Backward>(args, stream); }

}  // namespace peft::cuda
