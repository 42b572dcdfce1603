#include "src/kernels/cpu/kernels.h"

namespace peft::cpu {

namespace baseline {
const Kernels& kernels();
}
#if defined(__x86_64__)
namespace avx2 {
const Kernels& kernels();
}
namespace avx512 {
const Kernels& kernels();
}
namespace avx512_bf16 {
const Kernels& kernels();
}
#endif

AllKernels all_kernels() {
  AllKernels all{{&baseline::kernels()}, 1};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v3")) all.items[all.count++] = &avx2::kernels();
  if (__builtin_cpu_supports("x86-64-v4")) all.items[all.count++] = &avx512::kernels();
  if (__builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16"))
    all.items[all.count++] = &avx512_bf16::kernels();
#endif
  return all;
}

const Kernels& kernels() {
  static const AllKernels all = all_kernels();
  return *all.items[all.count - 1];
}

}  // namespace peft::cpu
