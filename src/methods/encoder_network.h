#pragma once
/// Small trained networks that write virtual tokens and prefixes, as banks. Private to src/methods.
/// N elements of the bank (adapters, or adapters times layers), P rows, I inputs, O outputs, H = width of an LSTM state.

#include <ATen/core/Tensor.h>

namespace peft {

/// Linear maps stored [in, out].
struct BankLinear {
  at::Tensor weight_NIO, bias_NO;
};

/// x W + b for every element.     x_NPI -> [N,P,O]
at::Tensor bank_linear(const at::Tensor& x_NPI, const BankLinear& map);

/// One direction of one LSTM layer; columns of the four gates in torch's order i, f, g, o.
struct BankLstm {
  at::Tensor weight_ih_NI4H, weight_hh_NH4H, bias_ih_N4H, bias_hh_N4H;
};

/// (i,f,g,o) = x Wih + bih + h Whh + bhh;  c' = sig(f) c + sig(i) tanh(g);  h' = sig(o) tanh(c'), from zero states, from the last row to
/// the first when `reverse`. The products of all rows with Wih, and those that give the weights' gradients, are one each; only the
/// recurrence loops.     x_NPI -> states [N,P,H]
at::Tensor bank_lstm(const at::Tensor& x_NPI, const BankLstm& weights, bool reverse);

}  // namespace peft
