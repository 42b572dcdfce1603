#include "src/methods/prefix_text.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "peft/base/error.h"
#include "peft/kernels/norm.h"

namespace peft {
namespace {

class InputRecorder : public Sockets {
 public:
  std::vector<at::Tensor> inputs;
  at::Tensor layer_input(const Stack&, int64_t, const at::Tensor& x_TC, const Batch&) override {
    inputs.push_back(x_TC);
    return x_TC;
  }
};

}  // namespace

at::Tensor through_map(const Transformer& model, const Attention& site, const Linear& map, const at::Tensor& x,
                       bool norm) {
  const auto cast = [&](const at::Tensor& t) { return t.defined() ? t.to(x.scalar_type()) : t; };
  const StackSpec& stack = model.spec().stacks[site.stack];
  at::Tensor h = x;
  if (norm && stack.norm_place == NormPlace::pre) {
    const Norm& frozen = site.norm;
    h = normalise(x, {stack.norm, stack.norm_eps, cast(frozen.weight_C), cast(frozen.bias_C)});
  }
  return at::linear(h, cast(map.weight_OC), cast(map.bias_O));
}

std::vector<at::Tensor> layer_inputs(const Transformer& model, const std::vector<int64_t>& ids) {
  const at::NoGradGuard no_grad;
  const auto count = static_cast<int64_t>(ids.size());
  if (const int64_t usable = model.spec().embedding().usable_positions(); count > usable)
    throw_error<ConfigError>("method.num_virtual_tokens: found {}, but the model has {} positions for init_text", count,
                             usable);
  const at::Tensor ids_T = at::tensor(at::ArrayRef<int64_t>(ids), at::kLong).to(model.device());
  const std::vector<PackedBatch::Sequence> one{{count, 0, 0}};
  InputRecorder recorder;
  model.pooled({{ids_T, at::zeros_like(ids_T), std::make_shared<const PackedBatch>(one, 1, model.device())}}, recorder,
               {});
  return recorder.inputs;
}

}  // namespace peft
