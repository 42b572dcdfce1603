#pragma once
/// How tensors are handed to the kernels of the CPU (src/kernels/cpu). Private to src/kernels.

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <memory>
#include <vector>

#include "peft/kernels/dropout.h"
#include "src/kernels/cpu/kernels.h"

namespace peft {

/// Whether the kernels have an instance for x.
bool on_cpu(const at::Tensor& x);
cpu::Element cpu_element(at::ScalarType type);

/// Of each adapter; none: the site is inactive.     [K]
std::vector<cpu::MaskNames> mask_names(const DropoutSite& site);

/// Masks of rows, and what they point to; an autograd node may hold it.
class CpuRowMasks : public torch::CustomClassHolder {
 public:
  CpuRowMasks(const DropoutSite& site, const PackedBatch& rows);
  cpu::RowMasks view() const { return {rows_->data(), names_.empty() ? nullptr : names_.data()}; }
  bool active() const { return !names_.empty(); }

 private:
  std::shared_ptr<const std::vector<cpu::RowName>> rows_;
  std::vector<cpu::MaskNames> names_;
};

/// body(first, last) over so many rows of so many columns, on the threads that are worth it.
void for_rows(int64_t rows, int64_t columns, const std::function<void(int64_t, int64_t)>& body);

}  // namespace peft
