/// ntk_attention from a trained prefix.

#include "src/methods/ntk_compress.h"

#include "tests/methods/ntk_method.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST_F(NtkMethod, CompressesAPrefix) {
  const AdapterFiles files = prefix_files();
  const at::Tensor table = files.tensors.at("prompt_embeddings").view({3, 2, 2, 2, 4});  // P, layer, key or value, head
  for (const bool center : {false, true}) {
    MethodBank bank = compressed(files, {{"center", center}}, {1, 2});
    EXPECT_EQ(bank->first_position(), 3);
    EXPECT_EQ(bank->virtual_tokens(), 3);
    // The sums, one pair at a time.
    at::Tensor z = at::zeros({2, 2, 5, 4}, at::kDouble), den = at::zeros({2, 2, 5}, at::kDouble);
    const at::Tensor mean = table.select(2, 0).mean(0);
    for (int64_t l = 0; l < 2; ++l) {
      for (int64_t h = 0; h < 2; ++h) {
        for (int64_t p = 0; p < 3; ++p) {
          at::Tensor key = table[p][l][0][h];
          if (center) key = key - mean[l][h];
          const at::Tensor phi = kTaylor1(key / std::sqrt(2.0));  // D^(1/4)
          z[l][h] += at::outer(phi, table[p][l][1][h]);
          den[l][h] += phi;
        }
      }
    }
    DenseBert padded = dense(bank);
    padded.state = {kTaylor1, z, den, center ? mean : at::Tensor(), 3};
    const ModelInput second = make_input(texts_, {1, 1, 1}, 2);
    EXPECT_LT(relative_error(bank.logits(model_, second), padded.logits(texts_)), 1e-10);
    EXPECT_TRUE(same_values(value(bank, "classifier.weight"), files.tensors.at("base_model.classifier.weight")));
    // It stands for the prefix: far nearer to its logits than the network without one.
    DenseBert exact = dense(bank);
    exact.keys_LPC = table.select(2, 0).transpose(0, 1).flatten(2);
    exact.values_LPC = table.select(2, 1).transpose(0, 1).flatten(2);
    DenseBert none = dense(bank);
    none.state = {kTaylor1, at::zeros_like(z), at::zeros_like(den), {}, 3};
    const at::Tensor logits = exact.logits(texts_);
    EXPECT_LT(relative_error(bank.logits(model_, second), logits), 0.1 * relative_error(none.logits(texts_), logits));
  }
}

TEST_F(NtkMethod, CompressionSurvivesItsFile) {
  const AdapterFiles files = prefix_files();
  for (const Json& more :
       {Json{{"center", true}}, Json{{"feature_map", "taylor2"}}, Json{{"z_rank", 2}, {"freeze_den", true}}}) {
    MethodBank bank = compressed(files, more);
    AdapterFiles folded = bank->fold(0);
    EXPECT_EQ(folded.config.at("num_virtual_tokens"), 3);
    EXPECT_EQ(folded.tensors.contains("base_model.model.bert.encoder.layer.0.attention.self.ntk_center"),
              more.contains("center"));
    const auto config = recognise_adapter(folded);
    BankSpec spec{.configs = {config.get()}, .seeds = {0}, .outputs = 2, .dtype = at::kDouble, .from_files = true};
    const auto method = make_method(model_, spec);
    method->load(0, folded, true);
    const DropoutContext evaluation;
    method->begin_pass(evaluation);
    EXPECT_EQ(method->first_position(), 3);
    EXPECT_TRUE(
        same_values(model_.classify(make_input(texts_), *method, evaluation), bank.logits(model_, make_input(texts_))));
  }
}

TEST_F(NtkMethod, CompressedHeadIsLeftFreshWhenAsked) {
  MethodBank bank = compressed(prefix_files(), {{"init_head", false}}), plain(model_, {{"type", "linear_probe"}});
  EXPECT_TRUE(same_values(value(bank, "classifier.weight"), value(plain, "classifier.weight")));
}

TEST_F(NtkMethod, FullRankLowRankFold) {
  for (const auto& [m, d] : {std::pair{9, 5}, std::pair{4, 6}}) {
    const at::Tensor z = random_tensor(3, {2, 3, m, d});
    const auto [a, b] = low_rank(z, std::min(m, d));
    EXPECT_LT(relative_error(at::matmul(a, b), z), 1e-10);
    const auto [a2, b2] = low_rank(z, 2);  // what is left out are the smaller singular values
    const auto [u, s, vh] = at::linalg_svd(z, false);
    const at::Tensor left = (at::matmul(a2, b2) - z).square().sum({-2, -1}), tail = s.narrow(-1, 2, std::min(m, d) - 2);
    EXPECT_LT(relative_error(left, tail.square().sum(-1)), 1e-10);
    EXPECT_NEAR(a2.norm().item<double>(), b2.norm().item<double>(), 1e-10);
  }
}

TEST_F(NtkMethod, SourcesThatDoNotFitAreRefused) {
  const AdapterFiles good = prefix_files();
  const auto refuses = [&](const std::string& key, const Json& value, const std::string& message) {
    AdapterFiles files = good;
    files.origin = "runs/prefix/best";
    files.config[key] = value;
    EXPECT_THAT([&] { compressed(files, Json::object()); },
                ThrowsMessage<ConfigError>(HasSubstr("method.prefix_from: runs/prefix/best has " + message)));
  };
  refuses("peft_type", "LORA", "peft_type LORA, expected PREFIX_TUNING");
  refuses("num_layers", 3, "num_layers 3, expected 2");
  refuses("token_dim", 12, "token_dim 12, expected 8");
  refuses("num_attention_heads", 4, "num_attention_heads 4, expected 2");
  refuses("prefix_bias", "as_positions", "prefix_bias as_positions, expected none");
}

TEST_F(NtkMethod, LayersWithoutPairsGetNoState) {
  AdapterFiles files = prefix_files();
  files.config["layers"] = {1};
  MethodBank bank = compressed(files, Json::object());
  EXPECT_EQ(bank->first_position(), 3);
  files.config["position_shift"] = "off";
  EXPECT_EQ(compressed(files, Json::object())->first_position(), 0);
  EXPECT_FALSE(bank->state(attention_of(model_, 0)).defined());
  bank->begin_pass(bank.context);
  EXPECT_TRUE(bank->state(attention_of(model_, 1)).defined());
  EXPECT_EQ(bank->parameter("z").value.size(1), 1);
}

}  // namespace
}  // namespace peft
