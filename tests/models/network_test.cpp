/// Every branch of the network against the dense float64 implementation: values, and the gradient of every tensor.

#include <gmock/gmock.h>

#include <set>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/models/networks.h"
#include "tests/support/dense_network.h"
#include "tests/support/gradcheck.h"

namespace peft {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr double kValueTolerance = 1e-10, kGradientTolerance = 1e-9;
/// Gradients below it are rounding: the bias of keys moves all scores of a query alike.
constexpr double kNoGradient = 1e-9;
constexpr double kLeastGradient = 1e-4;  ///< norm of every other tensor's

Transformer load(const TestNetwork& net, const TemporaryFolder& folder) {
  return Transformer::load(net.write(folder.path()), "float64");
}

/// The tensors of the network made leaves, by name.
std::map<std::string, at::Tensor> trained(Transformer& model) {
  std::map<std::string, at::Tensor> leaves;
  model.unfuse();
  model.for_tensors([&](const std::string& name, at::Tensor& tensor) {
    at::Tensor& leaf = leaves[name];
    if (!leaf.defined()) leaf = tensor.detach().clone().set_requires_grad(true);
    tensor = leaf;
  });
  return leaves;
}

struct Outputs {
  at::Tensor classes, words;  ///< words undefined: no logits over the vocabulary
  at::Tensor loss() const {
    return words.defined() ? weighted_sum(classes, 1) + weighted_sum(words, 2) : weighted_sum(classes, 1);
  }
};

Outputs network_outputs(const Transformer& model, const ModelInput& input, Sockets& sockets) {
  Outputs outputs{model.classify(input, sockets, {}), {}};
  if (model.spec().output) outputs.words = model.logits(model.hidden(input, sockets, {}, {Selection::Rows::all}).x_SC);
  return outputs;
}

/// The same additions for the dense implementation, of one adapter.
DenseAdditions dense_additions(const TestSockets& sockets, int64_t adapter) {
  DenseAdditions more;
  more.first_position = sockets.first;
  if (sockets.prompt_KPC.defined()) more.prompt_PC = sockets.prompt_KPC[adapter];
  for (const auto& [module, pairs] : sockets.pairs) more.pairs[module] = {pairs.k_KPGD[adapter], pairs.v_KPGD[adapter]};
  for (const auto& [module, bank] : sockets.low_rank)
    more.maps_CO[module] = at::matmul(bank.a_KCR[adapter], bank.b_KRO[adapter]) * bank.scales[adapter];
  return more;
}

Outputs dense_outputs(const DenseNetwork& dense, const NetworkInput& input, const TestSockets& sockets) {
  std::vector<at::Tensor> classes, words;
  for (std::size_t b = 0; b < input.sources.size(); ++b) {
    const Text& target = dense.net.two_stacks() ? input.targets[b] : input.sources[b];
    const at::Tensor x = dense.hidden(input.sources[b], target, dense_additions(sockets, input.adapter[b]));
    classes.push_back(dense.classify(dense.pooled(x, target)));
    if (!dense.net.output.empty()) words.push_back(dense.logits(x));
  }
  return {at::stack(classes), words.empty() ? at::Tensor() : at::cat(words)};
}

class WholeNetwork : public testing::TestWithParam<NamedNetwork> {};

void expect_dense(const TestNetwork& net, const TestSockets& sockets, Transformer& model) {
  std::map<std::string, at::Tensor> leaves = trained(model);
  DenseNetwork dense(net);
  std::vector<std::string> names;
  std::vector<at::Tensor> found_leaves, expected_leaves;
  for (const auto& [name, leaf] : leaves) {
    ASSERT_TRUE(dense.weights.contains(name)) << name;
    names.push_back(name);
    found_leaves.push_back(leaf);
    expected_leaves.push_back(dense.weights.at(name).set_requires_grad(true));
  }
  EXPECT_EQ(names.size(), dense.weights.size());
  // The additions are leaves of both.
  const auto both = [&](const std::string& name, const at::Tensor& tensor) {
    names.push_back(name);
    found_leaves.push_back(tensor.set_requires_grad(true));
    expected_leaves.push_back(tensor);
  };
  if (sockets.prompt_KPC.defined()) both("prompt", sockets.prompt_KPC);
  for (const auto& [module, pairs] : sockets.pairs) {
    both(module + " prefix keys", pairs.k_KPGD);
    both(module + " prefix values", pairs.v_KPGD);
  }
  for (const auto& [module, bank] : sockets.low_rank) {
    both(module + " A", bank.a_KCR);
    both(module + " B", bank.b_KRO);
  }

  const NetworkInput input(net);
  TestSockets asked = sockets;
  const Outputs found = network_outputs(model, input.packed(net), asked),
                expected = dense_outputs(dense, input, sockets);
  EXPECT_LT(relative_error(found.classes, expected.classes), kValueTolerance);
  ASSERT_EQ(found.words.defined(), expected.words.defined());
  if (found.words.defined()) {
    EXPECT_LT(relative_error(found.words, expected.words), kValueTolerance);
  }
  const auto found_gradients = gradients(found.loss(), found_leaves),
             expected_gradients = gradients(expected.loss(), expected_leaves);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double norm = expected_gradients[i].norm().item<double>();
    const bool may_vanish = names[i].ends_with(".k.bias");
    EXPECT_TRUE(norm > kLeastGradient || may_vanish) << names[i] << ": no gradient";
    if (norm > kNoGradient) {
      EXPECT_LT(relative_error(found_gradients[i], expected_gradients[i]), kGradientTolerance) << names[i];
    } else {
      EXPECT_LT(found_gradients[i].norm().item<double>(), kNoGradient) << names[i];
    }
  }
}

TEST_P(WholeNetwork, EqualsTheDenseOneWithEveryGradient) {
  for (const Extra extra : {Extra::nothing, Extra::pairs, Extra::prompt}) {
    SCOPED_TRACE(name_of(extra));
    const TemporaryFolder folder;
    Transformer model = load(GetParam().network, folder);
    expect_dense(GetParam().network, random_sockets(model, extra), model);
  }
}

TEST_P(WholeNetwork, FrozenAndFusedItGivesTheSameRows) {
  const TemporaryFolder folder;
  const TestNetwork& net = GetParam().network;
  const Transformer model = load(net, folder);
  const NetworkInput input(net);
  TestSockets sockets = random_sockets(model, Extra::pairs);
  const Outputs found = network_outputs(model, input.packed(net), sockets),
                expected = dense_outputs(DenseNetwork(net), input, sockets);
  EXPECT_LT(relative_error(found.classes, expected.classes), kValueTolerance);
  if (found.words.defined()) {
    EXPECT_LT(relative_error(found.words, expected.words), kValueTolerance);
  }
}

/// A low-rank addition on every linear map. On a fused map it is one addition in front of the split.
TEST_P(WholeNetwork, AddsLowRankMapsToEverySite) {
  const TemporaryFolder folder;
  Transformer model = load(GetParam().network, folder);
  TestSockets sockets;
  uint64_t seed = 300;
  for (const Linear* site : model.linear_sites()) {
    if (site->role == Role::head) continue;
    LowRankBank& bank = sockets.low_rank[site->module];
    bank.a_KCR = random_tensor(seed++, {2, site->in_features(), 3}, 0.3);
    bank.b_KRO = random_tensor(seed++, {2, 3, site->out_features()}, 0.3);
    bank.scales = {0.5, 2.0};
    bank.scale_K = at::tensor(bank.scales, at::kFloat);
  }
  const std::string self = "net." + GetParam().network.stack_names().front() + ".layers.0.self.";
  EXPECT_EQ(sockets.low_rank.contains(self + "qkv"), GetParam().network.fused);
  EXPECT_EQ(sockets.low_rank.contains(self + "q"), !GetParam().network.fused);
  expect_dense(GetParam().network, sockets, model);
}

/// What for_tensors() puts in a tensor's place must reach all its uses.
TEST_P(WholeNetwork, VisitsEveryTensorOnce) {
  const TemporaryFolder folder;
  Transformer model = load(GetParam().network, folder);
  model.unfuse();
  std::vector<std::string> visited;
  std::map<std::string, at::Tensor> replaced;
  model.for_tensors([&](const std::string& name, at::Tensor& tensor) {
    visited.push_back(name);
    replaced[name] = tensor = tensor.detach() * 0.5;
  });
  const auto tensors = GetParam().network.tensors();
  EXPECT_EQ(visited.size(), tensors.size());
  EXPECT_EQ(std::set<std::string>(visited.begin(), visited.end()).size(), visited.size());
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(replaced.contains(name)) << name;
  const NetworkInput input(GetParam().network);
  DenseNetwork dense(GetParam().network);
  for (auto& [name, tensor] : dense.weights) tensor = tensor * 0.5;
  TestSockets none;
  const Outputs found = network_outputs(model, input.packed(dense.net), none),
                expected = dense_outputs(dense, input, none);
  EXPECT_LT(relative_error(found.classes, expected.classes), kValueTolerance);
  if (found.words.defined()) {
    EXPECT_LT(relative_error(found.words, expected.words), kValueTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(All, WholeNetwork, testing::ValuesIn(all_networks()), network_name);

class NetworkFolder : public testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(NetworkFolder, MissingBiasesAreNamedWithFileAndModelType) {
  const TestNetwork net;
  for (const std::string name : {"net.encoder.layers.1.self.k.bias", "net.encoder.layers.0.self.o.bias",
                                 "net.encoder.layers.0.up.bias", "net.encoder.layers.1.feed_forward_norm.bias"}) {
    auto tensors = net.tensors();
    tensors.erase(name);
    TinyBert::write(folder_.path(), net.config(), tensors);
    EXPECT_THAT([&] { Transformer::load(folder_.path(), "float64"); },
                ThrowsMessage<DataError>(AllOf(HasSubstr((folder_ / "model.safetensors").string()),
                                               HasSubstr("tensor " + name + " is missing"),
                                               HasSubstr("model_type \"test-network\""))));
  }
}

/// "before anything is computed": no linear map was asked for, of no stack.
TEST_F(NetworkFolder, PositionsBeyondALearnedTableAreRefusedBeforeAnythingIsComputed) {
  for (const NamedNetwork& named : std::vector<NamedNetwork>{
           {"source", {.positions = 10, .position_offset = 2}},
           {"decoder", {.stacks = "decoder", .positions = 10, .position_offset = 2}},
           {"target", {.stacks = "encoder-decoder", .positions = 10, .position_offset = 2, .token_types = 0}}}) {
    SCOPED_TRACE(named.name);
    const TestNetwork& net = named.network;
    const Transformer model = load(net, folder_);
    const std::string table = "net." + net.stack_names().back() + ".positions";
    const auto run = [&](int64_t length, TestSockets& sockets) {
      NetworkInput input;
      input.adapter = {0};
      input.sources = {random_text(1, net.two_stacks() ? 3 : length)};
      input.targets = {random_text(2, length)};
      model.classify(input.packed(net), sockets, {});
    };
    TestSockets sockets;
    EXPECT_NO_THROW(run(8, sockets));  // positions 0..7 stand in rows 2..9
    sockets.asked.clear();
    EXPECT_THAT([&] { run(9, sockets); },
                ThrowsMessage<DataError>(AllOf(HasSubstr("9 positions"), HasSubstr(table), HasSubstr("has 8"))));
    EXPECT_THAT(sockets.asked, testing::IsEmpty());
  }
}

TEST_F(NetworkFolder, VirtualTokensAndPrefixesTakePositionsToo) {
  const TestNetwork net{.positions = 10};
  const Transformer model = load(net, folder_);
  NetworkInput input;
  input.adapter = {0};
  for (const Extra extra : {Extra::pairs, Extra::prompt}) {
    SCOPED_TRACE(name_of(extra));
    TestSockets sockets = random_sockets(model, extra);
    input.sources = {random_text(1, 8)};
    EXPECT_NO_THROW(model.classify(input.packed(net), sockets, {}));
    input.sources = {random_text(1, 9)};
    EXPECT_THAT([&] { model.classify(input.packed(net), sockets, {}); },
                ThrowsMessage<DataError>(HasSubstr("11 positions")));
  }
}

TEST_F(NetworkFolder, AnEncoderDecoderWithoutATargetIsAnError) {
  const TestNetwork net{.stacks = "encoder-decoder", .token_types = 0};
  const Transformer model = load(net, folder_);
  TestSockets none;
  ModelInput input = NetworkInput(net).packed(net);
  input.target.reset();
  EXPECT_THAT([&] { model.classify(input, none, {}); },
              ThrowsMessage<Error>(AllOf(HasSubstr("test-network"), HasSubstr("needs a target beside its source"))));
}

TEST_F(NetworkFolder, AnArchitectureWithoutAnOutputGivesNoWords) {
  const TestNetwork net;
  const Transformer model = load(net, folder_);
  EXPECT_THAT(
      [&] {
        model.logits(at::zeros({1, net.width}, at::kDouble));
      },
      ThrowsMessage<DataError>(HasSubstr("gives no logits over a vocabulary")));
}

}  // namespace
}  // namespace peft
