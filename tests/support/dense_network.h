#pragma once
/// The network of test_network.h as the papers describe its parts: float64, one sequence at a time, plain operations. Shares no code with
/// src/.
/// n tokens of a sequence, P virtual tokens or prefix pairs, C width, H heads, G key/value heads, D head width, V vocabulary, N labels.

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "tests/support/test_network.h"

namespace peft {

/// What one adapter adds.
struct DenseAdditions {
  struct Pairs {
    at::Tensor k_PGD, v_PGD;
  };
  std::map<std::string, Pairs> pairs;         ///< by attention
  std::map<std::string, at::Tensor> maps_CO;  ///< by linear map: y += x maps_CO
  at::Tensor prompt_PC = {};                  ///< rows in front of the text
  int64_t first_position = 0;                 ///< of the first row that enters the stack that reads the text
};

struct DenseNetwork {
  TestNetwork net;
  std::map<std::string, at::Tensor> weights;  ///< by their names in the file

  explicit DenseNetwork(const TestNetwork& network) : net(network) {
    for (const auto& [name, tensor] : network.tensors()) weights[name] = tensor.to(at::kDouble);
  }

  /// Rows of the last stack's text.     -> [n, C]
  at::Tensor hidden(const Text& source, const Text& target, const DenseAdditions& more = {}) const {
    if (!net.two_stacks()) {
      const at::Tensor x = stack(net.stacks, source, more.prompt_PC, more.first_position, {}, more);
      return x.narrow(0, x.size(0) - length(source), length(source));
    }
    const at::Tensor memory = stack("encoder", source, more.prompt_PC, more.first_position, {}, more);
    return stack("decoder", target, {}, 0, memory, more);
  }

  /// Of the rows of a text.     -> [C]
  at::Tensor pooled(const at::Tensor& x_nC, const Text& text) const {
    if (net.pool == "mean") return x_nC.sum(0) / static_cast<double>(x_nC.size(0));
    if (net.pool == "first_of_text") return x_nC[0];
    if (net.pool == "last") return x_nC[x_nC.size(0) - 1];
    const auto last = std::find(text.ids.rbegin(), text.ids.rend(), net.eos_token);
    return x_nC[text.ids.rend() - last - 1];
  }
  at::Tensor classify(const at::Tensor& pooled_C) const {
    return at::mv(w("classifier.weight"), pooled_C) + w("classifier.bias");
  }

  /// Over the vocabulary.     -> [n, V]
  at::Tensor logits(const at::Tensor& x_nC) const {
    const at::Tensor y =
        at::matmul(x_nC * net.output_scale, w(net.output == "own" ? "lm_head.weight" : "net.words.weight").t());
    return net.output_offset ? y + w("lm_bias") : y;
  }

 private:
  static int64_t length(const Text& text) { return static_cast<int64_t>(text.ids.size()); }
  const at::Tensor& w(const std::string& name) const { return weights.at(name); }

  at::Tensor linear(const at::Tensor& x, const std::string& module, bool bias, const DenseAdditions& more) const {
    const at::Tensor& weight = w(module + ".weight");
    at::Tensor y = at::matmul(x, net.input_major ? weight : weight.t());
    if (bias) y = y + w(module + ".bias");
    const auto it = more.maps_CO.find(module);
    return it == more.maps_CO.end() ? y : y + at::matmul(x, it->second);
  }

  at::Tensor norm(const at::Tensor& x, const std::string& module) const {
    if (net.norm == "rms") return x / at::sqrt((x * x).mean(-1, true) + 1e-6) * w(module + ".weight");
    const at::Tensor centred = x - x.mean(-1, true);
    const at::Tensor y = centred / at::sqrt((centred * centred).mean(-1, true) + 1e-6) * w(module + ".weight");
    return net.norm_bias ? y + w(module + ".bias") : y;
  }

  at::Tensor activated(const at::Tensor& x) const {
    if (net.activation == "relu") return x * (x > 0).to(at::kDouble);
    if (net.activation == "silu") return x / (1.0 + at::exp(-x));
    if (net.activation == "tanh") return at::tanh(x);
    if (net.activation == "gelu_new")
      return 0.5 * x * (1.0 + at::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    return 0.5 * x * (1.0 + at::erf(x / std::sqrt(2.0)));
  }

  /// Row i stands at position first + i.     -> [P + n, C]
  at::Tensor embedded(const std::string& name, const Text& text, const at::Tensor& prompt_PC, int64_t first) const {
    const int64_t prompt = prompt_PC.defined() ? prompt_PC.size(0) : 0;
    std::vector<at::Tensor> rows;
    for (int64_t i = 0; i < prompt + length(text); ++i) {
      at::Tensor row;
      if (i < prompt) {
        row = prompt_PC[i];
      } else {
        const int64_t id = text.ids[i - prompt];
        row = w("net.words.weight")[id];
        if (id == net.padding) row = row.detach();
        row = row * net.embedding_scale;
      }
      if (net.token_types > 0) row = row + w("net." + name + ".types.weight")[i < prompt ? 0 : text.types[i - prompt]];
      if (net.positions > 0) row = row + w("net." + name + ".positions.weight")[first + i + net.position_offset];
      rows.push_back(row);
    }
    const at::Tensor x = at::stack(rows);
    return net.embedding_norm ? norm(x, "net." + name + ".embedding_norm") : x;
  }

  /// `first`: position of the first row.     -> [P + n, C]
  at::Tensor stack(const std::string& name, const Text& text, const at::Tensor& prompt_PC, int64_t first,
                   const at::Tensor& memory, const DenseAdditions& more) const {
    at::Tensor x = embedded(name, text, prompt_PC, first);
    const auto branch = [&](const std::string& norm_name, const auto& function) {
      if (net.norm_place == "pre") {
        x = x + function(norm(x, norm_name));
      } else {
        x = norm(x + function(x), norm_name);
      }
    };
    for (int64_t i = 0; i < net.layers; ++i) {
      const std::string layer = TestNetwork::layer_name(name, i);
      for (const std::string& attention_name : net.attention_names(name)) {
        branch(layer + attention_name + "_norm", [&](const at::Tensor& h) {
          return attention(name, layer + attention_name, i, h, attention_name == "self" ? at::Tensor() : memory, first,
                           more);
        });
      }
      branch(layer + "feed_forward_norm", [&](const at::Tensor& h) {
        const bool bias = net.feed_forward_bias;
        const at::Tensor up = linear(h, layer + "up", bias, more),
                         inner = net.gated ? activated(linear(h, layer + "gate", bias, more)) * up : activated(up);
        return linear(inner, layer + "down", bias, more);
      });
    }
    return net.final_norm ? norm(x, "net." + name + ".final_norm") : x;
  }

  /// Of one head, plane by plane.     x [n, D]
  at::Tensor turned(const at::Tensor& x, int64_t first, double base) const {
    const int64_t turning = net.rotary_columns > 0 ? net.rotary_columns : net.head_dim;
    std::vector<at::Tensor> columns(static_cast<std::size_t>(net.head_dim));
    for (int64_t c = 0; c < net.head_dim; ++c) columns[c] = x.select(1, c);
    for (int64_t j = 0; j < turning / 2; ++j) {
      const int64_t other = j + turning / 2;
      std::vector<double> cosines, sines;
      for (int64_t i = 0; i < x.size(0); ++i) {
        const double angle = static_cast<double>(first + i) /
                             std::pow(base, 2.0 * static_cast<double>(j) / static_cast<double>(turning));
        cosines.push_back(std::cos(angle));
        sines.push_back(std::sin(angle));
      }
      const at::Tensor cosine = at::tensor(cosines, at::kDouble), sine = at::tensor(sines, at::kDouble);
      columns[j] = x.select(1, j) * cosine - x.select(1, other) * sine;
      columns[other] = x.select(1, j) * sine + x.select(1, other) * cosine;
    }
    return at::stack(columns, 1);
  }

  /// T5's bucket of a key `distance` positions behind the query.
  int64_t bucket(int64_t distance, bool bidirectional) const {
    int64_t count = net.buckets, offset = 0, back = std::max<int64_t>(-distance, 0);
    if (bidirectional) {
      count /= 2;
      if (distance > 0) offset = count;
      back = std::abs(distance);
    }
    const int64_t exact = count / 2;
    if (back < exact) return offset + back;
    const double share = std::log(static_cast<double>(back) / static_cast<double>(exact)) /
                         std::log(static_cast<double>(net.max_distance) / static_cast<double>(exact));
    return offset + std::min(count - 1, exact + static_cast<int64_t>(share * static_cast<double>(count - exact)));
  }

  /// Self attention of the rows h, or attention to `memory`.     -> [n, C]
  at::Tensor attention(const std::string& stack_name, const std::string& module, int64_t layer, const at::Tensor& h,
                       const at::Tensor& memory, int64_t first, const DenseAdditions& more) const {
    const bool self = !memory.defined(), bias = net.qkv_bias;
    const at::Tensor& source = self ? h : memory;
    const int64_t queries = net.heads * net.head_dim, keys = net.kv_heads * net.head_dim, n = h.size(0);
    at::Tensor q, k, v;
    if (self && net.fused) {
      const at::Tensor whole = linear(h, module + ".qkv", bias, more);
      q = whole.narrow(1, 0, queries);
      k = whole.narrow(1, queries, keys);
      v = whole.narrow(1, queries + keys, keys);
    } else {
      q = linear(h, module + ".q", bias, more);
      k = linear(source, module + ".k", bias, more);
      v = linear(source, module + ".v", bias, more);
    }
    const auto pairs = more.pairs.find(module);
    const int64_t prefix = pairs == more.pairs.end() ? 0 : pairs->second.k_PGD.size(0), m = prefix + k.size(0);

    // Prefix pair p stands at position first - prefix + p; queries and keys of the text, at first + i.
    at::Tensor hidden = at::zeros({n, m}, at::kBool), buckets = at::zeros({n, m}, at::kLong),
               biased = at::zeros({n, m}, at::kDouble);
    const int64_t window = self ? TestNetwork::of_layer<int64_t>(net.windows, layer, 0) : 0;
    for (int64_t i = 0; i < n && self; ++i) {
      for (int64_t j = 0; j < m; ++j) {
        const int64_t distance = j - prefix - i;
        const bool behind = stack_name == "decoder" && j >= prefix && distance > 0;
        if (behind || (window > 0 && distance <= -window)) hidden[i][j] = true;
        if (net.buckets == 0 || j < prefix) continue;
        buckets[i][j] = bucket(distance, stack_name == "encoder");
        biased[i][j] = 1.0;
      }
    }
    std::vector<at::Tensor> outputs;
    for (int64_t head = 0; head < net.heads; ++head) {
      const int64_t group = head / (net.heads / net.kv_heads), d = net.head_dim;
      at::Tensor q_nD = q.narrow(1, head * d, d), k_mD = k.narrow(1, group * d, d), v_mD = v.narrow(1, group * d, d);
      if (self && !net.rotary_bases.empty()) {
        const double base = TestNetwork::of_layer(net.rotary_bases, layer, 0.0);
        q_nD = turned(q_nD, first, base);
        k_mD = turned(k_mD, first, base);
      }
      if (prefix > 0) {
        k_mD = at::cat({pairs->second.k_PGD.select(1, group), k_mD});
        v_mD = at::cat({pairs->second.v_PGD.select(1, group), v_mD});
      }
      at::Tensor scores = at::matmul(q_nD, k_mD.t()) * net.scale_of(layer);
      if (self && net.buckets > 0) {
        const at::Tensor table = w("net." + stack_name + ".relative_bias.weight").select(1, head);
        scores = scores + table.index_select(0, buckets.flatten()).view({n, m}) * biased;
      }
      const at::Tensor weight = at::exp(scores.masked_fill(hidden, -std::numeric_limits<double>::infinity()));
      outputs.push_back(at::matmul(weight / weight.sum(1, true), v_mD));
    }
    return linear(at::cat(outputs, 1), module + ".o", net.output_bias, more);
  }
};

}  // namespace peft
