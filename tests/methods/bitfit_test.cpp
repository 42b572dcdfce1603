/// bitfit: docs/methods.md#bitfit.

#include "tests/support/altered_bert.h"
#include "tests/support/one_method.h"

namespace peft {
namespace {

using Bitfit = OneMethod;

bool is_bias(const std::string& name) { return name.ends_with(".bias") && !name.starts_with("classifier."); }

TEST_F(Bitfit, FreshIsIdentity) {
  for (const char* subset : {"all", "query_ffn"}) {
    MethodBank bank(model_, {{"type", "bitfit"}, {"subset", subset}}, {1, 2});
    const ModelInput input = make_input(texts_, {0, 0, 1}, 2);
    EXPECT_LT(relative_error(bank.logits(model_, input), bare_logits(model_, texts_)), 1e-12);
  }
}

TEST_F(Bitfit, MergedEquals) {
  MethodBank bank(model_, {{"type", "bitfit"}}, {1, 2});
  bank.perturb(0.3);
  const at::Tensor found = bank.logits(model_, make_input({texts_[0], texts_[1], texts_[2]}, {0, 1, 1}, 2));
  for (int64_t k = 0; k < 2; ++k) {
    DenseBert merged = dense(bank, k), from_tool = dense(bank, k);
    for (const Parameter& p : bank->parameters()) {
      if (is_bias(p.name)) merged.weights.at(p.name) = p.value.detach()[k];
    }
    for (const auto& [name, tensor] : bank->merged(k)) from_tool.weights.at(name) = tensor;
    const std::vector<Text> own = k == 0 ? std::vector<Text>{texts_[0]} : std::vector<Text>{texts_[1], texts_[2]};
    EXPECT_LT(relative_error(found.narrow(0, k, 1 + k), merged.logits(own)), 1e-10);
    EXPECT_TRUE(same_values(from_tool.logits(own), merged.logits(own)));
  }
}

TEST_F(Bitfit, GradientIsColumnSum) {
  MethodBank bank(model_, {{"type", "bitfit"}}, {1, 2});
  const Linear& map = layer_of(model_, 0).feed_forward.up;
  const at::Tensor dy = random_tensor(1, {5, 16});
  const at::Tensor y =
      at::zeros({5, 16}, at::kDouble) + addition_at(*bank.method, map, {}, make_batch({2, 3}, {0, 1}, 2));
  const at::Tensor gradient = gradients((y * dy).sum(), {bank->parameter(map.module + ".bias").value})[0];
  EXPECT_LT(relative_error(gradient[0], dy.narrow(0, 0, 2).sum(0)), 1e-12);
  EXPECT_LT(relative_error(gradient[1], dy.narrow(0, 2, 3).sum(0)), 1e-12);
}

TEST_F(Bitfit, SubsetsNameTheirBiases) {
  const auto biases = [&](const Json& more) {
    Json config{{"type", "bitfit"}};
    config.update(more);
    MethodBank bank(model_, config);
    std::vector<std::string> names;
    for (const Parameter& p : bank->parameters()) {
      EXPECT_EQ(p.group, p.name.starts_with("classifier.") ? "head" : "adapter");
      if (!is_bias(p.name)) continue;
      EXPECT_FALSE(p.decays);
      names.push_back(p.name);
    }
    return names;
  };
  const std::string layer0 = "bert.encoder.layer.0.", layer1 = "bert.encoder.layer.1.";
  EXPECT_THAT(biases({{"subset", "query_ffn"}}),
              testing::UnorderedElementsAre(layer0 + "attention.self.query.bias", layer0 + "intermediate.dense.bias",
                                            layer1 + "attention.self.query.bias", layer1 + "intermediate.dense.bias"));
  const auto all = biases(Json::object());
  EXPECT_EQ(all.size(), 2U * 8 + 1);
  EXPECT_THAT(all, testing::Contains("bert.embeddings.LayerNorm.bias"));
  EXPECT_THAT(all, testing::Not(testing::Contains("bert.pooler.dense.bias")));
}

TEST_F(Bitfit, FilesHoldTheNewValues) {
  MethodBank bank(model_, {{"type", "bitfit"}});
  const std::string name = "bert.encoder.layer.1.output.LayerNorm.bias";
  const at::Tensor before = bank->fold(0).tensors.at("base_model.model." + name).clone();
  EXPECT_TRUE(same_values(before, model_.named_tensors().at(name)));
  bank->parameter(name).value.detach().add_(0.25);
  EXPECT_LT((bank->fold(0).tensors.at("base_model.model." + name) - before - 0.25).abs().max().item<double>(), 1e-12);
}

TEST_F(Bitfit, FilesWithoutASubsetTrainWhatTheyHold) {
  MethodBank bank(model_, {{"type", "bitfit"}, {"subset", "query_ffn"}});
  bank.perturb(0.3);
  AdapterFiles files = bank->fold(0);
  files.config.erase("subset");
  files.tensors.erase("base_model.model.bert.encoder.layer.0.intermediate.dense.bias");
  const auto config = recognise_adapter(files);
  const auto again = make_method(
      model_, {.configs = {config.get()}, .seeds = {5}, .outputs = 2, .dtype = at::kDouble, .from_files = true});
  again->load(0, files, true);
  const AdapterFiles written = again->fold(0);
  EXPECT_FALSE(written.config.contains("subset"));
  EXPECT_EQ(written.tensors.size(), files.tensors.size());
  for (const auto& [name, tensor] : files.tensors) EXPECT_TRUE(same_values(written.tensors.at(name), tensor)) << name;
}

class WithoutBiases : public testing::Test {
 protected:
  Transformer load() {
    auto tensors = TinyBert().tensors();
    std::erase_if(tensors, [](const auto& each) {
      return each.first.ends_with(".bias") && each.first.find("LayerNorm") == std::string::npos &&
             each.first.starts_with("bert.encoder");
    });
    Json config = TinyBert().config();
    config.update({{"model_type", "altered-bert"}, {"no_biases", true}});
    return Transformer::load(TinyBert::write(folder_.path(), config, tensors), "float64");
  }
  TemporaryFolder folder_;
};

TEST_F(WithoutBiases, NoBiasesIsRefused) {
  Transformer model = load();
  EXPECT_THAT(
      [&] {
        MethodBank(model, {{"type", "bitfit"}, {"subset", "query_ffn"}});
      },
      testing::ThrowsMessage<ConfigError>(testing::HasSubstr(
          "method.subset: altered-bert has no bias in \"query_ffn\"; method.add_missing gives every map one")));
}

TEST_F(WithoutBiases, AddMissingGivesEveryMapAZeroOne) {
  Transformer model = load();
  MethodBank bank(model, {{"type", "bitfit"}, {"add_missing", true}});
  EXPECT_EQ(bank->parameters().size(), 2U * 8 + 1 + 2);
  const std::vector<Text> texts{random_text(1, 5), random_text(3, 9)};
  EXPECT_LT(relative_error(bank.logits(model, make_input(texts)), bare_logits(model, texts)), 1e-12);
  bank.perturb(0.3);
  DenseBert merged{TinyBert()};
  for (const auto& [name, tensor] : bank->merged(0)) merged.weights[name] = tensor;
  EXPECT_LT(relative_error(bank.logits(model, make_input(texts)), merged.logits(texts)), 1e-10);
}

}  // namespace
}  // namespace peft
