#include "src/kernels/cuda/prefix_attention/instances.cuh"

namespace peft::cuda {
namespace {

template <class T, int kWidth>
int run(const PrefixForward& args, void* stream) {
  return launch_prefix_forward<T, kWidth>(args, stream);
}
template <class T, int kWidth>
int run(const PrefixBackward& args, void* stream) {
  if (const int error = launch_prefix_queries<T, kWidth>(args, stream)) return error;
  return launch_prefix_keys<T, kWidth>(args, stream);
}

template <int kWidth, class Args>
int with_type(const Args& args, void* stream) {
  if (args.shape.type == Element::bfloat16) return run<bf16, kWidth>(args, stream);
  if (args.shape.type == Element::float16) return run<half, kWidth>(args, stream);
  return kNoInstance;
}
template <class Args>
int with_width(const Args& args, void* stream) {
  switch (args.shape.width) {
    case 32:
      return with_type<32>(args, stream);
    case 64:
      return with_type<64>(args, stream);
    case 80:
      return with_type<80>(args, stream);
    case 96:
      return with_type<96>(args, stream);
    case 128:
      return with_type<128>(args, stream);
    default:
      return kNoInstance;
  }
}

}  // namespace

int prefix_attention_forward(const PrefixForward& args, void* stream) { return with_width(args, stream); }
int prefix_attention_backward(const PrefixBackward& args, void* stream) { return with_width(args, stream); }

}  // namespace peft::cuda
