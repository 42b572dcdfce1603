#pragma once
/// What the tests of prefixes share.

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/altered_bert.h"
#include "tests/support/banks.h"
#include "tests/support/dense_bert.h"

namespace peft {

/// Prefixes on a tiny BERT beside its dense implementation.
class Prefix : public testing::Test {
 protected:
  Transformer altered(const Json& keys, const std::map<std::string, at::Tensor>& tensors) {
    Json config = tiny_.config();
    config.update({{"model_type", "altered-bert"}});
    config.update(keys);
    return Transformer::load(TinyBert::write(folder_.path() / "altered", config, tensors), "float64");
  }
  Transformer altered(const Json& keys) { return altered(keys, tiny_.tensors()); }

  static Json with(const Json& more = Json::object()) {
    Json config{{"type", "prefix"}, {"num_virtual_tokens", 3}};
    config.update(more);
    return config;
  }
  static at::Tensor trained(MethodBank& bank, const std::string& name) {
    return bank->parameter(name).value.detach()[0];
  }

  /// The dense network with the bank's own head and these pairs.
  at::Tensor dense_logits(MethodBank& bank, const at::Tensor& keys_LPC, const at::Tensor& values_LPC) {
    DenseBert dense(tiny_);
    dense.weights["classifier.weight"] = trained(bank, "classifier.weight");
    dense.weights["classifier.bias"] = trained(bank, "classifier.bias");
    dense.keys_LPC = keys_LPC;
    dense.values_LPC = values_LPC;
    dense.prefixed = prefixed_;
    dense.shift = shift_;
    return dense.logits(texts_);
  }
  /// The frozen key or value map of a layer on rows.
  at::Tensor frozen(int64_t layer, const char* map, const at::Tensor& x) const {
    const std::string module = "bert.encoder.layer." + std::to_string(layer) + ".attention.self." + map;
    const auto tensors = tiny_.tensors();
    return at::matmul(x, tensors.at(module + ".weight").to(at::kDouble).t()) +
           tensors.at(module + ".bias").to(at::kDouble);
  }
  at::Tensor frozen(const char* map, const at::Tensor& x_LPC) const {
    return at::stack({frozen(0, map, x_LPC[0]), frozen(1, map, x_LPC[1])});
  }
  void expect_pairs(MethodBank& bank, const at::Tensor& keys_LPC, const at::Tensor& values_LPC) {
    EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), dense_logits(bank, keys_LPC, values_LPC)), 1e-10);
    // The file holds row 2l = keys, 2l+1 = values.
    const at::Tensor table = at::stack({keys_LPC, values_LPC}, 1).flatten(0, 1).transpose(0, 1).flatten(1);
    EXPECT_LT(relative_error(bank->fold(0).tensors.at("prompt_embeddings"), table), 1e-12);
  }
  void refused(const Json& config, const std::string& message) {
    EXPECT_THAT([&] { MethodBank(model_, config); }, testing::ThrowsMessage<ConfigError>(testing::HasSubstr(message)))
        << config;
  }

  TemporaryFolder folder_;
  TinyBert tiny_;
  Transformer model_ = Transformer::load(tiny_.write(folder_.path()), "float64");
  std::vector<Text> texts_{random_text(1, 5), random_text(2, 1), random_text(3, 9)};
  std::vector<bool> prefixed_;
  bool shift_ = true;
};

}  // namespace peft
