#pragma once
/// The parts of the network that methods name: its sites. C columns in, O columns out.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "peft/kernels/attention.h"
#include "peft/models/spec.h"

namespace peft {

/// What a linear map is for. qkv: one map of queries, keys and values.
enum class Role { query, key, value, qkv, attention_output, up, gate, down, head };

/// A named linear map of the network: y = x W^T + b.
struct Linear {
  std::string module = {};  ///< path as peft spells it; empty: part of another map, and no site
  Role role = Role::head;
  at::Tensor weight_OC = {};  ///< undefined: the architecture has no such map
  at::Tensor bias_O = {};     ///< undefined: none
  bool input_major = false;   ///< files hold the transpose
  int64_t in_features() const { return weight_OC.size(1); }
  int64_t out_features() const { return weight_OC.size(0); }
};

struct Norm {
  std::string module;
  at::Tensor weight_C, bias_C;  ///< weight undefined: none
};

/// One attention of a layer. query, key and value always have weights: they are views of `qkv` where that is defined.
struct Attention {
  AttentionSpec spec = {};
  int64_t stack = 0, layer = 0;
  int64_t number = 0;  ///< among all attentions of the model
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  Linear query = {}, key = {}, value = {}, output = {};
  Linear qkv = {};  ///< undefined while the backbone trains, unless it is a site itself
  Norm norm = {};
  const std::string& module() const { return spec.module; }
  int64_t key_width() const { return kv_heads * head_dim; }
};

struct FeedForward {
  Linear up, gate, down;
  Norm norm;
};

struct Layer {
  std::vector<Attention> attentions;
  FeedForward feed_forward;
};

/// The maps that are sites: named, and there.
std::vector<const Linear*> linear_sites(const Attention& attention);
std::vector<const Linear*> linear_sites(const FeedForward& block);

class FrontEnd;

struct Stack {
  StackSpec spec = {};
  std::shared_ptr<FrontEnd> front_end = {};
  RelativeBias relative_bias = {};  ///< undefined: none
  std::vector<Layer> layers = {};
  Norm final_norm = {};
};

}  // namespace peft
