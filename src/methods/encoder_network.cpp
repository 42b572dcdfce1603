#include "src/methods/encoder_network.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace peft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Autograd's own loop would add up P gradients of Whh; here they are one product.
struct LstmRecurrence : torch::autograd::Function<LstmRecurrence> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& inputs_NP4H, const at::Tensor& whh, bool reverse) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const int64_t n = inputs_NP4H.size(0), rows = inputs_NP4H.size(1), width = whh.size(1);
    at::Tensor states = at::empty({n, rows, width}, whh.options()), cells = at::empty_like(states),
               gates = at::empty_like(inputs_NP4H);
    at::Tensor h = at::zeros({n, 1, width}, whh.options()), c = at::zeros({n, width}, whh.options());
    for (int64_t s = 0; s < rows; ++s) {
      const int64_t t = reverse ? rows - 1 - s : s;
      const auto sums = at::baddbmm(inputs_NP4H.narrow(1, t, 1), h, whh).squeeze(1).chunk(4, -1);
      const at::Tensor i = at::sigmoid(sums[0]), f = at::sigmoid(sums[1]), g = at::tanh(sums[2]),
                       o = at::sigmoid(sums[3]);
      c = f * c + i * g;
      h = (o * at::tanh(c)).unsqueeze(1);
      gates.select(1, t).copy_(at::cat({i, f, g, o}, -1));
      cells.select(1, t).copy_(c);
      states.narrow(1, t, 1).copy_(h);
    }
    ctx->save_for_backward({whh, states, cells, gates});
    ctx->saved_data["reverse"] = reverse;
    return states;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &whh = saved[0], &states = saved[1], &cells = saved[2], &gates = saved[3];
    const bool reverse = ctx->saved_data["reverse"].toBool();
    const int64_t rows = states.size(1);
    at::Tensor before = at::zeros_like(states),
               dsums = at::empty_like(gates);  // before: the state each row starts from
    if (rows > 1) before.narrow(1, reverse ? 0 : 1, rows - 1).copy_(states.narrow(1, reverse ? 1 : 0, rows - 1));
    at::Tensor dh = at::zeros_like(states.select(1, 0)), dc = at::zeros_like(dh);
    const at::Tensor no_cell = at::zeros_like(dh);
    for (int64_t s = rows - 1; s >= 0; --s) {
      const int64_t t = reverse ? rows - 1 - s : s;
      const auto gate = gates.select(1, t).chunk(4, -1);
      const at::Tensor &i = gate[0], &f = gate[1], &g = gate[2], &o = gate[3];
      const at::Tensor tanh_c = at::tanh(cells.select(1, t)),
                       cell_before = s == 0 ? no_cell : cells.select(1, reverse ? t + 1 : t - 1);
      dh = dh + grads[0].select(1, t);
      dc = dc + dh * o * (1.0 - tanh_c.square());
      dsums.select(1, t).copy_(at::cat({dc * g * i * (1.0 - i), dc * cell_before * f * (1.0 - f),
                                        dc * i * (1.0 - g.square()), dh * tanh_c * o * (1.0 - o)},
                                       -1));
      dc = dc * f;
      dh = at::bmm(dsums.narrow(1, t, 1), whh.transpose(1, 2)).squeeze(1);
    }
    return {dsums, at::bmm(before.transpose(1, 2), dsums), at::Tensor()};
  }
};

}  // namespace

at::Tensor bank_linear(const at::Tensor& x_NPI, const BankLinear& map) {
  return at::baddbmm(map.bias_NO.unsqueeze(1), x_NPI, map.weight_NIO);
}

at::Tensor bank_lstm(const at::Tensor& x_NPI, const BankLstm& weights, bool reverse) {
  const at::Tensor inputs = bank_linear(x_NPI, {weights.weight_ih_NI4H, weights.bias_ih_N4H + weights.bias_hh_N4H});
  return LstmRecurrence::apply(inputs, weights.weight_hh_NH4H, reverse);
}

}  // namespace peft
