/// What holds for every method (docs/methods.md#tests-of-every-method).

#include <gmock/gmock.h>

#include <limits>
#include <set>

#include "peft/base/error.h"
#include "peft/kernels/optimizer.h"
#include "peft/train/optimizer.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/banks.h"
#include "tests/support/dense_bert.h"

namespace peft {
namespace {

struct Example {
  std::string name;
  Json config;
  bool identity;                                ///< a fresh adapter changes nothing
  std::vector<std::string> zero_at_start = {};  ///< ends of the names of tensors without gradient at the start
  double least_change = 1e-3;                   ///< of the logits, by a fresh adapter that is not the identity
};

std::ostream& operator<<(std::ostream& out, const Example& example) { return out << example.name; }

/// A prefix from a small network.
Json deep(const Json& more) {
  Json config{{"type", "prefix"}, {"num_virtual_tokens", 3}, {"sharing", "deep"}, {"encoder_hidden_size", 5}};
  for (const auto& [key, value] : more.items()) config[key] = value;
  return config;
}

std::vector<Example> adapters() {
  return {
      {"lora", {{"type", "lora"}, {"r", 2}, {"lora_alpha", 6}, {"target_modules", "all-linear"}}, true, {".lora_A"}},
      {"prompt", {{"type", "prompt"}, {"num_virtual_tokens", 3}}, false},
      {"prompt_cls", {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"pooling", "cls"}}, false},
      {"prompt_deep",
       {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"depth", "deep"}, {"prompt_dropout", 0.3}},
       false},
      {"dept",
       {{"type", "dept"},
        {"num_virtual_tokens", 3},
        {"r", 2},
        {"prompt_tuning_init", "SAMPLE_VOCAB"},
        {"prompt_dropout", 0.3}},
       false,
       {"dept_A"}},
      {"adept",
       {{"type", "adept"},
        {"num_virtual_tokens", 3},
        {"r", 4},
        {"prompt_tuning_init", "UNIFORM"},
        {"compat", "code"},
        {"prompt_dropout", 0.3}},
       false,
       {"adept_W1", "adept_b1"}},
      {"bitfit", {{"type", "bitfit"}}, true},
      {"prefix", {{"type", "prefix"}, {"num_virtual_tokens", 3}}, false},
      {"prefix_zero", {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"init_weights", "zero"}}, false},
      {"ntk_elu", {{"type", "ntk_attention"}, {"feature_dropout", 0.3}}, false, {}, 1e-7},
      {"ntk_zero", {{"type", "ntk_attention"}, {"init", "zero"}, {"freeze_den", true}}, true},
      {"ntk_low_rank", {{"type", "ntk_attention"}, {"z_rank", 2}}, false, {"z_a"}, 1e-7},
      {"ntk_taylor1", {{"type", "ntk_attention"}, {"feature_map", "taylor1"}}, false, {}, 1e-7},
      {"ntk_taylor2", {{"type", "ntk_attention"}, {"feature_map", "taylor2"}, {"z_rank", 2}}, false, {"z_a"}, 1e-7},
      {"prefix_simple", {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"sharing", "simple"}}, false},
      {"prefix_dropout", {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"prefix_dropout", 0.3}}, false},
      {"prefix_simple_dropout",
       {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"sharing", "simple"}, {"prefix_dropout", 0.3}},
       false},
      {"prefix_deep_dropout_per_adapter", deep({{"prefix_dropout", 0.3}, {"dropout_scope", "adapter"}}), false},
      {"prefix_through", {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"through_projection", true}}, false},
      {"prefix_one_layer",
       {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"layers", {1}}, {"position_shift", "off"}},
       false},
      {"prefix_deep", deep({{"network", "all_layers"}}), false},
      {"prefix_deep_per_layer", deep({{"network", "per_layer"}}), false},
      {"prefix_deep_through", deep({{"network", "per_layer"}, {"through_projection", true}}), false},
      {"prefix_single", deep({{"single", true}, {"encoder_hidden_size", nullptr}}), false},
      {"prefix_single_per_layer", deep({{"single", true}, {"network", "per_layer"}, {"encoder_hidden_size", nullptr}}),
       false},
      {"prefix_deep_zero",
       deep({{"init_weights", "zero"}}),
       false,
       {"prefix_rows", "encoder.0.weight", "encoder.0.bias"}},
      {"prefix_projection", {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"prefix_projection", true}}, false},
      {"p_tuning_mlp", {{"type", "p_tuning"}, {"num_virtual_tokens", 3}, {"encoder_hidden_size", 6}}, false},
      {"p_tuning_mlp_paper",
       {{"type", "p_tuning"}, {"num_virtual_tokens", 3}, {"encoder_variant", "paper"}, {"prompt_dropout", 0.3}},
       false},
      {"p_tuning_lstm",
       {{"type", "p_tuning"},
        {"num_virtual_tokens", 3},
        {"encoder_reparameterization_type", "LSTM"},
        {"encoder_hidden_size", 3},
        {"encoder_dropout", 0.3}},
       false},
      {"p_tuning_lstm_paper",
       {{"type", "p_tuning"},
        {"num_virtual_tokens", 3},
        {"encoder_reparameterization_type", "LSTM"},
        {"encoder_variant", "paper"},
        {"encoder_num_layers", 1}},
       false},
      {"p_tuning_v2", {{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}}, false},
      {"p_tuning_v2_projection",
       {{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}, {"prefix_projection", true}, {"encoder_hidden_size", 5}},
       false},
      {"linear_probe", {{"type", "linear_probe"}}, true}};
}

std::vector<Example> all_methods() {
  auto all = adapters();
  all.push_back({"full", {{"type", "full"}}, true});
  return all;
}

std::vector<Text> texts_of(const std::vector<int64_t>& lengths) {
  std::vector<Text> texts;
  for (const int64_t length : lengths) texts.push_back(random_text(texts.size() + 1, length));
  return texts;
}

bool key_bias(const std::string& name) {
  return name.ends_with("self.key.bias");
}  // softmax ignores it: its gradient is zero

class Methods : public testing::TestWithParam<Example> {
 protected:
  Transformer load(const TinyBert& tiny = {}, const std::string& dtype = "float64") {
    return Transformer::load(tiny.write(folder_.path()), dtype);
  }
  const Json& config() { return GetParam().config; }
  bool full() { return GetParam().name == "full"; }
  TemporaryFolder folder_;
};
class AdapterMethods : public Methods {};

TEST(MethodExamples, NoMethodIsLeftOut) {
  std::set<std::string> shown;
  for (const Example& example : all_methods()) shown.insert(example.config.at("type").get<std::string>());
  const std::vector<std::string> names = methods().names();
  EXPECT_THAT(shown, testing::ElementsAreArray(names));
}

TEST_P(Methods, EveryTensorIsOfAKnownRateGroup) {
  Transformer model = load();
  MethodBank bank(model, config());
  for (const Parameter& p : bank->parameters()) EXPECT_THAT(kRateGroups, testing::Contains(p.group)) << p.name;
}

TEST_P(Methods, ValueAtInit) {
  Transformer model = load();
  const auto texts = texts_of({4, 1, 7});
  const at::Tensor bare = bare_logits(model, texts);
  MethodBank bank(model, config());
  const double difference = relative_error(bank.logits(model, make_input(texts)), bare);
  if (GetParam().identity) {
    EXPECT_LT(difference, 1e-12);
  } else {
    EXPECT_GT(difference, GetParam().least_change);
  }
}

TEST_P(Methods, ZeroGradientsAtInit) {
  Transformer model = load();
  MethodBank bank(model, config());
  const auto grads = gradients(weighted_sum(bank.logits(model, make_input(texts_of({4, 1, 7})))), bank.leaves());
  const auto& parameters = bank->parameters();
  for (std::size_t i = 0; i < grads.size(); ++i) {
    const auto& zero = GetParam().zero_at_start;
    const bool expected = std::any_of(zero.begin(), zero.end(),
                                      [&](const std::string& end) { return parameters[i].name.ends_with(end); });
    if (key_bias(parameters[i].name)) continue;
    EXPECT_EQ(grads[i].abs().max().item<double>() == 0.0, expected) << parameters[i].name;
  }
}

TEST_P(Methods, EveryTensorGetsGradient) {
  Transformer model = load();
  MethodBank bank(model, config());
  bank.perturb();
  const auto grads = gradients(weighted_sum(bank.logits(model, make_input(texts_of({4, 3, 7})))), bank.leaves());
  for (std::size_t i = 0; i < grads.size(); ++i) {
    const std::string& name = bank->parameters()[i].name;
    if (key_bias(name)) continue;
    at::Tensor parts = grads[i].abs();
    const bool by_layer = name.starts_with("prefix_") || name == "z" || name.starts_with("z_") || name == "den_raw" ||
                          (name == "prompt" && grads[i].dim() == 4) ||
                          (name.starts_with("encoder.") && config().value("network", "") == "per_layer");
    if (by_layer) parts = parts.flatten(2).amax(-1);  // every layer of the table, every layer's network
    EXPECT_GT(by_layer ? parts.min().item<double>() : parts.max().item<double>(), 0.0) << name;
  }
}

TEST_P(Methods, Gradcheck) {
  Transformer model = load({.vocabulary = 9, .positions = 9});
  MethodBank bank(model, config(), full() ? std::vector<uint64_t>{1} : std::vector<uint64_t>{1, 2});
  bank.perturb(0.1);
  const ModelInput input = make_input({random_text(1, 4, 9), random_text(2, 2, 9)},
                                      full() ? std::vector<int64_t>{} : std::vector<int64_t>{0, 1}, full() ? 1 : 2);
  EXPECT_LT(gradient_error([&] { return weighted_sum(bank.logits(model, input)); }, bank.leaves()),
            kGradcheckTolerance);
}

TEST_P(Methods, BatchInvariance) {
  Transformer model = load();
  MethodBank bank(model, config());
  bank.perturb();
  const auto texts = texts_of({5, 1, 12, 3, 8, 2, 20, 5});
  const at::Tensor together = bank.logits(model, make_input(texts));
  const auto reversed = std::vector<Text>(texts.rbegin(), texts.rend());
  EXPECT_LT(relative_error(bank.logits(model, make_input(reversed)).flip(0), together), 1e-12);
  for (std::size_t b = 0; b < texts.size(); ++b) {
    EXPECT_LT(relative_error(bank.logits(model, make_input({texts[b]}))[0], together[static_cast<int64_t>(b)]), 1e-12);
  }
}

TEST_P(Methods, FoldedEqualsTrained) {
  for (const auto& [name, dtype] : {std::pair{"float64", at::kDouble}, std::pair{"float32", at::kFloat}}) {
    Transformer model = load({}, name), other = load({}, name);
    MethodBank trained(model, config(), {1}, dtype), fresh(other, config(), {77}, dtype);
    trained.perturb();
    const ModelInput input = make_input(texts_of({4, 1, 7}));
    const AdapterFiles files = trained->fold(0);
    if (trained->stores_trained_values()) {  // what the files describe is another, flat method
      const auto flat = recognise_adapter(files);
      fresh.method =
          make_method(other, {.configs = {flat.get()}, .seeds = {7}, .outputs = 2, .dtype = dtype, .from_files = true});
      fresh->load(0, files, true);
      EXPECT_LT(relative_error(fresh.logits(other, input), trained.logits(model, input)),
                dtype == at::kDouble ? 1e-12 : 1e-5);
    } else {
      fresh->load(0, files, true);
      EXPECT_TRUE(same_values(fresh.logits(other, input), trained.logits(model, input)));
    }
  }
}

TEST_P(AdapterMethods, TrainedFormIsLoadedBitForBit) {
  Transformer model = load();
  MethodBank trained(model, config()), fresh(model, config(), {77});
  trained.perturb();
  fresh->load_trained(0, trained->trained_tensors(0), "test", true);
  const ModelInput input = make_input(texts_of({4, 1, 7}));
  EXPECT_TRUE(same_values(fresh.logits(model, input), trained.logits(model, input)));
  for (const Parameter& p : trained->parameters())
    EXPECT_TRUE(same_values(fresh->parameter(p.name).value, p.value)) << p.name;
}

TEST_P(Methods, LoadLeavesTheHeadAloneWhenAsked) {
  Transformer model = load(), other = load();
  MethodBank trained(model, config()), fresh(other, config());
  trained.perturb();
  const at::Tensor head = fresh->parameter("classifier.weight").value.detach().clone();
  if (trained->stores_trained_values()) {
    fresh->load_trained(0, trained->trained_tensors(0), "test", false);
  } else {
    fresh->load(0, trained->fold(0), false);
  }
  EXPECT_TRUE(same_values(fresh->parameter("classifier.weight").value, head));
}

TEST_P(AdapterMethods, FrozenNetworkUntouched) {
  Transformer model = load();
  std::map<std::string, at::Tensor> before;
  for (const auto& [name, tensor] : model.named_tensors()) before[name] = tensor.clone();
  MethodBank bank(model, config());
  std::vector<at::Tensor> m, v;
  for (const at::Tensor& leaf : bank.leaves()) {
    m.push_back(at::zeros_like(leaf.detach()));
    v.push_back(at::zeros_like(leaf.detach()));
  }
  const ModelInput input = make_input(texts_of({4, 1, 7}));
  const at::Tensor first = bank.logits(model, input).detach();
  for (int64_t step = 1; step <= 5; ++step) {
    const auto leaves = bank.leaves();
    const auto grads = gradients(weighted_sum(bank.logits(model, input)), leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i)
      adamw_step(leaves[i], grads[i].contiguous(), m[i], v[i], {.learning_rate = 0.1, .step = step});
  }
  EXPECT_GT(relative_error(bank.logits(model, input), first), 1e-2);
  for (const auto& [name, tensor] : model.named_tensors()) EXPECT_TRUE(same_values(tensor, before.at(name))) << name;
}

TEST_P(AdapterMethods, BankEqualsSingles) {
  // Dropout on: masks are named by seed, step and ordinal, so they agree too.
  const std::vector<uint64_t> seeds{11, 12, 13};
  const std::vector<int64_t> adapter{0, 0, 1, 2, 2, 2};
  const auto texts = texts_of({5, 1, 9, 3, 8, 2});
  Transformer model = load({.dropout = 0.2});
  MethodBank bank(model, config(), seeds);
  bank.perturb();
  bank.context.training = true;
  bank.context.steps = {1, 5, 9};
  const ModelInput input = make_input(texts, adapter, 3);
  const at::Tensor logits = bank.logits(model, input), weights = random_tensor(99, logits.sizes());
  const auto bank_gradients = gradients((logits * weights).sum(), bank.leaves());
  for (int64_t k = 0; k < 3; ++k) {
    MethodBank single(model, config(), {seeds[k]});
    single.perturb();
    single.context.training = true;
    single.context.steps = {bank.context.steps[k]};
    std::vector<Text> own;
    for (std::size_t b = 0; b < texts.size(); ++b) {
      if (adapter[b] == k) own.push_back(texts[b]);
    }
    const int64_t begin = input.source.rows->group_sequences()[k];
    const at::Tensor own_logits = single.logits(model, make_input(own)),
                     own_weights = weights.narrow(0, begin, own_logits.size(0));
    EXPECT_LT(relative_error(logits.narrow(0, begin, own_logits.size(0)), own_logits), 1e-12);
    const auto own_gradients = gradients((own_logits * own_weights).sum(), single.leaves());
    for (std::size_t i = 0; i < own_gradients.size(); ++i) {
      if (key_bias(bank->parameters()[i].name)) {
        EXPECT_LT(bank_gradients[i].abs().max().item<double>(), 1e-12);
        continue;
      }
      EXPECT_LT(relative_error(bank_gradients[i][k], own_gradients[i][0]), 1e-11)
          << bank->parameters()[i].name << " of adapter " << k;
    }
  }
}

TEST_P(AdapterMethods, InitialValuesOfASliceEqualASingleRun) {
  TinyBert bare{.labels = 0};  // a fresh head draws as well
  Transformer model = load(bare);
  MethodBank bank(model, config(), {11, 12, 13}, at::kFloat);
  for (int64_t k = 0; k < 3; ++k) {
    MethodBank single(model, config(), {static_cast<uint64_t>(11 + k)}, at::kFloat);
    for (const Parameter& p : bank->parameters()) {
      EXPECT_TRUE(same_values(p.value[k], single->parameter(p.name).value[0])) << p.name;
    }
  }
}

TEST_P(AdapterMethods, GradientOfAnAdapterDoesNotSeeTheOthersTexts) {
  Transformer model = load();
  MethodBank bank(model, config(), {11, 12});
  bank.perturb();
  const auto grads = [&](const Text& other) {
    return gradients(weighted_sum(bank.logits(model, make_input({random_text(1, 5), other}, {0, 1}, 2))),
                     bank.leaves());
  };
  const auto one = grads(random_text(2, 7)), two = grads(random_text(3, 7));
  for (std::size_t i = 0; i < one.size(); ++i)
    EXPECT_TRUE(same_values(one[i][0], two[i][0])) << bank->parameters()[i].name;
}

/// An adapter whose gradients or values are infinite: the others of its bank take no notice.
TEST_P(AdapterMethods, NonFiniteAdapterIsContained) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto input = [] { return make_input({random_text(1, 5), random_text(2, 7), random_text(3, 6)}, {0, 1, 2}, 3); };
  const auto trained = [&](bool infinite) {
    Transformer model = load();
    MethodBank bank(model, config(), {11, 12, 13});
    bank.perturb();
    TrainConfig train;
    train.learning_rate = 1e-3;
    const Optimizer::Hyperparameters job{&train, Schedule(train, 100)};
    Optimizer optimizer(*bank.method, {job, job, job});
    std::vector<at::Tensor> before;
    for (const at::Tensor& leaf : bank.leaves()) before.push_back(leaf.detach().clone());
    for (int64_t step = 0; step < 2; ++step) {
      optimizer.zero_gradients();
      weighted_sum(bank.logits(model, input())).backward();
      for (const at::Tensor& leaf : bank.leaves()) {
        if (infinite && leaf.grad().defined()) leaf.grad()[1].flatten()[0].fill_(kInfinity);
      }
      const auto reports = optimizer.step({{0, step, step}, {1, step, step}, {2, step, step}});
      for (std::size_t k = 0; k < 3; ++k) EXPECT_EQ(reports.at(k).finite, !infinite || k != 1);
    }
    std::vector<at::Tensor> after;
    for (const at::Tensor& leaf : bank.leaves()) after.push_back(leaf.detach().clone());
    return std::pair(before, after);
  };
  const auto [start, finite] = trained(false);
  const auto [unused, contained] = trained(true);
  for (std::size_t i = 0; i < start.size(); ++i) {
    for (const int64_t k : {0, 2}) EXPECT_TRUE(same_values(finite[i][k], contained[i][k])) << i;
    EXPECT_TRUE(same_values(contained[i][1], start[i][1])) << i;
  }

  Transformer model = load();
  MethodBank bank(model, config(), {11, 12, 13});
  bank.perturb();
  const auto pass = [&] {
    const at::Tensor logits = bank.logits(model, input());
    return std::pair(logits.detach(),
                     gradients(weighted_sum(logits.index_select(0, at::tensor({0, 2}))), bank.leaves()));
  };
  const auto [logits, grads] = pass();
  for (const at::Tensor& leaf : bank.leaves()) leaf.detach()[1].fill_(kInfinity);
  const auto [others_logits, others_grads] = pass();
  for (const int64_t k : {0, 2}) {
    EXPECT_TRUE(same_values(logits[k], others_logits[k]));
    for (std::size_t i = 0; i < grads.size(); ++i)
      EXPECT_TRUE(same_values(grads[i][k], others_grads[i][k])) << bank->parameters()[i].name;
  }
}

const auto kName = [](const testing::TestParamInfo<Example>& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Each, Methods, testing::ValuesIn(all_methods()), kName);
INSTANTIATE_TEST_SUITE_P(Each, AdapterMethods, testing::ValuesIn(adapters()), kName);

}  // namespace
}  // namespace peft
