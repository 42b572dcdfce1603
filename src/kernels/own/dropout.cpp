#include "src/kernels/own/dropout.h"

#include "peft/base/error.h"
#include "peft/base/hash.h"
#include "src/kernels/own/tensors.h"

namespace peft::own {
namespace {

std::vector<cuda::MaskRow> mask_rows(const PackedBatch& rows) {
  std::vector<cuda::MaskRow> all;
  all.reserve(rows.position().size());
  for (int64_t b = 0; b < rows.sequences(); ++b) {
    for (int64_t t = rows.begin(b); t < rows.begin(b) + rows.length(b); ++t) {
      all.push_back({static_cast<uint32_t>(rows.position()[t]), static_cast<uint32_t>(rows.ordinal(b)),
                     count(rows.adapter(b)), 0});
    }
  }
  return all;
}

}  // namespace

cuda::NamedDropout NamedMasks::arguments() const {
  if (!active()) return {};
  return {array<cuda::MaskRow>(rows), array<cuda::MaskStream>(streams), array<int64_t>(steps)};
}

NamedMasks named_masks(const DropoutSite& site, const Batch& rows, const at::Tensor& x_TC) {
  if (!site.active()) return {};
  if (rows == nullptr || rows->rows() != x_TC.size(0) || rows->device() != x_TC.device())
    throw_error("dropout {}: {} rows to drop from, but the batch has {}, or they are on other devices", site.name,
                x_TC.size(0), rows == nullptr ? 0 : rows->rows());
  const DropoutContext& context = *site.context;
  std::vector<cuda::MaskStream> streams;
  for (std::size_t k = 0; k < context.seeds.size(); ++k) {
    streams.push_back(cuda::mask_stream(hash64(site.name, context.seeds[k]), site.of(static_cast<int64_t>(k))));
  }
  const auto names =
      rows->derived<at::Tensor>("mask rows", [&] { return device_array(mask_rows(*rows), rows->device()); });
  return {*names, device_array(streams, x_TC.device()), device_array(context.steps, x_TC.device())};
}

}  // namespace peft::own
