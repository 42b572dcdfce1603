#include "src/kernels/cpu_rows.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "peft/base/hash.h"
#include "src/kernels/cuda/common/dropout.h"

namespace peft {

bool on_cpu(const at::Tensor& x) {
  const at::ScalarType type = x.scalar_type();
  return x.is_cpu() && (type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf);
}

cpu::Element cpu_element(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return cpu::Element::f64;
    case at::kBFloat16:
      return cpu::Element::bf16;
    case at::kHalf:
      return cpu::Element::f16;
    default:
      return cpu::Element::f32;
  }
}

std::vector<cpu::MaskNames> mask_names(const DropoutSite& site) {
  std::vector<cpu::MaskNames> names;
  if (!site.active()) return names;
  const DropoutContext& context = *site.context;
  for (std::size_t k = 0; k < context.seeds.size(); ++k) {
    const cuda::MaskStream stream =
        cuda::mask_stream(hash64(site.name, context.seeds[k]), site.of(static_cast<int64_t>(k)));
    names.push_back({.key = {stream.key[0], stream.key[1]},
                     .limit = stream.limit,
                     .step = static_cast<uint32_t>(context.steps[k]),
                     .scale = stream.scale});
  }
  return names;
}

CpuRowMasks::CpuRowMasks(const DropoutSite& site, const PackedBatch& rows)
    : rows_(rows.derived<std::vector<cpu::RowName>>(
          "rows of masks",
          [&] {
            std::vector<cpu::RowName> all;
            for (int64_t b = 0; b < rows.sequences(); ++b) {
              for (int64_t t = rows.begin(b); t < rows.begin(b) + rows.length(b); ++t)
                all.push_back(
                    {static_cast<uint32_t>(rows.index()[t]), static_cast<uint32_t>(rows.ordinal(b)), rows.adapter(b)});
            }
            return all;
          })),
      names_(mask_names(site)) {}

void for_rows(int64_t rows, int64_t columns, const std::function<void(int64_t, int64_t)>& body) {
  constexpr int64_t kNumbers = 1 << 14;  // of a thread, at least
  at::parallel_for(0, rows, std::max<int64_t>(1, kNumbers / std::max<int64_t>(1, columns)), body);
}

}  // namespace peft
