#include "peft/models/sites.h"

#include "peft/base/error.h"
#include "peft/kernels/attention.h"
#include "peft/kernels/custom_kernels.h"
#include "peft/models/transformer.h"
#include "src/models/fused.h"

namespace peft {
namespace {

std::vector<const Linear*> named(std::initializer_list<const Linear*> maps) {
  std::vector<const Linear*> sites;
  for (const Linear* map : maps) {
    if (map->weight_OC.defined() && !map->module.empty()) sites.push_back(map);
  }
  return sites;
}

}  // namespace

std::vector<const Linear*> linear_sites(const Attention& attention) {
  return named({&attention.query, &attention.key, &attention.value, &attention.qkv, &attention.output});
}

std::vector<const Linear*> linear_sites(const FeedForward& block) {
  return named({&block.gate, &block.up, &block.down});
}

std::vector<const Attention*> Transformer::attentions() const {
  std::vector<const Attention*> all;
  for (const Stack& stack : stacks_) {
    for (const Layer& layer : stack.layers) {
      for (const Attention& attention : layer.attentions) all.push_back(&attention);
    }
  }
  return all;
}

std::vector<const Linear*> Transformer::linear_sites() const {
  std::vector<const Linear*> sites;
  const auto add = [&](const std::vector<const Linear*>& more) { sites.insert(sites.end(), more.begin(), more.end()); };
  for (const Stack& stack : stacks_) {
    for (const Layer& layer : stack.layers) {
      for (const Attention& attention : layer.attentions) add(peft::linear_sites(attention));
      add(peft::linear_sites(layer.feed_forward));
    }
  }
  for (const HeadLayer& layer : spec_.head()) {
    if (const Linear* map = head_linear(layer.module)) sites.push_back(map);
  }
  return sites;
}

void Transformer::for_tensors(const TensorVisitor& visit_one) {
  // A tensor with several places, as the word table of two stacks, is one tensor.
  std::map<std::string, at::Tensor> visited;
  const TensorVisitor visit = [&](const std::string& name, at::Tensor& tensor) {
    const auto [it, fresh] = visited.try_emplace(name);
    if (fresh) {
      visit_one(name, tensor);
      it->second = tensor;
    } else {
      tensor = it->second;
    }
  };
  const auto one = [&](const std::string& name, at::Tensor& tensor) {
    if (tensor.defined()) visit(name, tensor);
  };
  const auto norm = [&](Norm& n) {
    one(n.module + ".weight", n.weight_C);
    one(n.module + ".bias", n.bias_C);
  };
  const auto linear = [&](Linear& map) {
    if (map.module.empty() || !map.weight_OC.defined()) return;
    at::Tensor stored = map.input_major ? map.weight_OC.t() : map.weight_OC;
    visit(map.module + ".weight", stored);
    map.weight_OC = map.input_major ? stored.t() : stored;
    one(map.module + ".bias", map.bias_O);
  };
  for (Stack& stack : stacks_) {
    stack.front_end->for_tensors(visit);
    if (stack.relative_bias.defined()) one(stack.spec.relative_bias->module + ".weight", stack.relative_bias.table_NH);
    for (Layer& layer : stack.layers) {
      for (Attention& a : layer.attentions) {
        for (Linear* map : {&a.query, &a.key, &a.value, &a.qkv, &a.output}) linear(*map);
        if (!a.qkv.module.empty()) view_parts(a);
      }
      FeedForward& block = layer.feed_forward;
      for (Linear* map : {&block.gate, &block.up, &block.down}) linear(*map);
      for (Attention& attention : layer.attentions) norm(attention.norm);
      norm(layer.feed_forward.norm);
    }
    norm(stack.final_norm);
  }
  for (auto& [module, map] : head_) linear(map);
  one(output_.module + ".weight", output_.weight_OC);
  if (spec_.output) one(spec_.output->bias, output_.bias_O);
}

std::map<std::string, at::Tensor> Transformer::named_tensors() const {
  std::map<std::string, at::Tensor> tensors;
  const_cast<Transformer*>(this)->for_tensors(
      [&](const std::string& name, at::Tensor& tensor) { tensors.emplace(name, tensor); });
  return tensors;
}

void Transformer::unfuse() {
  for (Stack& stack : stacks_) {
    for (Layer& layer : stack.layers) {
      for (Attention& attention : layer.attentions) {
        if (attention.qkv.module.empty()) attention.qkv = {};
      }
    }
  }
}

void Transformer::override_dropout(double p) {
  for (auto* rate : {&spec_.dropout.embedding, &spec_.dropout.attention, &spec_.dropout.attention_output,
                     &spec_.dropout.activation, &spec_.dropout.feed_forward}) {
    if (rate->has_value()) *rate = p;
  }
  for (auto& [kind, head] : spec_.heads) {
    for (HeadLayer& layer : head.layers)
      if (layer.dropout) layer.dropout = p;
  }
}

void Transformer::use_custom_kernels() {
  if (!custom_kernels_serve(device()))
    throw_error<ConfigError>("model.use_kernels: they need a GPU, but the model is on the CPU");
  execution_.custom_kernels = true;
}

std::string Transformer::set_attention(AttentionImplementation wish) {
  std::string backend;
  for (const Stack& stack : stacks_) backend = attention_backend(wish, device(), dtype(), stack.spec.head_dim);
  execution_.attention = wish;
  return backend;
}

}  // namespace peft
