#pragma once
/// A tiny BERT for the tests of one method.

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/banks.h"
#include "tests/support/dense_bert.h"
#include "tests/support/number_tokenizer.h"

namespace peft {

/// Every file that tests a method names its suites by `using`: one fixture, so that suites may stretch over files.
class OneMethod : public testing::Test {
 protected:
  TemporaryFolder folder_;
  TinyBert tiny_;
  Transformer model_ = Transformer::load(tiny_.write(folder_.path()), "float64");
  std::vector<Text> texts_{random_text(1, 5), random_text(2, 1), random_text(3, 9)};

  /// The dense network with adapter k's head.
  DenseBert dense(MethodBank& bank, int64_t k = 0) const {
    DenseBert dense(tiny_);
    dense.weights["classifier.weight"] = bank->parameter("classifier.weight").value.detach()[k];
    dense.weights["classifier.bias"] = bank->parameter("classifier.bias").value.detach()[k];
    return dense;
  }
  void refused(const Json& config, const std::string& message) {
    EXPECT_THAT([&] { MethodBank(model_, config); }, testing::ThrowsMessage<ConfigError>(testing::HasSubstr(message)));
  }
  std::vector<std::string> targets(const Json& target_modules, const Json& more = Json::object()) {
    Json config{{"type", "lora"}, {"r", 1}, {"target_modules", target_modules}};
    config.update(more);
    MethodBank bank(model_, config);
    std::vector<std::string> modules;
    for (const Parameter& p : bank->parameters()) {
      if (p.name.ends_with(".lora_A")) modules.push_back(p.name.substr(0, p.name.size() - 7));
    }
    return modules;
  }
  /// What the embedding socket of a method makes of texts of these ids.
  Embedded embedded(MethodBank& bank, const ModelInput& input) {
    bank->begin_pass(bank.context);
    return bank->embed(input.source.ids_T, input.source.rows);
  }
  /// The method's rows of the text of sequence b less its word embeddings.     [n_b, C]
  at::Tensor offsets(MethodBank& bank, const ModelInput& input, int64_t b) {
    const at::Tensor words = model_.words(input.source.ids_T);
    return (embedded(bank, input).x_TC - words)
        .narrow(0, input.source.rows->begin(b), input.source.rows->length(b))
        .detach();
  }
  static at::Tensor values(MethodBank& bank, const std::string& name, int64_t k = 0) {
    return bank->parameter(name).value.detach()[k];
  }
};

}  // namespace peft
