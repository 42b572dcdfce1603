#include <ATen/ATen.h>

#include "peft/base/error.h"
#include "peft/kernels/attention.h"
#include "peft/kernels/own_kernels.h"
#include "peft/models/transformer.h"

namespace peft {
namespace {

/// Every linear map of a layer that this architecture has.
template <class LayerType, class Visit>
void for_linears(LayerType& layer, const Visit& visit) {
  for (auto* map :
       {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.gate, &layer.up, &layer.down}) {
    if (map->weight_OC.defined()) visit(*map);
  }
}

}  // namespace

std::vector<const Linear*> Transformer::linear_sites() const {
  std::vector<const Linear*> sites;
  for (const Layer& layer : layers_) for_linears(layer, [&](const Linear& map) { sites.push_back(&map); });
  for (const HeadLayer& layer : spec_.head) {
    if (const Linear* map = head_linear(layer.module)) sites.push_back(map);
  }
  return sites;
}

void Transformer::for_tensors(const std::function<void(const std::string&, at::Tensor&)>& visit) {
  const auto one = [&](const std::string& name, at::Tensor& tensor) {
    if (tensor.defined()) visit(name, tensor);
  };
  const auto norm = [&](Norm& n) {
    one(n.module + ".weight", n.weight_C);
    one(n.module + ".bias", n.bias_C);
  };
  const auto linear = [&](Linear& map) {
    one(map.module + ".weight", map.weight_OC);
    one(map.module + ".bias", map.bias_O);
  };
  one(spec_.embedding.word + ".weight", word_);
  one(spec_.embedding.position + ".weight", position_);
  one(spec_.embedding.token_type + ".weight", token_type_);
  norm(embedding_norm_);
  for (Layer& layer : layers_) {
    for_linears(layer, linear);
    norm(layer.attention_norm);
    norm(layer.feed_forward_norm);
  }
  for (auto& [module, map] : head_) linear(map);
}

std::map<std::string, at::Tensor> Transformer::named_tensors() const {
  std::map<std::string, at::Tensor> tensors;
  const_cast<Transformer*>(this)->for_tensors(
      [&](const std::string& name, at::Tensor& tensor) { tensors.emplace(name, tensor); });
  return tensors;
}

void Transformer::unfuse() {
  for (Layer& layer : layers_) layer.qkv = {};
}

void Transformer::override_dropout(double p) {
  spec_.dropout = {.hidden = p, .attention = p, .classifier = p};
  for (HeadLayer& layer : spec_.head) {
    if (layer.trained) layer.dropout = p;
  }
}

void Transformer::use_own_kernels() {
  if (!own_kernels_serve(device()))
    throw_error<ConfigError>("model.use_kernels: they need a GPU, but the model is on the CPU");
  own_kernels_ = true;
}

std::string Transformer::set_attention(AttentionImplementation wish) {
  std::string backend = attention_backend(wish, device(), dtype(), spec_.stack.head_dim);
  attention_ = wish;
  return backend;
}

}  // namespace peft
