#pragma once
/// What the tests of ntk_attention share: a tiny model, and a trained prefix to compress.

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/banks.h"
#include "tests/support/dense_bert.h"

namespace peft {

inline const auto kElu = [](const at::Tensor& y) { return at::where(y > 0, y + 1.0, at::exp(y)); };
inline const auto kTaylor1 = [](const at::Tensor& y) { return at::cat({at::ones_like(y.narrow(-1, 0, 1)), y}, -1); };

class NtkMethod : public testing::Test {
 protected:
  TemporaryFolder folder_;
  TinyBert tiny_;  // 2 layers, 2 heads of 4 columns
  Transformer model_ = Transformer::load(tiny_.write(folder_.path()), "float64");
  std::vector<Text> texts_{random_text(1, 5), random_text(2, 1), random_text(3, 9)};

  static Json ntk(const Json& more = Json::object()) {
    Json config{{"type", "ntk_attention"}};
    config.update(more);
    return config;
  }
  static at::Tensor value(MethodBank& bank, const std::string& name) { return bank->parameter(name).value.detach()[0]; }
  DenseBert dense(MethodBank& bank) const {
    DenseBert dense(tiny_);
    dense.weights["classifier.weight"] = value(bank, "classifier.weight");
    dense.weights["classifier.bias"] = value(bank, "classifier.bias");
    return dense;
  }
  void refused(const Json& more, const std::string& message) {
    EXPECT_THAT([&] { MethodBank(model_, ntk(more)); },
                testing::ThrowsMessage<ConfigError>(testing::HasSubstr(message)));
  }

  /// A trained prefix of 3 pairs; its keys have a common direction.
  AdapterFiles prefix_files(double scale = 0.3) {
    MethodBank prefix(model_, {{"type", "prefix"}, {"num_virtual_tokens", 3}});
    at::NoGradGuard no_grad;
    for (const char* name : {"prefix_key", "prefix_value"}) prefix->parameter(name).value.mul_(scale);
    prefix->parameter("prefix_key").value.add_(scale * random_tensor(7, {8}));
    prefix->parameter("classifier.weight").value.add_(1.0);
    return prefix->fold(0);
  }
  MethodBank compressed(const AdapterFiles& files, const Json& more, const std::vector<uint64_t>& seeds = {1}) {
    Json config = ntk({{"mode", "compress"}, {"prefix_from", "runs/prefix"}, {"feature_map", "taylor1"}});
    config.update(more);
    return MethodBank(model_, config, seeds, at::kDouble, nullptr, [&](const std::string& folder) {
      EXPECT_EQ(folder, "runs/prefix");
      return files;
    });
  }
};

}  // namespace peft
