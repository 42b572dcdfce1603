#pragma once
/// The network that writes the rows of p_tuning, for a bank of K adapters. Private to src/methods.

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "src/methods/encoder_network.h"

namespace peft {

/// Widths of a prompt encoder.
struct PromptEncoderShape {
  std::string type = "MLP";                                  ///< or "LSTM"
  bool paper = false;                                        ///< the paper's widths, else peft's
  int64_t rows = 0, width = 0, hidden = 0, lstm_layers = 0;  ///< P, C, E, and layers of an LSTM
  int64_t lstm_width() const { return paper ? width / 2 : hidden; }
  /// Inputs and outputs of the linear maps.
  std::vector<std::pair<int64_t, int64_t>> maps() const;
};

/// p = maps(u), with relu between the maps; with an LSTM p = maps(BiLSTM(u)).
struct PromptEncoder {
  at::Tensor rows_KPC;                          ///< u
  std::vector<std::array<BankLstm, 2>> layers;  ///< forward and reverse
  std::vector<BankLinear> maps;

  /// `between` is applied to the states [K,P,2h] of every LSTM layer but the last.     -> [K,P,C]
  using Between = std::function<at::Tensor(std::size_t layer, const at::Tensor& states)>;
  at::Tensor write(const Between& between = {}) const;
  /// Adapter k as a bank of one, without history.
  PromptEncoder slice(int64_t k) const;
};

}  // namespace peft
