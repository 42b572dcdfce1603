/// p_tuning (docs/methods.md#p_tuning).

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "src/methods/p_tuning_network.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/banks.h"
#include "tests/support/dense_bert.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class PTuning : public testing::Test {
 protected:
  static Json with(const Json& more = Json::object()) {
    Json config{{"type", "p_tuning"}, {"num_virtual_tokens", 3}};
    config.update(more);
    return config;
  }
  static at::Tensor trained(MethodBank& bank, const std::string& name) {
    return bank->parameter(name).value.detach()[0];
  }
  static at::Tensor folded(MethodBank& bank) { return bank->fold(0).tensors.at("prompt_embeddings"); }
  void refused(const Json& config, const std::string& message) {
    EXPECT_THAT([&] { MethodBank(model_, config); }, ThrowsMessage<ConfigError>(HasSubstr(message))) << config;
  }

  TemporaryFolder folder_;
  TinyBert tiny_;
  Transformer model_ = Transformer::load(tiny_.write(folder_.path()), "float64");
  std::vector<Text> texts_{random_text(1, 5), random_text(2, 1), random_text(3, 9)};
};

/// Random weights of one LSTM direction for N elements.
BankLstm random_lstm(uint64_t seed, int64_t n, int64_t in, int64_t h) {
  return {random_leaf(seed, {n, in, 4 * h}, 0.5), random_leaf(seed + 1, {n, h, 4 * h}, 0.5),
          random_leaf(seed + 2, {n, 4 * h}, 0.5), random_leaf(seed + 3, {n, 4 * h}, 0.5)};
}
std::vector<at::Tensor> leaves_of(const BankLstm& w) {
  return {w.weight_ih_NI4H, w.weight_hh_NH4H, w.bias_ih_N4H, w.bias_hh_N4H};
}
/// Element n in torch's layout.
std::vector<at::Tensor> torch_layout(const BankLstm& w, int64_t n) {
  return {w.weight_ih_NI4H[n].t(), w.weight_hh_NH4H[n].t(), w.bias_ih_N4H[n], w.bias_hh_N4H[n]};
}

TEST_F(PTuning, LstmEqualsTorch) {
  constexpr int64_t kIn = 5, kState = 4, kLayers = 3, kAdapters = 2;
  for (const int64_t rows : {1, 2, 7}) {
    PromptEncoder encoder{random_leaf(1, {kAdapters, rows, kIn}), {}, {}};
    std::vector<at::Tensor> leaves{encoder.rows_KPC};
    for (int64_t i = 0; i < kLayers; ++i) {
      const int64_t in = i == 0 ? kIn : 2 * kState;
      encoder.layers.push_back(
          {random_lstm(10 * i + 2, kAdapters, in, kState), random_lstm(10 * i + 7, kAdapters, in, kState)});
      for (const BankLstm& direction : encoder.layers.back()) {
        for (const at::Tensor& leaf : leaves_of(direction)) leaves.push_back(leaf);
      }
    }
    std::vector<at::Tensor> outputs;
    for (int64_t k = 0; k < kAdapters; ++k) {
      std::vector<at::Tensor> weights;
      for (const auto& layer : encoder.layers) {
        for (const BankLstm& direction : layer) {
          for (const at::Tensor& w : torch_layout(direction, k)) weights.push_back(w);
        }
      }
      const at::Tensor zero = at::zeros({2 * kLayers, 1, kState}, at::kDouble);
      outputs.push_back(std::get<0>(
          at::lstm(encoder.rows_KPC.narrow(0, k, 1), {zero, zero}, weights, true, kLayers, 0.0, false, true, true)));
    }
    const at::Tensor expected = at::cat(outputs), found = encoder.write();
    EXPECT_LT(relative_error(found, expected), 1e-12);
    const auto ours = gradients(weighted_sum(found), leaves), theirs = gradients(weighted_sum(expected), leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i)
      EXPECT_LT(relative_error(ours[i], theirs[i]), 1e-12) << "leaf " << i;
  }
}

TEST_F(PTuning, LstmGradientsAreSlopes) {
  const at::Tensor x = random_leaf(1, {2, 4, 3});
  for (const bool reverse : {false, true}) {
    const BankLstm weights = random_lstm(5, 2, 3, 2);
    auto leaves = leaves_of(weights);
    leaves.push_back(x);
    EXPECT_LT(gradient_error([&] { return weighted_sum(bank_lstm(x, weights, reverse)); }, leaves), 1e-7);
  }
}

/// The rows by hand, and the dense network with them in front.
TEST_F(PTuning, PaddedReference) {
  for (const char* variant : {"peft", "paper"}) {
    for (const char* type : {"MLP", "LSTM"}) {
      for (const char* pooling : {"first", "cls"}) {
        Json config =
            with({{"encoder_variant", variant}, {"encoder_reparameterization_type", type}, {"pooling", pooling}});
        const bool paper = std::string(variant) == "paper", lstm = std::string(type) == "LSTM";
        if (!paper) config["encoder_hidden_size"] = 6;
        MethodBank bank(model_, config);
        bank.perturb(0.3);
        const auto linear = [&](int i, const at::Tensor& x) {
          const std::string name = "encoder." + std::to_string(i) + ".";
          return at::matmul(x, trained(bank, name + "weight")) + trained(bank, name + "bias");
        };
        at::Tensor x = trained(bank, "encoder.rows");
        if (lstm) {
          const int64_t h = paper ? 4 : 6;
          for (int layer = 0; layer < 2; ++layer) {
            at::Tensor states = at::zeros({3, 2 * h}, at::kDouble);
            for (int way = 0; way < 2; ++way) {
              const std::string name = "encoder.lstm." + std::to_string(layer) + (way == 0 ? ".forward." : ".reverse.");
              at::Tensor state = at::zeros({h}, at::kDouble), cell = state;
              for (int64_t s = 0; s < 3; ++s) {
                const int64_t t = way == 0 ? s : 2 - s;
                const auto gate =
                    (at::matmul(x[t], trained(bank, name + "weight_ih")) + trained(bank, name + "bias_ih") +
                     at::matmul(state, trained(bank, name + "weight_hh")) + trained(bank, name + "bias_hh"))
                        .chunk(4);
                cell = at::sigmoid(gate[1]) * cell + at::sigmoid(gate[0]) * at::tanh(gate[2]);
                state = at::sigmoid(gate[3]) * at::tanh(cell);
                states[t].narrow(0, way * h, h).copy_(state);
              }
            }
            x = states;
          }
        }
        x = linear(1, at::relu(linear(0, x)));
        if (!lstm && !paper) x = linear(2, at::relu(x));
        EXPECT_LT(relative_error(folded(bank), x), 1e-12);

        DenseBert dense(tiny_);
        dense.weights["classifier.weight"] = trained(bank, "classifier.weight");
        dense.weights["classifier.bias"] = trained(bank, "classifier.bias");
        dense.prompt_PC = x;
        dense.pool_first = std::string(pooling) == "first";
        EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), dense.logits(texts_)), 1e-10);
      }
    }
  }
}

TEST_F(PTuning, PublishedCounts) {
  const auto mlp = [](int64_t p, int64_t c, int64_t e) { return p * c + c * e + e + e * e + e + e * c + c; };
  const auto lstm = [](int64_t p, int64_t c, int64_t h) {  // two layers
    const int64_t direction = 4 * h * h + 8 * h, head = 4 * h * h + 2 * h + 2 * h * c + c;
    return p * c + 2 * (4 * c * h + direction) + 2 * (4 * 2 * h * h + direction) + head;
  };
  EXPECT_EQ(mlp(20, 768, 768), 1787136);
  EXPECT_EQ(lstm(20, 768, 384), 8286720);
  EXPECT_EQ(lstm(20, 768, 768), 27174144);
  EXPECT_EQ(mlp(20, 3072, 3072), 28382208);
  const auto count = [&](const Json& more) { return MethodBank(model_, with(more))->trainable_parameters() - 18; };
  EXPECT_EQ(count(Json::object()), mlp(3, 8, 8));
  EXPECT_EQ(count({{"encoder_hidden_size", 5}}), mlp(3, 8, 5));
  EXPECT_EQ(count({{"encoder_variant", "paper"}}), 3 * 8 + 2 * (8 * 8 + 8));
  const Json lstm_peft{{"encoder_reparameterization_type", "LSTM"}},
      lstm_paper{{"encoder_reparameterization_type", "LSTM"}, {"encoder_variant", "paper"}};
  EXPECT_EQ(count(lstm_peft), lstm(3, 8, 8));
  EXPECT_EQ(count(lstm_paper), lstm(3, 8, 4));
  MethodBank bank(model_, with(lstm_paper));
  EXPECT_EQ(folded(bank).numel(), 3 * 8);
}

TEST_F(PTuning, ReversedInputIsNotReversedOutput) {
  MethodBank bank(model_, with({{"encoder_reparameterization_type", "LSTM"}}));
  const at::Tensor rows = folded(bank);
  bank->parameter("encoder.rows").value.detach().copy_(bank->parameter("encoder.rows").value.detach().flip(1).clone());
  EXPECT_GT(relative_error(folded(bank), rows.flip(0)), 1e-3);
  MethodBank mlp(model_, with());
  const at::Tensor each = folded(mlp);
  mlp->parameter("encoder.rows").value.detach().copy_(mlp->parameter("encoder.rows").value.detach().flip(1).clone());
  EXPECT_LT(relative_error(folded(mlp), each.flip(0)), 1e-12);  // row by row
}

TEST_F(PTuning, InitialValuesHaveTheirDistribution) {
  Transformer model = Transformer::load(TinyBert{.positions = 201}.write(folder_.path() / "long"), "float64");
  MethodBank bank(
      model,
      with({{"num_virtual_tokens", 200}, {"encoder_reparameterization_type", "LSTM"}, {"encoder_hidden_size", 16}}));
  EXPECT_NEAR(trained(bank, "encoder.rows").std().item<double>(), 1.0, 5.0 / std::sqrt(2.0 * 1600));
  for (const Parameter& p : bank->parameters()) {
    if (p.group != "encoder") continue;
    const double bound = 1.0 / std::sqrt(p.name.starts_with("encoder.lstm.") ? 16.0 : 32.0);
    const double largest = p.value.detach().abs().max().item<double>();
    EXPECT_LE(largest, bound) << p.name;
    EXPECT_GT(largest, 0.7 * bound) << p.name;
    EXPECT_EQ(p.decays, p.name.find("bias") == std::string::npos) << p.name;
  }
  EXPECT_EQ(bank->parameter("encoder.rows").group, "adapter");
}

TEST_F(PTuning, EncoderDropoutActsBetweenLayers) {
  const auto change = [&](int64_t layers, double rate) {
    MethodBank bank(
        model_,
        with({{"encoder_reparameterization_type", "LSTM"}, {"encoder_num_layers", layers}, {"encoder_dropout", rate}}));
    const at::Tensor plain = bank.logits(model_, make_input(texts_)).detach();
    bank.context.training = true;
    return relative_error(bank.logits(model_, make_input(texts_)), plain);
  };
  EXPECT_GT(change(2, 0.5), 1e-4);
  EXPECT_GT(change(3, 0.5), 1e-4);
  EXPECT_EQ(change(1, 0.5), 0.0);  // nothing is between
  EXPECT_EQ(change(2, 0.0), 0.0);
}

TEST_F(PTuning, FilesAreRows) {
  for (const char* type : {"MLP", "LSTM"}) {
    MethodBank bank(model_, with({{"encoder_reparameterization_type", type}, {"pooling", "cls"}}));
    bank.perturb();
    const AdapterFiles files = bank->fold(0);
    EXPECT_EQ(files.config.at("peft_type"), "PEFT_CPP_P_TUNING");
    EXPECT_EQ(files.config.at("encoder_reparameterization_type"), type);
    const auto config = recognise_adapter(files);
    EXPECT_EQ(config->type, "p_tuning");
    const auto rows = make_method(
        model_, {.configs = {config.get()}, .seeds = {5}, .outputs = 2, .dtype = at::kDouble, .from_files = true});
    EXPECT_FALSE(rows->stores_trained_values());
    rows->load(0, files, true);
    rows->begin_pass(bank.context);
    EXPECT_LT(relative_error(model_.classify(make_input(texts_), *rows, bank.context),
                             bank.logits(model_, make_input(texts_))),
              1e-12);
    EXPECT_TRUE(same_values(rows->fold(0).tensors.at("prompt_embeddings"), files.tensors.at("prompt_embeddings")));
    MethodBank fresh(model_, with({{"encoder_reparameterization_type", type}}));
    EXPECT_THAT([&] { fresh->load(0, files, true); },
                ThrowsMessage<DataError>(HasSubstr("rows without their network")));
  }
}

TEST_F(PTuning, RejectsBadConfig) {
  refused(with({{"num_virtual_tokens", 0}}), "num_virtual_tokens: found 0");
  refused(with({{"encoder_reparameterization_type", "GRU"}}), "encoder_reparameterization_type: found \"GRU\"");
  refused(with({{"encoder_hidden_size", 8193}}), "encoder_hidden_size: found 8193");
  refused(with({{"encoder_num_layers", 3}}), "method.encoder_num_layers: found 3, but only an LSTM");
  refused(with({{"encoder_num_layers", 9}, {"encoder_reparameterization_type", "LSTM"}}),
          "encoder_num_layers: found 9");
  refused(with({{"encoder_dropout", 0.1}}), "method.encoder_dropout: found 0.1, but only an LSTM");
  refused(with({{"encoder_variant", "code"}}), "encoder_variant: found \"code\"");
  refused(with({{"encoder_variant", "paper"}, {"encoder_hidden_size", 4}}),
          "method.encoder_hidden_size: found 4, but encoder_variant \"paper\"");
  refused(with({{"prompt_tuning_init", "RANDOM"}}), "prompt_tuning_init: unknown key");
  Transformer odd = Transformer::load(TinyBert{.width = 9, .heads = 3}.write(folder_.path() / "odd"), "float64");
  EXPECT_THAT(
      [&] {
        MethodBank(odd, with({{"encoder_variant", "paper"}, {"encoder_reparameterization_type", "LSTM"}}));
      },
      ThrowsMessage<ConfigError>(HasSubstr("method.encoder_variant: \"paper\" halves the model's width, found 9")));
}

}  // namespace
}  // namespace peft
