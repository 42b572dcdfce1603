#include "src/methods/prefix_tensors.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "peft/kernels/optimizer.h"

namespace peft {
namespace {

at::Tensor network(const at::Tensor& rows_NPC, const std::vector<BankLinear>& maps) {
  const at::Tensor first = at::tanh(bank_linear(rows_NPC, maps[0]));
  return maps.size() == 1 ? first : bank_linear(first, maps[1]);
}

}  // namespace

std::vector<at::Tensor> PrefixTensors::all() const {
  std::vector<at::Tensor> tensors;
  if (kind == PrefixKind::none) return {key_KLPX, value_KLPX};
  tensors.push_back(rows);
  for (const BankLinear& map : maps) tensors.insert(tensors.end(), {map.weight_NIO, map.bias_NO});
  return tensors;
}

PrefixTensors PrefixTensors::slice(int64_t k) const {
  const auto one = [k](const at::Tensor& t) { return t.defined() ? t.detach().narrow(0, k, 1) : t; };
  PrefixTensors slice{kind, one(key_KLPX), one(value_KLPX), one(rows), {}};
  for (const BankLinear& map : maps) slice.maps.push_back({one(map.weight_NIO), one(map.bias_NO)});
  return slice;
}

std::vector<at::Tensor> PrefixTensors::slots(int64_t width) const {
  std::vector<at::Tensor> slots;
  // unbind, not select: its backward stacks the parts' gradients once, where each select would fill a whole tensor.
  switch (kind) {
    case PrefixKind::none: {
      const auto keys = at::unbind(key_KLPX, 1), values = at::unbind(value_KLPX, 1);
      for (std::size_t l = 0; l < keys.size(); ++l) slots.insert(slots.end(), {keys[l], values[l]});
      break;
    }
    case PrefixKind::simple:
      slots = at::unbind(rows, 1);
      break;
    case PrefixKind::per_layer: {
      std::vector<BankLinear> flat;  // one batched product for all adapters and layers
      for (const BankLinear& map : maps) flat.push_back({map.weight_NIO.flatten(0, 1), map.bias_NO.flatten(0, 1)});
      const at::Tensor pairs = network(rows.flatten(0, 1), flat).unflatten(0, {rows.size(0), rows.size(1)});
      for (const at::Tensor& layer : at::unbind(pairs, 1)) {
        const auto both = at::unbind(layer.unflatten(-1, {2, width}), 2);
        slots.insert(slots.end(), both.begin(), both.end());
      }
      break;
    }
    case PrefixKind::all_layers:
      slots = at::unbind(network(rows, maps).unflatten(-1, {-1, width}), 2);
      break;
  }
  return slots;
}

void PrefixTensors::fit(const std::vector<at::Tensor>& targets, int64_t steps, double learning_rate) const {
  const at::AutoGradMode with_gradients(true);
  const int64_t width = targets.front().size(-1);
  const at::Tensor goal = at::stack(targets).to(rows.options());
  PrefixTensors leaves = slice(0);  // the same memory, but leaves of this fit alone
  std::vector<at::Tensor> tensors = leaves.all(), m, v;
  for (at::Tensor& t : tensors) {
    t.set_requires_grad(true);
    m.push_back(at::zeros_like(t.detach()));
    v.push_back(at::zeros_like(t.detach()));
  }
  for (int64_t step = 1; step <= steps; ++step) {
    const at::Tensor error = at::mse_loss(at::cat(leaves.slots(width)), goal);
    const auto gradients = torch::autograd::grad({error}, tensors);
    for (std::size_t i = 0; i < tensors.size(); ++i)
      adamw_step(tensors[i].detach(), gradients[i].contiguous(), m[i], v[i],
                 {.learning_rate = learning_rate, .step = step});
  }
}

}  // namespace peft
