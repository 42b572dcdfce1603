/// Start values of prefixes: random, and from a text (docs/methods.md#prefix).

#include <torch/optim/adam.h>

#include "tests/methods/prefix_method.h"
#include "tests/support/number_tokenizer.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST_F(Prefix, InitialValues) {
  const auto std_of = [](const at::Tensor& x) { return x.detach().std().item<double>(); };
  MethodBank normal(model_, with({{"num_virtual_tokens", 20}, {"init_std", 0.5}})),
      zero(model_, with({{"init_weights", "zero"}}));
  EXPECT_NEAR(std_of(normal->parameter("prefix_key").value), 0.5, 5.0 * 0.5 / std::sqrt(2.0 * 320));
  EXPECT_FALSE(same_values(normal->parameter("prefix_key").value, normal->parameter("prefix_value").value));
  EXPECT_EQ(zero->parameter("prefix_value").value.detach().abs().max().item<double>(), 0.0);

  MethodBank uniform(model_,
                     with({{"num_virtual_tokens", 50}, {"init_weights", "uniform"}, {"position_shift", "off"}}));
  const double bound = std::sqrt(6.0 / 8.0), largest = trained(uniform, "prefix_key").abs().max().item<double>();
  EXPECT_LE(largest, bound);
  EXPECT_GT(largest, 0.97 * bound);
  EXPECT_NEAR(std_of(uniform->parameter("prefix_key").value), bound / std::sqrt(3.0), 0.05);

  const Json network = with({{"sharing", "deep"}, {"encoder_hidden_size", 100}, {"init_std", 0.5}});
  MethodBank deep(model_, network);
  for (const auto& [name, fan_in] : {std::pair{"encoder.0.weight", 8.0}, std::pair{"encoder.0.bias", 8.0},
                                     std::pair{"encoder.1.weight", 100.0}, std::pair{"encoder.1.bias", 100.0}}) {
    const at::Tensor values = trained(deep, name).abs();
    EXPECT_LE(values.max().item<double>(), 1.0 / std::sqrt(fan_in)) << name;
    EXPECT_GT(values.max().item<double>(), 0.8 / std::sqrt(fan_in)) << name;
  }
  EXPECT_NEAR(std_of(deep->parameter("prefix_rows").value), 0.5, 5.0 * 0.5 / std::sqrt(2.0 * 24));
  Json from_zero = network;
  from_zero["init_weights"] = "zero";
  MethodBank last_zero(model_, from_zero);
  EXPECT_EQ(last_zero->fold(0).tensors.at("prompt_embeddings").abs().max().item<double>(), 0.0);
  EXPECT_TRUE(same_values(last_zero->parameter("prefix_rows").value, deep->parameter("prefix_rows").value));
}

/// The text's own rows in front, as virtual rows that the classifier does not read.
class InFront : public Sockets {
 public:
  InFront(const Transformer& model, std::vector<int64_t> ids) : model_(model), ids_(std::move(ids)) {}
  Embedded embed(const at::Tensor& /*ids_T*/, const Batch& /*rows*/) override {
    const at::Tensor ids = at::tensor(at::ArrayRef<int64_t>(ids_), at::kLong);
    return {.x_TC = {}, .prompt_SPC = model_.words(ids).unsqueeze(0)};
  }

 private:
  const Transformer& model_;
  std::vector<int64_t> ids_;
};
TEST_F(Prefix, TextInitEqualsContext) {
  const NumberTokenizer tokenizer;
  const Json text{{"num_virtual_tokens", 6}, {"init_weights", "text"}, {"init_text", "5 7"}};
  for (const bool pre : {false, true}) {
    Transformer model = altered({{"causal", true}, {"pre_norm", pre}});
    InFront context(model, {21, 5, 7, 22, 21, 5});  // repeated and cut to 6
    const at::Tensor expected = model.classify(make_input(texts_), context, {});
    EXPECT_GT(relative_error(expected, bare_logits(model, texts_)), 1e-3);
    for (const Json& more :
         {Json{{"sharing", "none"}}, Json{{"sharing", "simple"}}, Json{{"through_projection", true}}}) {
      Json config = with(text);
      config.update(more);
      MethodBank bank(model, config, {1}, at::kDouble, &tokenizer);
      EXPECT_LT(relative_error(bank.logits(model, make_input(texts_)), expected), 1e-12) << config;
    }
  }
}

TEST_F(Prefix, TextInitOfANetworkIsFiveHundredStepsOfAdam) {
  const NumberTokenizer tokenizer;
  const Json text{{"init_weights", "text"}, {"init_text", "5 7 9"}};
  for (const char* network : {"per_layer", "all_layers"}) {
    Json start = with({{"sharing", "deep"}, {"network", network}, {"encoder_hidden_size", 6}}), fitted = start,
         flat = with(text);
    fitted.update(text);
    MethodBank target(model_, flat, {3}, at::kDouble, &tokenizer),
        ours(model_, fitted, {3, 8}, at::kDouble, &tokenizer), expected(model_, start, {3});
    std::vector<at::Tensor> leaves;
    for (const Parameter& p : expected->parameters()) {
      if (p.group == "encoder") leaves.push_back(p.value);
    }
    torch::optim::Adam adam(leaves, torch::optim::AdamOptions(1e-4));
    double first = 0.0, last = 0.0;
    for (int step = 0; step < 500; ++step) {
      expected->begin_pass(expected.context);
      at::Tensor error = at::zeros({}, at::kDouble);
      for (int64_t l = 0; l < 2; ++l) {
        const PrefixKV pairs = expected->prefix(attention_of(model_, l));
        error = error + (pairs.k_KPGD.flatten(2)[0] - trained(target, "prefix_key")[l]).square().mean() / 4.0 +
                (pairs.v_KPGD.flatten(2)[0] - trained(target, "prefix_value")[l]).square().mean() / 4.0;
      }
      (step == 0 ? first : last) = error.item<double>();
      adam.zero_grad();
      error.backward();
      adam.step();
    }
    EXPECT_LT(last, 0.95 * first);
    for (const Parameter& p : expected->parameters())
      EXPECT_LT(relative_error(ours->parameter(p.name).value[0], p.value[0]), 1e-10) << p.name;
    MethodBank second(model_, fitted, {8}, at::kDouble, &tokenizer);
    for (const Parameter& p : second->parameters())
      EXPECT_TRUE(same_values(ours->parameter(p.name).value[1], p.value[0])) << p.name;
  }
}

TEST_F(Prefix, TextsMayDifferWithinABank) {
  const NumberTokenizer tokenizer;
  const auto text = [](const char* words) { return with({{"init_weights", "text"}, {"init_text", words}}); };
  MethodBank bank({text("4"), text("9 2")}, model_, {1, 2}, at::kDouble, &tokenizer),
      second(model_, text("9 2"), {2}, at::kDouble, &tokenizer);
  EXPECT_TRUE(same_values(bank->parameter("prefix_key").value[1], second->parameter("prefix_key").value[0]));
  EXPECT_FALSE(same_values(bank->parameter("prefix_key").value[0], second->parameter("prefix_key").value[0]));
}

TEST_F(Prefix, AFoldedNetworkIsNotAStart) {
  MethodBank deep(model_, with({{"sharing", "deep"}}));
  const AdapterFiles files = deep->fold(0);
  EXPECT_THAT([&] { deep->load(0, files, true); },
              ThrowsMessage<DataError>(HasSubstr("no values for sharing \"deep\"")));
}

}  // namespace
}  // namespace peft
