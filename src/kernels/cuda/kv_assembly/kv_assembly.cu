#include "src/kernels/cuda/kv_assembly/launch.cuh"

namespace peft::cuda {

int kv_assembly(const KvAssembly& assembly, void* stream) { return launch_kv_assembly(assembly, stream); }

int kv_assembly_backward(const KvAssemblyBackward& assembly, void* stream) {
  return launch_kv_assembly_backward(assembly, stream);
}

}  // namespace peft::cuda
