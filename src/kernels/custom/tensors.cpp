#include "src/kernels/custom/tensors.h"

#include <ATen/ops/empty.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/kernels/custom_kernels.h"
#include "src/kernels/cuda/common/status.h"

namespace peft::custom {

bool has_element(at::ScalarType type) { return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf; }

cuda::Element element_of(at::ScalarType type) {
  if (!has_element(type)) throw_error("custom kernels: no instance for {}", c10::toString(type));
  return type == at::kFloat ? cuda::Element::float32
                            : (type == at::kHalf ? cuda::Element::float16 : cuda::Element::bfloat16);
}

void* stream_of(const at::Tensor& x) {
  if (x.is_cpu()) return nullptr;
  return c10::impl::VirtualGuardImpl(x.device().type()).getStream(x.device()).native_handle();
}

void check(int status, std::string_view kernel, const at::Tensor& of) {
  if (status == 0) return;
  const std::string what =
      fmt::format("{} of {} {}", kernel, fmt::join(of.sizes(), "x"), c10::toString(of.scalar_type()));
  if (status == cuda::kBuiltWithoutCuda) throw_error("{}: built without CUDA; configure with -DPEFT_CUDA=ON", what);
  if (status == cuda::kNoInstance) throw_error("{}: no instance of the kernel", what);
  throw_error("{}: CUDA error {}", what, status);
}

bool on_16_bytes(const at::Tensor& x) { return reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0; }

at::Tensor packed(const at::Tensor& x) {
  return !x.defined() || (x.is_contiguous() && on_16_bytes(x)) ? x : x.clone(at::MemoryFormat::Contiguous);
}

const void* pointer(const at::Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

at::Tensor aligned_rows(const at::Tensor& x_THD) {
  const auto fits = [&](int64_t dim) { return x_THD.stride(dim) % 8 == 0 || x_THD.size(dim) == 1; };
  return x_THD.stride(2) == 1 && fits(0) && fits(1) && on_16_bytes(x_THD) ? x_THD
                                                                          : x_THD.clone(at::MemoryFormat::Contiguous);
}

cuda::HeadRows head_rows(const at::Tensor& x_THD) { return {x_THD.data_ptr(), x_THD.stride(0), x_THD.stride(1)}; }

const float* floats(const at::Tensor& x) { return x.const_data_ptr<float>(); }
float* mutable_floats(const at::Tensor& x) { return x.mutable_data_ptr<float>(); }

at::Tensor float_tensor(const at::Tensor& like, at::IntArrayRef shape) {
  return at::empty(shape, like.options().dtype(at::kFloat));
}

std::vector<int32_t> narrowed(const std::vector<int64_t>& values) { return {values.begin(), values.end()}; }

at::Tensor device_bytes(const void* data, std::size_t bytes, at::Device device) {
  at::Tensor host = at::empty({static_cast<int64_t>(bytes)}, at::kByte);
  if (bytes > 0) std::memcpy(host.mutable_data_ptr(), data, bytes);
  return host.to(device);
}

}  // namespace peft::custom

namespace peft {

bool custom_kernels_serve(at::Device device) { return device.is_cuda() || cuda::kernels_are_emulated(); }

}  // namespace peft
