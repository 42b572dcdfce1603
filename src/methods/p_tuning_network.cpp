#include "src/methods/p_tuning_network.h"

#include <ATen/ATen.h>

namespace peft {

std::vector<std::pair<int64_t, int64_t>> PromptEncoderShape::maps() const {
  if (type == "LSTM") return {{2 * lstm_width(), 2 * lstm_width()}, {2 * lstm_width(), width}};
  if (paper) return {{width, width}, {width, width}};
  return {{width, hidden}, {hidden, hidden}, {hidden, width}};
}

at::Tensor PromptEncoder::write(const Between& between) const {
  at::Tensor x = rows_KPC;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    x = at::cat({bank_lstm(x, layers[i][0], false), bank_lstm(x, layers[i][1], true)}, -1);
    if (between && i + 1 < layers.size()) x = between(i, x);
  }
  for (std::size_t i = 0; i < maps.size(); ++i) x = bank_linear(i == 0 ? x : at::relu(x), maps[i]);
  return x;
}

PromptEncoder PromptEncoder::slice(int64_t k) const {
  const auto one = [k](const at::Tensor& t) { return t.detach().narrow(0, k, 1); };
  PromptEncoder slice{one(rows_KPC), {}, {}};
  const auto lstm = [&](const BankLstm& w) {
    return BankLstm{one(w.weight_ih_NI4H), one(w.weight_hh_NH4H), one(w.bias_ih_N4H), one(w.bias_hh_N4H)};
  };
  for (const auto& both : layers) slice.layers.push_back({lstm(both[0]), lstm(both[1])});
  for (const BankLinear& map : maps) slice.maps.push_back({one(map.weight_NIO), one(map.bias_NO)});
  return slice;
}

}  // namespace peft
