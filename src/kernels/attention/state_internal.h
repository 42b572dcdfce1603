#pragma once
/// The part of a linear state in attention, for the routes with a backward of their own. Private to src/kernels.
///
/// With L the merged log-sum-exp, c = scale q . center and g = e^{c - L}:
///   L = logaddexp(L_s, log b + c)     O = e^{L_s - L} O_s + g a
///   E = [ g dO | -g rowsum(dO * O) ]   dphi = E [Z | den]^T   d[Z | den] = phi^T E   dq = sqrt(scale) phi'(y) dphi + scale (E . [a | b]) center

#include "peft/kernels/attention.h"

namespace peft {

/// Gradient of `features`.     y [..., D], dphi [..., M] -> [..., D]
at::Tensor features_backward(const at::Tensor& y, const at::Tensor& dphi, FeatureMap map);

/// Multipliers of phi (0 or 1/(1-p)), in the type and on the device of `like`; undefined without dropout.     [T,H,M]
at::Tensor feature_dropout_mask(const AttentionArgs& args, int64_t heads, const at::Tensor& like);

/// Merges the state into the softmax part, in place.     out [T,H,D], lse [T,H,1] in the type of sums, -inf for a row without keys
void merge_state(const at::Tensor& out_THD, const at::Tensor& lse_TH1, const at::Tensor& q_THD,
                 const at::Tensor& z_KHMD, const at::Tensor& den_KHM, const AttentionArgs& args);

/// In the type of sums; dq is the state's part alone.
struct StateGradients {
  at::Tensor dq_THD, dz_KHMD, dden_KHM;
};

/// Gradients of the state part from the merged output and log-sum-exp.
StateGradients state_backward(const at::Tensor& dout_THD, const at::Tensor& out_THD, const at::Tensor& lse_TH1,
                              const at::Tensor& q_THD, const at::Tensor& z_KHMD, const at::Tensor& den_KHM,
                              const AttentionArgs& args);

}  // namespace peft
