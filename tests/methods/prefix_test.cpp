/// prefix and p_tuning_v2 (methods.md 4, 5).

#include <gmock/gmock.h>
#include <torch/optim/adam.h>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/banks.h"
#include "tests/support/dense_bert.h"
#include "tests/support/number_tokenizer.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// BERT with what BERT does not have: "causal", "pre_norm", "kv_heads" of config.json.
ModelSpec parse_altered_bert(const Json& config, const std::string& origin) {
  ModelSpec spec = architectures().at("bert").parse(config, origin);
  StackSpec& stack = spec.stack;
  stack.causal = config.value("causal", false);
  if (config.value("pre_norm", false)) stack.norm_place = NormPlace::pre;
  stack.kv_heads = config.value("kv_heads", stack.heads);
  return spec;
}
const bool registered = architectures().add("altered-bert", {parse_altered_bert});

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
    EXPECT_THAT([&] { MethodBank(model_, config); }, ThrowsMessage<ConfigError>(HasSubstr(message))) << config;
  }

  TemporaryFolder folder_;
  TinyBert tiny_;
  Transformer model_ = Transformer::load(tiny_.write(folder_.path()), "float64");
  std::vector<Text> texts_{random_text(1, 5), random_text(2, 1), random_text(3, 9)};
  std::vector<bool> prefixed_;
  bool shift_ = true;
};
using PTuningV2 = Prefix;

TEST_F(Prefix, PaddedReference) {
  MethodBank bank(model_, with());
  bank.perturb();
  expect_pairs(bank, trained(bank, "prefix_key"), trained(bank, "prefix_value"));
}

TEST_F(Prefix, PaddedReferenceOfSimple) {
  MethodBank bank(model_, with({{"sharing", "simple"}}));
  bank.perturb();
  const at::Tensor rows = trained(bank, "prefix_rows");
  expect_pairs(bank, frozen("key", rows), frozen("value", rows));
  MethodBank direct(model_, with({{"sharing", "simple"}, {"through_projection", false}}));
  expect_pairs(direct, trained(direct, "prefix_rows"), trained(direct, "prefix_rows"));
}

TEST_F(Prefix, PaddedReferenceOfDeep) {
  for (const bool single : {false, true}) {
    for (const bool through : {false, true}) {
      for (const char* network : {"per_layer", "all_layers"}) {
        Json config =
            with({{"sharing", "deep"}, {"network", network}, {"single", single}, {"through_projection", through}});
        if (!single) config["encoder_hidden_size"] = 6;
        MethodBank bank(model_, config);
        bank.perturb(0.3);
        const auto net = [&](const at::Tensor& rows, const auto& part) {
          const at::Tensor first = at::tanh(at::matmul(rows, part("encoder.0.weight")) + part("encoder.0.bias"));
          return single ? first : at::matmul(first, part("encoder.1.weight")) + part("encoder.1.bias");
        };
        at::Tensor pairs_L2PY;
        if (std::string(network) == "per_layer") {
          std::vector<at::Tensor> layers;
          for (int64_t l = 0; l < 2; ++l) {
            const auto part = [&](const char* name) { return trained(bank, name)[l]; };
            const at::Tensor both = net(trained(bank, "prefix_rows")[l], part);
            layers.push_back(at::stack({both.narrow(1, 0, 8), both.narrow(1, 8, 8)}));
          }
          pairs_L2PY = at::stack(layers);
        } else {
          const auto part = [&](const char* name) { return trained(bank, name); };
          pairs_L2PY = net(trained(bank, "prefix_rows"), part).view({3, 2, 2, 8}).permute({1, 2, 0, 3});
        }
        const at::Tensor keys = pairs_L2PY.select(1, 0), values = pairs_L2PY.select(1, 1);
        expect_pairs(bank, through ? frozen("key", keys) : keys, through ? frozen("value", values) : values);
      }
    }
  }
}

TEST_F(Prefix, NoneThroughTheFrozenMaps) {
  MethodBank bank(model_, with({{"through_projection", true}}));
  bank.perturb();
  expect_pairs(bank, frozen("key", trained(bank, "prefix_key")), frozen("value", trained(bank, "prefix_value")));
}

TEST_F(Prefix, LayersWithoutOneHaveNone) {
  for (const auto& [layers, present] :
       {std::pair{Json("first"), std::vector<bool>{true, false}}, std::pair{Json{1}, std::vector<bool>{false, true}}}) {
    MethodBank bank(model_, with({{"layers", layers}, {"position_shift", "off"}}));
    bank.perturb();
    prefixed_ = present;
    shift_ = false;
    const auto both = [&](const char* name) {
      const at::Tensor own = trained(bank, name)[0], none = at::zeros_like(own);
      return present[0] ? at::stack({own, none}) : at::stack({none, own});
    };
    expect_pairs(bank, both("prefix_key"), both("prefix_value"));
    EXPECT_EQ(bank->virtual_tokens(), 0);
    const AdapterFiles files = bank->fold(0);
    EXPECT_EQ(files.config.at("layers"), present[0] ? Json{0} : Json{1});
    EXPECT_EQ(files.config.at("peft_compatible"), false);
    // The files describe the same method.
    const auto config = recognise_adapter(files);
    const auto again = make_method(
        model_, {.configs = {config.get()}, .seeds = {5}, .outputs = 2, .dtype = at::kDouble, .from_files = true});
    again->load(0, files, true);
    again->begin_pass(bank.context);
    EXPECT_TRUE(same_values(model_.classify(make_input(texts_), *again, bank.context),
                            bank.logits(model_, make_input(texts_))));
    MethodBank everywhere(model_, with());
    EXPECT_THAT([&] { everywhere->load(0, files, true); }, ThrowsMessage<DataError>(HasSubstr("layers: found [")));
  }
}

TEST_F(Prefix, InitialValues) {
  const auto std_of = [](const at::Tensor& x) { return x.detach().std().item<double>(); };
  MethodBank normal(model_, with({{"num_virtual_tokens", 20}, {"init_std", 0.5}})),
      zero(model_, with({{"init_weights", "zero"}}));
  EXPECT_NEAR(std_of(normal->parameter("prefix_key").value), 0.5, 5.0 * 0.5 / std::sqrt(2.0 * 320));
  EXPECT_FALSE(same_values(normal->parameter("prefix_key").value, normal->parameter("prefix_value").value));
  EXPECT_EQ(zero->parameter("prefix_value").value.detach().abs().max().item<double>(), 0.0);

  MethodBank uniform(model_, with({{"num_virtual_tokens", 50}, {"init_weights", "uniform"}}));
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

TEST_F(Prefix, GroupsAndDecay) {
  for (const char* network : {"per_layer", "all_layers"}) {
    MethodBank bank(model_, with({{"sharing", "deep"}, {"network", network}}));
    for (const Parameter& p : bank->parameters()) {
      EXPECT_EQ(p.group, p.name.starts_with("classifier.") ? "head" : "encoder") << p.name;
      EXPECT_EQ(p.decays, !p.name.ends_with(".bias")) << p.name;
    }
    EXPECT_EQ(bank->parameter("encoder.0.bias").value.size(-1), std::string(network) == "per_layer" ? 48 : 512);
  }
  for (const char* sharing : {"none", "simple"}) {
    MethodBank bank(model_, with({{"sharing", sharing}}));
    EXPECT_EQ(bank->parameters().front().group, "adapter");
    EXPECT_EQ(bank->folds(), std::string(sharing) == "simple");
  }
  EXPECT_TRUE(MethodBank(model_, with({{"through_projection", true}}))->folds());
}

TEST_F(Prefix, PublishedCounts) {
  struct Shape {
    int64_t l, c;
  };
  const auto none = [](Shape s, int64_t p) { return 2 * s.l * p * s.c; };
  const auto per_layer = [](Shape s, int64_t p, int64_t e) {
    return s.l * (p * s.c + s.c * e + e + 2 * e * s.c + 2 * s.c);
  };
  const auto all_layers = [](Shape s, int64_t p, int64_t e) {
    return p * s.c + s.c * e + e + 2 * e * s.l * s.c + 2 * s.l * s.c;
  };
  const Shape vit_base{12, 768}, gpt2_medium{24, 1024}, mini_lm{6, 384}, bert_large{24, 1024}, bert_base{12, 768};
  EXPECT_EQ(per_layer(vit_base, 10, 48), 1438272);
  EXPECT_EQ(none(vit_base, 10), 184320);
  EXPECT_EQ(per_layer(vit_base, 200, 48), 3189312);
  EXPECT_EQ(all_layers(gpt2_medium, 5, 512), 25744896);
  EXPECT_EQ(none(mini_lm, 20), 92160);
  EXPECT_EQ(none(bert_large, 20), 983040);
  EXPECT_EQ(none(bert_large, 128), 6291456);
  EXPECT_EQ(all_layers(bert_base, 5, 512), 9853184);
  // The same formulas count what trains here.
  const auto count = [&](const Json& config) { return MethodBank(model_, with(config))->trainable_parameters() - 18; };
  const Shape tiny{2, 8};
  EXPECT_EQ(count(Json::object()), none(tiny, 3));
  EXPECT_EQ(count({{"sharing", "simple"}}), none(tiny, 3) / 2);
  EXPECT_EQ(count({{"sharing", "deep"}, {"network", "per_layer"}}), per_layer(tiny, 3, 48));
  EXPECT_EQ(count({{"sharing", "deep"}}), all_layers(tiny, 3, 512));
  EXPECT_EQ(count({{"layers", {0}}}), none({1, 8}, 3));
}

/// Rows in front of one layer's input, their outputs dropped, are a simple prefix of that layer.
TEST_F(Prefix, SimpleEqualsTokensWithoutQueries) {
  for (const bool pre : {false, true}) {
    Transformer model = altered({{"pre_norm", pre}});
    MethodBank bank(model, with({{"sharing", "simple"}}));
    bank->begin_pass(bank.context);
    const Layer& layer = model.layers()[1];
    const StackSpec& stack = model.spec().stack;
    const auto normed = [&](const at::Tensor& x) {
      return pre ? at::layer_norm(x, {8}, layer.attention_norm.weight_C, layer.attention_norm.bias_C, stack.norm_eps)
                 : x;
    };
    const auto heads = [](const Linear& map, const at::Tensor& x) {
      return at::linear(x, map.weight_OC, map.bias_O).view({-1, 2, 4});
    };
    const Batch rows = make_batch({5, 2});
    const at::Tensor x = random_tensor(1, {7, 8}), p = trained(bank, "prefix_rows")[1];
    const at::Tensor longer = at::cat({p, x.narrow(0, 0, 5), p, x.narrow(0, 5, 2)});
    const at::Tensor q = heads(layer.query, normed(x));
    const at::Tensor joined = attention(q, heads(layer.key, normed(longer)), heads(layer.value, normed(longer)),
                                        {.queries = rows, .keys = rows->lengthened(3), .scale = 0.5});
    const at::Tensor prefixed = attention(q, heads(layer.key, normed(x)), heads(layer.value, normed(x)),
                                          {.queries = rows, .keys = rows, .scale = 0.5, .prefix = bank->prefix(1)});
    EXPECT_LT(relative_error(prefixed, joined), 1e-12);
  }
}

TEST_F(Prefix, ThroughNormCanBeLeftOut) {
  Transformer model = altered({{"pre_norm", true}});
  MethodBank bank(model, with({{"sharing", "simple"}, {"through_norm", false}}));
  bank->begin_pass(bank.context);
  EXPECT_LT(relative_error(bank->prefix(0).k_KPGD.flatten(2)[0], frozen(0, "key", trained(bank, "prefix_rows")[0])),
            1e-12);
  MethodBank normed(model, with({{"sharing", "simple"}}));
  normed->begin_pass(normed.context);
  EXPECT_GT(relative_error(normed->prefix(0).k_KPGD.flatten(2)[0], frozen(0, "key", trained(normed, "prefix_rows")[0])),
            1e-2);
}

/// The text's own rows in front, as virtual rows that the classifier does not read.
class InFront : public Sockets {
 public:
  InFront(const Transformer& model, std::vector<int64_t> ids) : model_(model), ids_(std::move(ids)) {}
  Embedded embed(Embedded tokens) override {
    const auto extra = static_cast<int64_t>(ids_.size());
    const at::Tensor rows = model_.word_embeddings().index({at::tensor(at::ArrayRef<int64_t>(ids_), at::kLong)});
    std::vector<at::Tensor> parts;
    for (int64_t b = 0; b < tokens.rows->sequences(); ++b) {
      parts.push_back(rows);
      parts.push_back(tokens.x_TC.narrow(0, tokens.rows->begin(b), tokens.rows->length(b)));
    }
    return {at::cat(parts), tokens.ids_T, tokens.rows->lengthened(extra), extra};
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
        const PrefixKV pairs = expected->prefix(l);
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

TEST_F(Prefix, SequenceMasksDiffer) {
  const std::vector<Text> equal{texts_[0], texts_[0]};
  for (Json config : {Json{{"sharing", "none"}}, Json{{"sharing", "simple"}}, Json{{"sharing", "deep"}}}) {
    config = with(config);
    config["prefix_dropout"] = 0.5;
    for (const char* scope : {"sequence", "adapter"}) {
      config["dropout_scope"] = scope;
      MethodBank bank(model_, config);
      const at::Tensor evaluated = bank.logits(model_, make_input(equal));
      EXPECT_LT(relative_error(evaluated[0], evaluated[1]), 1e-12);
      bank.context.training = true;
      const at::Tensor logits = bank.logits(model_, make_input(equal));
      const double difference = relative_error(logits[0], logits[1]);
      if (std::string(scope) == "sequence") {
        EXPECT_GT(difference, 1e-3) << config;
      } else {
        EXPECT_LT(difference, 1e-12) << config;
      }
      EXPECT_GT(relative_error(logits[0], evaluated[0]), 1e-3);
      bank.context.steps = {4};
      EXPECT_GT(relative_error(bank.logits(model_, make_input(equal)), logits), 1e-3) << "another step, another mask";
    }
  }
}

/// Every sequence against the dense network with the pairs that its masks left.
TEST_F(Prefix, PaddedReferenceOfMaskedPairs) {
  for (const char* sharing : {"none", "simple", "deep"}) {
    MethodBank bank(model_, with({{"sharing", sharing}, {"prefix_dropout", 0.4}}));
    bank.context.training = true;
    const at::Tensor logits = bank.logits(model_, make_input(texts_));
    const auto pairs = [&](int64_t b, at::Tensor PrefixKV::*part) {
      return at::stack({(bank->prefix(0).*part)[b], (bank->prefix(1).*part)[b]}).flatten(2);
    };
    const auto all = texts_;
    for (std::size_t b = 0; b < all.size(); ++b) {
      const auto row = static_cast<int64_t>(b);
      texts_ = {all[b]};
      EXPECT_LT(relative_error(logits[row],
                               dense_logits(bank, pairs(row, &PrefixKV::k_KPGD), pairs(row, &PrefixKV::v_KPGD))[0]),
                1e-10);
    }
    texts_ = all;
  }
}

TEST_F(Prefix, DropoutMasksKeysAndValuesSeparately) {
  const auto masked = [&](const Json& more) {
    Json config = with({{"num_virtual_tokens", 200}, {"prefix_dropout", 0.25}});
    config.update(more);
    MethodBank bank(model_, config);
    bank.context.training = true;
    at::NoGradGuard no_grad;
    for (const Parameter& p : bank->parameters()) p.value.fill_(1.0);
    bank->begin_pass(bank.context);
    bank->embed({at::zeros({6, 8}, at::kDouble), at::zeros({6}, at::kLong), make_batch({4, 2}), 0});
    return std::pair{at::stack({bank->prefix(0).k_KPGD, bank->prefix(1).k_KPGD}),
                     at::stack({bank->prefix(0).v_KPGD, bank->prefix(1).v_KPGD})};
  };
  const auto [k, v] = masked(Json::object());
  EXPECT_EQ(k.sizes(), (std::vector<int64_t>{2, 2, 200, 2, 4}));  // layers, sequences, P, G, D
  const auto kept = [](const at::Tensor& x) { return x.gt(0).to(at::kDouble).mean().item<double>(); };
  EXPECT_LT(relative_error(k, k.gt(0).to(at::kDouble) / 0.75), 1e-12);
  const double five_errors = 5.0 * std::sqrt(0.25 * 0.75 / static_cast<double>(k.numel()));
  EXPECT_NEAR(kept(k), 0.75, five_errors);
  EXPECT_NEAR(kept(v), 0.75, five_errors);
  EXPECT_NEAR(kept(k * v), 0.75 * 0.75, five_errors);            // keys and values
  EXPECT_NEAR(kept(k[0] * k[1]), 0.75 * 0.75, 2 * five_errors);  // layers
  const auto [simple_k, simple_v] = masked({{"sharing", "simple"}, {"through_projection", false}});
  EXPECT_TRUE(same_values(simple_k, simple_v));  // on the vector
  EXPECT_NEAR(kept(simple_k), 0.75, five_errors);
  const auto [one_k, one_v] = masked({{"dropout_scope", "adapter"}});
  EXPECT_EQ(one_k.sizes(), (std::vector<int64_t>{2, 1, 200, 2, 4}));
  EXPECT_NEAR(kept(one_k * one_v), 0.75 * 0.75, 2 * five_errors);
}

TEST_F(Prefix, GroupedHeadsEqualRepeatedHeads) {
  tiny_ = {.width = 16, .heads = 8};
  auto repeated = tiny_.tensors(), grouped = repeated;
  for (auto& [name, tensor] : grouped) {
    if (name.find("self.key") == std::string::npos && name.find("self.value") == std::string::npos) continue;
    tensor = tensor.narrow(0, 0, 4).contiguous();  // G = 2 heads of width 2
    repeated[name] = tensor.unflatten(0, {2, 2}).repeat_interleave(4, 0).flatten(0, 1).contiguous();
  }
  Transformer few = altered({{"kv_heads", 2}}, grouped);
  MethodBank bank(few, with());
  bank.perturb();
  EXPECT_EQ(trained(bank, "prefix_key").sizes(), (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(bank->fold(0).config.at("token_dim"), 4);
  EXPECT_EQ(bank->fold(0).config.at("num_attention_heads"), 2);
  const at::Tensor logits = bank.logits(few, make_input(texts_));
  Transformer many = altered({{"kv_heads", 8}}, repeated);
  MethodBank wide(many, with());
  for (const Parameter& p : wide->parameters()) {
    const at::Tensor own = trained(bank, p.name);
    p.value.detach()[0].copy_(
        p.name.starts_with("prefix_") ? own.unflatten(-1, {2, 2}).repeat_interleave(4, -2).flatten(-2) : own);
  }
  EXPECT_LT(relative_error(wide.logits(many, make_input(texts_)), logits), 1e-12);
}

TEST_F(Prefix, BudgetIsChecked) {
  MethodBank bank(model_, with({{"num_virtual_tokens", 20}})),
      off(model_, with({{"num_virtual_tokens", 20}, {"position_shift", "off"}}));
  EXPECT_EQ(512 - bank->virtual_tokens(), 492);
  EXPECT_EQ(512 - off->virtual_tokens(), 512);
}

TEST_F(Prefix, RejectsBadConfig) {
  refused(with({{"sharing", "half"}}), "sharing: found \"half\"");
  refused(with({{"network", "per_layer"}}), "method.network: needs sharing \"deep\", found \"none\"");
  refused(with({{"single", true}, {"sharing", "simple"}}), "method.single: needs sharing \"deep\", found \"simple\"");
  refused(with({{"encoder_hidden_size", 8}}), "method.encoder_hidden_size: needs sharing \"deep\"");
  refused(with({{"sharing", "deep"}, {"encoder_hidden_size", 0}}), "encoder_hidden_size: found 0");
  refused(with({{"sharing", "deep"}, {"encoder_hidden_size", 8193}}), "encoder_hidden_size: found 8193");
  refused(with({{"sharing", "deep"}, {"single", true}, {"encoder_hidden_size", 8}}),
          "method.encoder_hidden_size: found 8, but single");
  refused(with({{"sharing", "none"}, {"prefix_projection", true}}),
          "method.prefix_projection: true means sharing \"deep\"");
  refused(with({{"network", "per_layer"}, {"prefix_projection", true}}), "method.prefix_projection: true means");
  refused(with({{"through_projection", "yes"}}), "method.through_projection: found \"yes\"");
  refused(with({{"rope_on_prefix", true}}), "method.rope_on_prefix: found true, but bert has no rotary positions");
  refused(with({{"prefix_bias", "as_positions"}}),
          "method.prefix_bias: found \"as_positions\", but bert has no relative bias");
  refused(with({{"stacks", {"cross"}}}), "method.stacks: found \"cross\", but bert has only \"encoder_self\"");
  refused(with({{"stacks", 3}}), "method.stacks: found 3");
  refused(with({{"layers", {0, 2}}}), "method.layers: found [0,2], expected indices 0 to 1");
  refused(with({{"layers", {-1}}}), "method.layers: found [-1], expected indices 0 to 1");
  refused(with({{"layers", {1, 1}}}), "method.layers: found [1,1], expected every index once");
  refused(with({{"layers", "last"}}), "method.layers: found \"last\"");
  refused(with({{"layers", Json::array()}}), "method.layers: found []");
  refused(with({{"init_weights", "text"}}), "method.init_text: required by init_weights \"text\"");
  refused(with({{"init_weights", "text"}, {"init_text", "4"}}),
          "method.init_weights: \"text\" needs the model folder's tokenizer");
  refused(with({{"init_weights", "text"}, {"init_text", "4"}, {"sharing", "simple"}, {"through_projection", false}}),
          "method.init_weights: \"text\" needs through_projection");
  refused(with({{"init_weights", "zero"}, {"sharing", "simple"}}),
          "method.init_weights: found \"zero\" with through_projection");
  refused(with({{"prefix_dropout", 1.0}}), "prefix_dropout: found 1.0");
  refused(with({{"dropout_scope", "batch"}}), "dropout_scope: found \"batch\"");
  refused(with({{"position_shift", true}}), "position_shift");
  const NumberTokenizer tokenizer;
  EXPECT_THAT(
      [&] {
        MethodBank(model_, with({{"num_virtual_tokens", 41}, {"init_weights", "text"}, {"init_text", "4"}}), {1},
                   at::kDouble, &tokenizer);
      },
      ThrowsMessage<ConfigError>(HasSubstr("method.num_virtual_tokens: found 41, but the model has 40 positions")));
}

TEST_F(Prefix, AFoldedNetworkIsNotAStart) {
  MethodBank deep(model_, with({{"sharing", "deep"}}));
  const AdapterFiles files = deep->fold(0);
  EXPECT_THAT([&] { deep->load(0, files, true); },
              ThrowsMessage<DataError>(HasSubstr("no values for sharing \"deep\"")));
}

TEST_F(PTuningV2, ResolvesToPrefix) {
  const Json v2{{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}};
  MethodBank preset(model_, v2), spelled(model_, with({{"init_std", 0.02}}));
  ASSERT_EQ(preset->parameters().size(), spelled->parameters().size());
  for (const Parameter& p : spelled->parameters())
    EXPECT_TRUE(same_values(preset->parameter(p.name).value, p.value)) << p.name;
  EXPECT_TRUE(same_values(preset.logits(model_, make_input(texts_)), spelled.logits(model_, make_input(texts_))));

  Json projected = v2;
  projected.update({{"prefix_projection", true}, {"encoder_hidden_size", 6}});
  MethodBank network(model_, projected), deep(model_, with({{"sharing", "deep"}, {"encoder_hidden_size", 6}}));
  deep->load_trained(0, network->trained_tensors(0), "test", true);
  EXPECT_TRUE(same_values(network.logits(model_, make_input(texts_)), deep.logits(model_, make_input(texts_))));
  EXPECT_EQ(MethodBank(model_, {{"type", "p_tuning_v2"}, {"prefix_projection", true}})
                ->parameter("encoder.0.bias")
                .value.size(1),
            512);
  EXPECT_EQ(network->fold(0).config.at("peft_type"), "PREFIX_TUNING");
  EXPECT_FALSE(network->fold(0).config.contains("peft_compatible"));
}

TEST_F(PTuningV2, DropoutOfTheCheckpoint) {
  Transformer model = Transformer::load(TinyBert{.dropout = 0.25}.write(folder_.path() / "dropout"), "float64");
  const auto logits = [&](const Json& config) {
    MethodBank bank(model, config);
    bank.context.training = true;
    return bank.logits(model, make_input(texts_)).detach();
  };
  const Json preset{{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}};
  const auto with_rate = [&](double rate) {
    Json config = preset;
    config["prefix_dropout"] = rate;
    return logits(config);
  };
  EXPECT_TRUE(same_values(logits(preset), with_rate(0.25)));
  EXPECT_TRUE(same_values(logits(preset), logits(with({{"init_std", 0.02}, {"prefix_dropout", 0.25}}))));
  EXPECT_FALSE(same_values(logits(preset), with_rate(0.0)));
}

TEST_F(PTuningV2, InitStd) {
  Transformer bare = Transformer::load(TinyBert{.labels = 0}.write(folder_.path() / "bare"), "float32");
  const auto make = [&](double std) {
    return MethodBank(bare,
                      {{"type", "p_tuning_v2"},
                       {"num_virtual_tokens", 12500},
                       {"prefix_projection", true},
                       {"encoder_hidden_size", 4096},
                       {"init_std", std}},
                      {1}, at::kFloat);
  };
  MethodBank small = make(0.02), large = make(0.04);
  for (const char* name : {"prefix_rows", "encoder.1.weight"}) {
    EXPECT_GE(trained(small, name).numel(), 100000) << name;
    EXPECT_NEAR(trained(small, name).std().item<double>(), 0.02, 0.0002) << name;
  }
  for (const char* name : {"encoder.0.bias", "encoder.1.bias", "classifier.bias"})
    EXPECT_EQ(trained(small, name).abs().max().item<double>(), 0.0) << name;
  EXPECT_LT(relative_error(trained(large, "classifier.weight"), 2.0 * trained(small, "classifier.weight")), 1e-6);
  MethodBank flat(bare, {{"type", "p_tuning_v2"}, {"num_virtual_tokens", 6250}}, {1}, at::kFloat);
  EXPECT_NEAR(trained(flat, "prefix_key").std().item<double>(), 0.02, 0.0002);
}

TEST_F(PTuningV2, RejectsBadConfig) {
  const auto v2 = [](const Json& more) {
    Json config{{"type", "p_tuning_v2"}};
    config.update(more);
    return config;
  };
  refused(v2({{"prefix_dropout", "never"}}), "method.prefix_dropout: found \"never\"");
  refused(v2({{"prefix_dropout", 1.0}}), "method.prefix_dropout: found 1.0");
  refused(v2({{"encoder_hidden_size", 64}}), "method.encoder_hidden_size: found 64, but without prefix_projection");
  refused(v2({{"sharing", "simple"}}), "sharing: unknown key");
  refused(v2({{"head", "linear"}}), "head: found \"linear\"");
}

}  // namespace
}  // namespace peft
