#pragma once
/// BERT as its paper and docs/formats.md#bert describe it, with padding and masks, in float64: shares no code with src/.

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/tiny_bert.h"

namespace peft {

struct DenseBert {
  std::map<std::string, at::Tensor> weights;  ///< BertForSequenceClassification's names
  int64_t heads = 2, layers = 2;
  int64_t padding = 3;                        ///< pad columns beyond the longest text
  at::Tensor prompt_PC = {};                  ///< rows in front of every text
  at::Tensor deep_LPC = {};                   ///< rows that overwrite them before layers 1..
  at::Tensor offsets_SC = {};                 ///< added to the word embeddings of text positions 0..S-1, pads included
  bool pool_first = true;                     ///< with a prompt: the first row; else the text's first
  at::Tensor keys_LPC = {}, values_LPC = {};  ///< prefix pairs; text positions start at P
  std::vector<bool> prefixed = {};            ///< by layer: whether it has pairs; empty: all have
  bool shift = true;                          ///< false: positions start at 0 all the same
  struct State {  ///< adds weight * (phi z) and weight * (phi . den) to the sums of attention
    std::function<at::Tensor(const at::Tensor&)> phi;  ///< of q / D^(1/4)
    at::Tensor z_LHMD, den_LHM, center_LHD;            ///< weight: e^(q . center / sqrt D), 1 without a center
    int64_t shift = 0;                                 ///< text positions start here
  };
  std::optional<State> state = {};

  explicit DenseBert(const TinyBert& tiny) : heads(tiny.heads), layers(tiny.layers) {
    for (const auto& [name, tensor] : tiny.tensors()) weights[name] = tensor.to(at::kDouble);
  }

  at::Tensor logits(const std::vector<Text>& texts) const {
    const int64_t batch = static_cast<int64_t>(texts.size()), extra = prompt_PC.defined() ? prompt_PC.size(0) : 0;
    int64_t longest = 0;
    for (const Text& text : texts) longest = std::max(longest, static_cast<int64_t>(text.ids.size()));
    const int64_t columns = extra + longest + padding;
    at::Tensor ids = at::zeros({batch, columns}, at::kLong), types = at::zeros({batch, columns}, at::kLong),
               mask = at::zeros({batch, columns}, at::kDouble);
    for (int64_t b = 0; b < batch; ++b) {
      mask[b].narrow(0, 0, extra + static_cast<int64_t>(texts[b].ids.size())).fill_(1.0);
      for (std::size_t i = 0; i < texts[b].ids.size(); ++i) {
        ids[b][extra + static_cast<int64_t>(i)] = texts[b].ids[i];
        types[b][extra + static_cast<int64_t>(i)] = texts[b].types[i];
      }
    }
    at::Tensor x = w("bert.embeddings.word_embeddings.weight").index({ids});
    for (int64_t b = 0; b < batch && extra > 0; ++b) x[b].narrow(0, 0, extra).copy_(prompt_PC);
    if (offsets_SC.defined()) {
      const int64_t shifted = std::min(offsets_SC.size(0), columns - extra);
      x = at::cat({x.narrow(1, 0, extra), x.narrow(1, extra, shifted) + offsets_SC.narrow(0, 0, shifted),
                   x.narrow(1, extra + shifted, columns - extra - shifted)},
                  1);
    }
    const int64_t start = keys_LPC.defined() ? (shift ? keys_LPC.size(1) : 0) : state ? state->shift : 0;
    x = x + w("bert.embeddings.token_type_embeddings.weight").index({types}) +
        w("bert.embeddings.position_embeddings.weight").narrow(0, start, columns).unsqueeze(0);
    x = norm(x, "bert.embeddings.LayerNorm");
    for (int64_t i = 0; i < layers; ++i) {
      const std::string layer = "bert.encoder.layer." + std::to_string(i) + ".";
      if (deep_LPC.defined() && i > 0)
        x = at::cat({deep_LPC[i].expand({batch, -1, -1}), x.narrow(1, extra, columns - extra)}, 1);
      x = norm(x + linear(attention(x, mask, layer + "attention.self.", i), layer + "attention.output.dense"),
               layer + "attention.output.LayerNorm");
      const at::Tensor up = linear(x, layer + "intermediate.dense"),
                       hidden = up * 0.5 * (1.0 + at::erf(up / std::sqrt(2.0)));
      x = norm(x + linear(hidden, layer + "output.dense"), layer + "output.LayerNorm");
    }
    const at::Tensor pooled = x.select(1, pool_first ? 0 : extra);
    return linear(at::tanh(linear(pooled, "bert.pooler.dense")), "classifier");
  }

 private:
  const at::Tensor& w(const std::string& name) const { return weights.at(name); }
  at::Tensor linear(const at::Tensor& x, const std::string& module) const {
    return at::matmul(x, w(module + ".weight").t()) + w(module + ".bias");
  }
  at::Tensor norm(const at::Tensor& x, const std::string& module) const {
    const at::Tensor centred = x - x.mean(-1, true);
    return centred / at::sqrt(centred.square().mean(-1, true) + 1e-12) * w(module + ".weight") + w(module + ".bias");
  }
  at::Tensor attention(const at::Tensor& x, at::Tensor mask_BN, const std::string& module, int64_t layer) const {
    const int64_t batch = x.size(0), width = x.size(2), head = width / heads;
    at::Tensor keys = linear(x, module + "key"), values = linear(x, module + "value");
    if (keys_LPC.defined() && (prefixed.empty() || prefixed[layer])) {
      const auto in_front = [&](const at::Tensor& pairs, const at::Tensor& rows) {
        return at::cat({pairs[layer].expand({batch, -1, -1}), rows}, 1);
      };
      keys = in_front(keys_LPC, keys);
      values = in_front(values_LPC, values);
      mask_BN = at::cat({at::ones({batch, keys_LPC.size(1)}, at::kDouble), mask_BN}, 1);
    }
    const auto split = [&](const at::Tensor& t) { return t.view({batch, -1, heads, head}).transpose(1, 2); };
    const at::Tensor queries = split(linear(x, module + "query"));
    at::Tensor scores = at::matmul(queries, split(keys).transpose(2, 3)) / std::sqrt(static_cast<double>(head));
    scores = scores.masked_fill(mask_BN.eq(0).unsqueeze(1).unsqueeze(1), -std::numeric_limits<double>::infinity());
    if (state) {
      const at::Tensor phi = state->phi(queries / std::pow(static_cast<double>(head), 0.25));
      at::Tensor a = at::matmul(phi, state->z_LHMD[layer]), b = at::matmul(phi, state->den_LHM[layer].unsqueeze(-1));
      const at::Tensor on = b > 0;
      if (state->center_LHD.defined()) {
        const at::Tensor weight =
            at::exp(at::matmul(queries, state->center_LHD[layer].unsqueeze(-1)) / std::sqrt(static_cast<double>(head)));
        a = a * weight;
        b = b * weight;
      }
      const at::Tensor mass = at::exp(scores), zero = at::zeros_like(b);
      const at::Tensor sums = at::matmul(mass, split(values)) + at::where(on, a, zero);
      return (sums / (mass.sum(-1, true) + at::where(on, b, zero))).transpose(1, 2).reshape({batch, -1, width});
    }
    return at::matmul(at::softmax(scores, -1), split(values)).transpose(1, 2).reshape({batch, -1, width});
  }
};

}  // namespace peft
