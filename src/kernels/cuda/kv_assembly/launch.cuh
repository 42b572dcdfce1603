#pragma once
/// From the arguments of api.h to launches: checks, types, what is wanted.

#include "src/kernels/cuda/common/access.h"
#include "src/kernels/cuda/kv_assembly/prefix_sum.cuh"

namespace peft::cuda {

/// Halves of heads move in whole pieces when they are rotated.
inline bool valid_width(const KvShape& shape, bool rotate) { return shape.width % (rotate ? 16 : 8) == 0; }

inline int launch_kv_assembly(const KvAssembly& p, void* stream) {
  if (!valid_width(p.shape, p.cos != nullptr) ||
      !multiples_of_8({p.q_stride, p.k_stride, p.v_stride, p.q_out_stride}) ||
      !aligned({p.q, p.k, p.v, p.prefix_k, p.prefix_v, p.q_out, p.keys, p.values, p.cos, p.sin}))
    return kRefused;
  if (p.row_count == 0) return 0;
  switch (p.shape.type) {
    case Element::bfloat16:
      return launch_kv_rows<bf16>(p, stream);
    case Element::float16:
      return launch_kv_rows<half>(p, stream);
    case Element::float32:
      return launch_kv_rows<float>(p, stream);
  }
  return kRefused;
}

template <class T>
int launch_kv_backward(const KvAssemblyBackward& p, void* stream) {
  if (p.dk != nullptr && p.row_count > 0) {
    if (const int error = launch_kv_rows_backward<T>(p, stream)) return error;
  }
  if (p.dprefix_k == nullptr || p.shape.prefix == 0 || p.tables == 0) return 0;
  return launch_kv_prefix<T>(p, stream);
}
inline int launch_kv_assembly_backward(const KvAssemblyBackward& p, void* stream) {
  if (!valid_width(p.shape, p.cos != nullptr) ||
      !multiples_of_8({p.dq_stride, p.dk_stride, p.dv_stride, p.dq_out_stride}) ||
      !aligned({p.dq_out, p.dkeys, p.dvalues, p.dq, p.dk, p.dv, p.dprefix_k, p.dprefix_v, p.cos, p.sin, p.partial}))
    return kRefused;
  switch (p.shape.type) {
    case Element::bfloat16:
      return launch_kv_backward<bf16>(p, stream);
    case Element::float16:
      return launch_kv_backward<half>(p, stream);
    case Element::float32:
      return launch_kv_backward<float>(p, stream);
  }
  return kRefused;
}

}  // namespace peft::cuda
