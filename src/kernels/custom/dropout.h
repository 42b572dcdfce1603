#pragma once
/// A use of dropout as our kernels are told of it. Private to src/kernels.

#include "peft/kernels/dropout.h"
#include "src/kernels/cuda/common/dropout.h"

namespace peft::custom {

/// The masks that peft::dropout() gives the same site, from names on the device: nothing of a mask's size is made.
struct NamedMasks {
  at::Tensor rows, streams,
      steps;  ///< bytes of MaskRow [T], MaskStream [K] and int64 [K]; undefined: nothing is dropped
  bool active() const { return streams.defined(); }
  cuda::NamedDropout arguments() const;  ///< valid as long as the tensors are
};

/// For kernels over x_TC, whose row t is row t of `rows`. An inactive site needs no `rows`.
/// Throws Error when `rows` counts other rows than x, or lies on another device.
NamedMasks named_masks(const DropoutSite& site, const Batch& rows, const at::Tensor& x_TC);

/// peft::dropout() of float32, bfloat16 or half in one launch each way; C a multiple of 8. Throws Error for other types and widths.
at::Tensor row_dropout(const at::Tensor& x_TC, const DropoutSite& site, const Batch& rows);
/// Its forward by masks that are on the device already.
at::Tensor row_dropout(const at::Tensor& x_TC, const NamedMasks& masks);

}  // namespace peft::custom
