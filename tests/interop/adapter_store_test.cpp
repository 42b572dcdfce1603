#include "peft/interop/adapter_store.h"

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "peft/interop/adapter_folder.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/banks.h"
#include "tests/support/method_configs.h"
#include "tests/support/tiny_task.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class AdapterStoreOf : public testing::Test {
 protected:
  TemporaryFolder folder_;
  const TinyTask task_{"adapter_store"};
  Transformer model_ = Transformer::load(task_.folder / "model", "float32");
  const std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::load(task_.folder / "model");
  const AdapterStore store_{model_, {"no", "yes"}};

  MethodBank bank(const Json& config, std::vector<uint64_t> seeds = {1}) {
    return {model_, config, seeds, at::kFloat, tokenizer_.get()};
  }
};

TEST_F(AdapterStoreOf, EveryMethodRestoresWhatItSaved) {
  for (const auto& [name, config] : method_configs()) {
    SCOPED_TRACE(name);
    MethodBank saved = bank(config), restored = bank(config, {2});
    saved.perturb(0.3);
    store_.save(folder_ / name, *saved.method, 0);
    store_.restore(folder_ / name, *restored.method, 0, true);
    const auto expected = saved->trained_tensors(0), found = restored->trained_tensors(0);
    for (const auto& [tensor, value] : expected) EXPECT_TRUE(same_values(found.at(tensor), value)) << tensor;
  }
}

TEST_F(AdapterStoreOf, OneSliceOfABankIsSavedAndRestored) {
  for (const Json& config : bank_methods()) {
    SCOPED_TRACE(config.dump());
    MethodBank three = bank(config, {1, 2, 3}), other = bank(config, {4, 5, 6});
    three.perturb(0.3);
    store_.save(folder_ / "slice", *three.method, 1);
    const auto untouched = other->trained_tensors(0);
    store_.restore(folder_ / "slice", *other.method, 2, true);
    for (const auto& [tensor, value] : three->trained_tensors(1))
      EXPECT_TRUE(same_values(other->trained_tensors(2).at(tensor), value)) << tensor;
    for (const auto& [tensor, value] : untouched)
      EXPECT_TRUE(same_values(other->trained_tensors(0).at(tensor), value)) << tensor;
  }
}

TEST_F(AdapterStoreOf, TheHeadMayStay) {
  MethodBank saved = bank(method_config_of("lora")), restored = bank(method_config_of("lora"), {2});
  saved.perturb(0.3);
  restored.perturb(0.3);
  const at::Tensor head = restored->parameter("classifier.weight").value.detach().clone();
  store_.save(folder_ / "lora", *saved.method, 0);
  store_.restore(folder_ / "lora", *restored.method, 0, false);
  EXPECT_TRUE(same_values(restored->parameter("classifier.weight").value.detach(), head));
}

TEST_F(AdapterStoreOf, LabelsTravelWithTheFolder) {
  for (const char* type : {"lora", "linear_probe"}) {
    MethodBank saved = bank(method_config_of(type));
    store_.save(folder_ / type, *saved.method, 0);
    EXPECT_EQ(read_adapter(folder_ / type).labels, store_.labels);
    Transformer fresh = Transformer::load(task_.folder / "model", "float32");
    EXPECT_EQ(load_adapter(fresh, folder_ / type).labels, store_.labels);
  }
}

TEST_F(AdapterStoreOf, ValuesOfAnotherMethodAreRefused) {
  const auto refused = [&](const Json& config, const std::string& message) {
    MethodBank other = bank(config);
    EXPECT_THAT([&] { store_.restore(folder_ / "saved", *other.method, 0, true); },
                ThrowsMessage<ConfigError>(HasSubstr(message)));
  };
  MethodBank lora = bank(method_config_of("lora"));
  store_.save(folder_ / "saved", *lora.method, 0);
  refused(method_config_of("prompt"), "saved holds a lora adapter, the method is prompt");
  refused(method_configs().at("prefix-deep"), "saved holds no trained.safetensors");
  MethodBank p_tuning = bank(method_config_of("p_tuning"));
  store_.save(folder_ / "saved", *p_tuning.method, 0);
  refused(method_configs().at("prefix-deep"), "saved holds trained values of p_tuning, the method is prefix");
}

TEST_F(AdapterStoreOf, TensorsWithoutAPlaceAreNamed) {
  MethodBank lora = bank(method_config_of("lora"));
  AdapterFiles files = lora->fold(0);
  files.tensors["base_model.model.stray.weight"] = at::zeros({2});
  write_adapter(folder_ / "saved", files);
  testing::internal::CaptureStderr();
  store_.restore(folder_ / "saved", *lora.method, 0, true);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("saved: not used: base_model.model.stray.weight"));
}

}  // namespace
}  // namespace peft
