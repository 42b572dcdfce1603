#pragma once
/// What inst_*.cu instantiate and the dispatch calls.

#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/packed_attention/api.h"

namespace peft::cuda {

template <class T, int kWidth>
int launch_packed_forward(const PackedForward& args, void* stream);
template <class T, int kWidth>
int launch_packed_queries(const PackedBackward& args, void* stream);
template <class T, int kWidth>
int launch_packed_keys(const PackedBackward& args, void* stream);

}  // namespace peft::cuda
