#include "src/methods/ntk_compress.h"

#include <ATen/ATen.h>

#include "peft/base/error.h"
#include "src/methods/layers.h"
#include "src/methods/ntk_config.h"
#include "src/methods/prompt_rows.h"

namespace peft {
namespace {

template <class T>
void expect_key(const AdapterFiles& files, const char* key, const T& expected) {
  T found = expected;
  files.read(key, found);
  if (found != expected)
    throw_error<ConfigError>("method.prefix_from: {} has {} {}, expected {}", files.origin, key, found, expected);
}

}  // namespace

PrefixPairs read_prefix_pairs(const AdapterFiles& files, const StackSpec& stack) {
  const int64_t width = stack.key_width();
  if (!files.has_type("PREFIX_TUNING"))
    throw_error<ConfigError>("method.prefix_from: {} has peft_type {}, expected PREFIX_TUNING", files.origin,
                             files.config.value("peft_type", ""));
  expect_key<std::string>(files, "prefix_bias", "none");  // a bias by query position cannot be folded
  expect_key<int64_t>(files, "num_layers", stack.depth());
  expect_key<int64_t>(files, "token_dim", width);
  expect_key<int64_t>(files, "num_attention_heads", stack.kv_heads);
  int64_t count = 0;
  files.read("num_virtual_tokens", count);
  check_prompt_rows(files, count);
  std::string position_shift;
  files.read("position_shift", position_shift);
  PrefixPairs pairs;
  pairs.shift = position_shift == "off" ? 0 : count;
  const at::Tensor& table = files.tensors.at("prompt_embeddings");
  if (table.size(1) != 2 * stack.depth() * width) {
    throw_error<ConfigError>("method.prefix_from: {}: prompt_embeddings has {} columns, expected {}", files.origin,
                             table.size(1), 2 * stack.depth() * width);
  }
  const at::Tensor pairs_PLQGD = table.to(at::kDouble).view({count, stack.depth(), 2, stack.kv_heads, stack.head_dim});
  Json layers = "all";
  files.read("layers", layers);
  pairs.layers = chosen_layers(layers, stack.depth());
  const at::Tensor index = at::tensor(at::ArrayRef<int64_t>(pairs.layers), at::kLong);
  const auto of_layers = [&](int64_t which) {
    return pairs_PLQGD.select(2, which).transpose(0, 1).index_select(0, index);
  };
  pairs.k_LPGD = of_layers(0);
  pairs.v_LPGD = of_layers(1);
  return pairs;
}

std::pair<at::Tensor, at::Tensor> low_rank(const at::Tensor& z, int64_t rank) {
  const auto [u, s, vh] = at::linalg_svd(z, /*full_matrices=*/false);
  const at::Tensor root = at::sqrt(s.narrow(-1, 0, rank));
  return {u.narrow(-1, 0, rank) * root.unsqueeze(-2), vh.narrow(-2, 0, rank) * root.unsqueeze(-1)};
}

}  // namespace peft
