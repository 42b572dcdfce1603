#pragma once
/// What inst_*.cu instantiate and the dispatch calls.

#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/common/dropout.h"
#include "src/kernels/cuda/prefix_attention/api.h"

namespace peft::cuda {

template <class T, int kWidth>
int launch_prefix_forward(const PrefixForward& args, void* stream);
template <class T, int kWidth>
int launch_prefix_queries(const PrefixBackward& args, void* stream);
/// packed_attention's prefixes, too: `dropout` is of their probabilities, by the masks of attention_chunk(head, true, j).
template <class T, int kWidth>
int launch_prefix_keys(const PrefixBackward& args, const NamedDropout& dropout, void* stream);

}  // namespace peft::cuda
