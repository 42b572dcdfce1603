#pragma once
/// What inst_*.cu instantiate and the dispatch calls.

#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/ntk_attention/api.h"

namespace peft::cuda {

template <class T>
int launch_ntk_pack(const NtkPack& args, void* stream);
template <class T, int kWidth>
int launch_ntk_forward(const NtkForward& args, void* stream);
template <class T, int kWidth>
int launch_ntk_backward(const NtkBackward& args, void* stream);

}  // namespace peft::cuda
