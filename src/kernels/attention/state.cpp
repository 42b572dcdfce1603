#include "peft/kernels/state.h"

#include <ATen/ATen.h>

#include <cmath>

#include "src/kernels/attention/state_internal.h"

namespace peft {
namespace {

/// Index pairs i < j in the order (0,1), (0,2), .. (D-2,D-1).     [2, D (D-1) / 2]
at::Tensor pairs(const at::Tensor& y) {
  return at::triu_indices(y.size(-1), y.size(-1), 1, y.options().dtype(at::kLong));
}

at::Tensor ones_column(const at::Tensor& y) { return at::ones_like(y.narrow(-1, 0, 1)); }

}  // namespace

int64_t feature_count(FeatureMap map, int64_t width) {
  switch (map) {
    case FeatureMap::elu:
      return width;
    case FeatureMap::taylor1:
      return 1 + width;
    case FeatureMap::taylor2:
      return 1 + width + width * (width + 1) / 2;
  }
  return 0;
}

at::Tensor features(const at::Tensor& y, FeatureMap map) {
  // exp of the clamped value: the branch not taken must not overflow, or its gradient is 0 * inf. Never expm1: it loses
  // small values.
  if (map == FeatureMap::elu) return at::where(y > 0, y + 1.0, at::exp(y.clamp_max(0.0)));
  if (map == FeatureMap::taylor1) return at::cat({ones_column(y), y}, -1);
  const at::Tensor ij = pairs(y);
  return at::cat({ones_column(y), y, y * y * std::sqrt(0.5), y.index_select(-1, ij[0]) * y.index_select(-1, ij[1])},
                 -1);
}

at::Tensor features_backward(const at::Tensor& y, const at::Tensor& dphi, FeatureMap map) {
  if (map == FeatureMap::elu) return dphi * at::exp(y.clamp_max(0.0));
  const int64_t width = y.size(-1);
  at::Tensor dy = dphi.narrow(-1, 1, width);
  if (map == FeatureMap::taylor1) return dy;
  // The second-order part is y^T W y / 2 with a symmetric W: its derivative is W y.
  const at::Tensor ij = pairs(y), products = dphi.narrow(-1, 1 + 2 * width, ij.size(1));
  std::vector<int64_t> shape = y.sizes().vec();
  shape.back() = width * width;
  at::Tensor w = at::zeros(shape, y.options());
  w.index_copy_(-1, ij[0] * width + ij[1], products);
  w.index_copy_(-1, ij[1] * width + ij[0], products);
  w = w.unflatten(-1, {width, width});
  w.diagonal(0, -2, -1).copy_(dphi.narrow(-1, 1 + width, width) * std::sqrt(2.0));
  return dy + at::matmul(w, y.unsqueeze(-1)).squeeze(-1);
}

LinearState state_of_pairs(const at::Tensor& k_KPGD, const at::Tensor& v_KPGD, double scale, FeatureMap map,
                           bool centered) {
  const at::Tensor k_KGPD = k_KPGD.transpose(1, 2), v_KGPD = v_KPGD.transpose(1, 2);
  LinearState state;
  state.map = map;
  at::Tensor y = k_KGPD;
  if (centered) {
    state.center_KHD = k_KGPD.mean(2);
    y = y - state.center_KHD.unsqueeze(2);
  }
  const at::Tensor phi_KGPM = features(y * std::sqrt(scale), map);
  state.z_KHMD = at::matmul(phi_KGPM.transpose(2, 3), v_KGPD);
  state.den_KHM = phi_KGPM.sum(2);
  return state;
}

}  // namespace peft
