#include "peft/kernels/low_rank.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "peft/kernels/grouped_matmul.h"
#include "src/kernels/cuda/grouped_matmul/api.h"
#include "src/kernels/custom/lora.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

bool custom_low_rank_serves(const LowRankBank& bank, const at::Tensor& x_TC) {
  return custom::has_element(x_TC.scalar_type()) && bank.a_KCR.size(1) % 8 == 0 && bank.b_KRO.size(2) % 8 == 0 &&
         bank.a_KCR.size(2) <= cuda::kMaxRank;
}

/// Rows times the scale of their adapter: on the R columns, where it is cheapest.
at::Tensor scaled(const at::Tensor& low_TR, const std::vector<double>& scales, const PackedBatch& rows) {
  if (std::all_of(scales.begin(), scales.end(), [&](double s) { return s == scales.front(); }))
    return low_TR * scales.front();
  return low_TR * rows_of_adapters(scales, rows, low_TR);
}

}  // namespace

at::Tensor low_rank_addition(const LowRankBank& bank, const at::Tensor& x_TC, const DropoutSite& site,
                             const Batch& rows, const Execution& execution) {
  if (execution.custom_kernels && custom_low_rank_serves(bank, x_TC))
    return custom::lora_addition(dropout(x_TC, site, rows, execution), bank.a_KCR, bank.b_KRO, bank.scale_K, rows);
  const at::Tensor x = dropout(x_TC.to(bank.a_KCR.scalar_type()), site, rows);
  const at::Tensor low_TR = grouped_matmul(x, bank.a_KCR, rows->group_rows());
  return grouped_matmul(scaled(low_TR, bank.scales, *rows), bank.b_KRO, rows->group_rows());
}

}  // namespace peft
