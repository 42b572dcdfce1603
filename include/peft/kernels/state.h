#pragma once
/// A linear-attention state: numbers of a fixed size that stand for any number of prefix pairs.     [NTK-Attention, arXiv:2406.14036]
/// K adapters, H heads (or G, shared by H/G query heads each), D head width, M features, P pairs.
///
///   y = sqrt(scale) q     a = phi(y) Z     b = phi(y) . den     O = ( sum_j e^{s_j} v_j + a ) / ( sum_j e^{s_j} + b )

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "peft/kernels/dropout.h"

namespace peft {

enum class FeatureMap {
  elu,      ///< y + 1 (y > 0) or e^y: M = D, positive
  taylor1,  ///< [1, y]: M = 1 + D, any sign
  taylor2   ///< [1, y, y_i^2 / sqrt 2, y_i y_j (i < j)]: M = 1 + D + D (D + 1) / 2; phi(y) . phi(x) = 1 + y.x + (y.x)^2
            ///< / 2
};

int64_t feature_count(FeatureMap map, int64_t width);  ///< M
/// phi of the last dimension; differentiable.     [..., D] -> [..., M]
at::Tensor features(const at::Tensor& y, FeatureMap map);

/// How many (row, head) pairs had a state that was switched off.
struct GatedRows {
  int64_t gated = 0, rows = 0;
};

/// `den` is what enters b: any abs or softplus is applied already. With a center c, log a and log b grow by scale q . c; it is a
/// constant, no gradient reaches it. Where features are signed and b <= 0, the row's state is switched off and gets no gradient.
struct LinearState {
  at::Tensor z_KHMD, den_KHM;
  at::Tensor center_KHD = {};
  FeatureMap map = FeatureMap::elu;
  DropoutSite dropout = {};    ///< on phi
  GatedRows* gated = nullptr;  ///< counts of the forward passes are added here; outlives them
  bool defined() const { return z_KHMD.defined(); }
};

/// The state of P key/value pairs: Z = sum_j phi(sqrt(scale) k_j) v_j^T, den = sum_j phi(sqrt(scale) k_j). `centered` expands around the
/// mean key instead of zero. States of two sets of pairs add (uncentered).     k, v [K,P,G,D]
LinearState state_of_pairs(const at::Tensor& k_KPGD, const at::Tensor& v_KPGD, double scale, FeatureMap map,
                           bool centered);

}  // namespace peft
