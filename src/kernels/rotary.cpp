#include "peft/kernels/rotary.h"

#include <ATen/ATen.h>

namespace peft {

at::Tensor rotate(const at::Tensor& x_TGD, const at::Tensor& position_T, const Rotary& rotary) {
  const int64_t width = x_TGD.size(2), turned = rotary.columns > 0 ? rotary.columns : width, half = turned / 2;
  const at::ScalarType wide = x_TGD.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto options = x_TGD.options().dtype(wide);
  // The operations of transformers, whose rounding shows in float32.
  const at::Tensor frequencies_J = 1.0 / at::pow(rotary.base, at::arange(0, turned, 2, options) / turned),
                   angles_TJ = position_T.to(wide).unsqueeze(1) * frequencies_J.unsqueeze(0),
                   cosine = at::cos(angles_TJ).unsqueeze(1), sine = at::sin(angles_TJ).unsqueeze(1);
  const at::Tensor first = x_TGD.narrow(2, 0, half).to(wide), second = x_TGD.narrow(2, half, half).to(wide);
  const at::Tensor rotated =
      at::cat({first * cosine - second * sine, second * cosine + first * sine}, 2).to(x_TGD.scalar_type());
  return turned == width ? rotated : at::cat({rotated, x_TGD.narrow(2, turned, width - turned)}, 2);
}

}  // namespace peft
