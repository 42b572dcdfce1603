#pragma once
/// How our own CUDA kernels (src/kernels/cuda) are handed tensors. Private to src/kernels.
///
/// No CUDA header: an api.h takes raw pointers and an opaque stream. What a build without PEFT_CUDA links in the kernels' place is
/// cuda/no_cuda.cpp; tests link the kernels as the emulator runs them, on tensors of the CPU.

#include <ATen/core/Tensor.h>

#include <cstring>
#include <string_view>
#include <vector>

#include "src/kernels/cuda/common/element.h"
#include "src/kernels/cuda/common/row_items.h"

namespace peft::custom {

/// float32, bfloat16 and half have kernels.
bool has_element(at::ScalarType type);
cuda::Element element_of(at::ScalarType type);  ///< throws Error for other types

constexpr int64_t kMaxColumns = 8192;  ///< of the kernels that take whole rows

/// Current stream of the tensor's device; null on the CPU.
void* stream_of(const at::Tensor& x);

/// Throws Error naming kernel, shape and type for a status that is not 0.
void check(int status, std::string_view kernel, const at::Tensor& of);

/// [T,H,D] whose strides and start 16-byte accesses can serve: x itself or a copy.
at::Tensor aligned_rows(const at::Tensor& x_THD);
cuda::HeadRows head_rows(const at::Tensor& x_THD);  ///< of such a tensor

bool on_16_bytes(const at::Tensor& x);   ///< starts there
at::Tensor packed(const at::Tensor& x);  ///< contiguous and on 16 bytes: x itself or a copy; undefined stays undefined

const void* pointer(const at::Tensor& x);  ///< null for an undefined tensor

/// A plan's array on the device, as bytes.
at::Tensor device_bytes(const void* data, std::size_t bytes, at::Device device);
template <class T>
at::Tensor device_array(const std::vector<T>& values, at::Device device) {
  return device_bytes(values.data(), values.size() * sizeof(T), device);
}
template <class T>
const T* array(const at::Tensor& bytes) {
  return static_cast<const T*>(bytes.const_data_ptr());
}

/// Of a float32 tensor; throws for another type.
const float* floats(const at::Tensor& x);
float* mutable_floats(const at::Tensor& x);

at::Tensor float_tensor(const at::Tensor& like, at::IntArrayRef shape);  ///< uninitialised, on the device of `like`

/// Kernels count in 32 bits.
inline int32_t count(int64_t value) { return static_cast<int32_t>(value); }
std::vector<int32_t> narrowed(const std::vector<int64_t>& values);

}  // namespace peft::custom
