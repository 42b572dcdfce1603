/// Rows that a pass gives, what a causal model sees, and dropout of every place.

#include <gmock/gmock.h>

#include <algorithm>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/models/networks.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr double kTolerance = 1e-12;

/// What is read of the last stack: its text.
const Batch& text_rows(const ModelInput& input) { return (input.target ? *input.target : input.source).rows; }

class NetworkSelection : public testing::TestWithParam<NamedNetwork> {
 protected:
  TemporaryFolder folder_;
  const TestNetwork& net_ = GetParam().network;
  Transformer model_ = Transformer::load(net_.write(folder_.path()), "float64");
};

TEST_P(NetworkSelection, GivesTheRowsThatAllGives) {
  const NetworkInput texts(net_);
  const ModelInput input = texts.packed(net_);
  const PackedBatch& rows = *text_rows(input);
  for (const Extra extra : {Extra::nothing, Extra::pairs, Extra::prompt}) {
    SCOPED_TRACE(name_of(extra));
    TestSockets sockets = random_sockets(model_, extra);
    const Hidden all = model_.hidden(input, sockets, {}, {Selection::Rows::all});
    ASSERT_EQ(all.x_SC.size(0), rows.rows());
    const auto expect = [&](const Selection& selection, const std::vector<int64_t>& numbers) {
      const Hidden some = model_.hidden(input, sockets, {}, selection);
      const at::Tensor chosen = row_numbers(numbers, rows);
      EXPECT_LT(relative_error(some.x_SC, all.x_SC.index_select(0, chosen)), kTolerance);
      EXPECT_TRUE(same_values(some.rows->position_T(), all.rows->position_T().index_select(0, chosen)));
    };
    std::vector<int64_t> first, last, eos;
    for (int64_t b = 0; b < rows.sequences(); ++b) {
      first.push_back(rows.begin(b));
      last.push_back(rows.begin(b) + rows.length(b) - 1);
      const std::vector<int64_t>& ids = texts.texts(net_)[static_cast<std::size_t>(b)].ids;
      const auto found = std::find(ids.rbegin(), ids.rend(), net_.eos_token);
      eos.push_back(rows.begin(b) + (ids.rend() - found) - 1);
    }
    expect({Selection::Rows::last}, last);
    expect({Selection::Rows::chosen, {0, 2, 3, 8, rows.rows() - 1}}, {0, 2, 3, 8, rows.rows() - 1});
    expect({Selection::Rows::chosen, {4}}, {4});
    if (net_.pool == "last_eos") expect({}, eos);
    sockets.other_pool = Pool::first_of_text;
    expect({}, first);
    sockets.other_pool = Pool::last;
    expect({}, last);
    sockets.other_pool = Pool::mean;
    const at::Tensor means = model_.pooled(input, sockets, {});
    for (int64_t b = 0; b < rows.sequences(); ++b)
      EXPECT_LT(relative_error(means[b], all.x_SC.narrow(0, rows.begin(b), rows.length(b)).mean(0)), kTolerance);
  }
}

TEST_P(NetworkSelection, RowsThatAreNotThereAreErrors) {
  const NetworkInput texts(net_);
  const ModelInput input = texts.packed(net_);
  TestSockets sockets;
  const int64_t count = text_rows(input)->rows();
  for (const std::vector<int64_t>& chosen : {std::vector<int64_t>{count}, {-1}, {3, 2}, {2, 2}})
    EXPECT_THROW(model_.hidden(input, sockets, {}, {Selection::Rows::chosen, chosen}), Error);
}

INSTANTIATE_TEST_SUITE_P(All, NetworkSelection, testing::ValuesIn(all_networks()), network_name);

/// A text without tokens has no row to read, whatever stands in front of it.
TEST(NetworkSelectionOfEmptyTexts, IsAnError) {
  const TemporaryFolder folder;
  const TestNetwork net;
  const auto model = Transformer::load(net.write(folder.path()), "float64");
  NetworkInput texts;
  texts.adapter = {0, 0};
  texts.sources = {random_text(1, 3), random_text(2, 0)};
  for (const Extra extra : {Extra::nothing, Extra::prompt}) {
    for (const Pool pool : {Pool::first_of_text, Pool::last, Pool::mean}) {
      TestSockets sockets = random_sockets(model, extra);
      sockets.other_pool = pool;
      EXPECT_THAT([&] { model.pooled(texts.packed(net), sockets, {}); }, ThrowsMessage<Error>(HasSubstr("sequence 1")))
          << name_of(extra) << ", pool " << static_cast<int>(pool);
    }
  }
}

class Causality : public testing::TestWithParam<NamedNetwork> {
 protected:
  /// Logits of one text, or of one target of a fixed source.
  at::Tensor classify(const Text& text, Sockets& sockets, const Selection& selection) const {
    NetworkInput input;
    input.adapter = {0};
    input.sources = {GetParam().network.two_stacks() ? random_text(77, 4) : text};
    input.targets = {text};
    return model_.hidden(input.packed(GetParam().network), sockets, {}, selection).x_SC;
  }

  TemporaryFolder folder_;
  Transformer model_ = Transformer::load(GetParam().network.write(folder_.path()), "float64");
};

/// Commit e31230f failed here. Its last layer ran without a causal mask because it computed the pooled row alone, so a row at
/// the front of a text saw all tokens behind it.
TEST_P(Causality, ARowSeesTheTokensBeforeItAndNoneBehind) {
  const TestNetwork& net = GetParam().network;
  const Text text = random_text(4, 7, net.vocabulary);
  // Layers with a window pass a token on by window - 1 rows each.
  bool sees_all = net.windows.empty();
  for (const int64_t window : net.windows) sees_all = sees_all || window == 0;
  for (const Extra extra : {Extra::nothing, Extra::pairs, Extra::prompt}) {
    TestSockets sockets = random_sockets(model_, extra);
    for (const int64_t row : {0, 3, 6}) {
      const Selection selection{Selection::Rows::chosen, {row}};
      const at::Tensor before = classify(text, sockets, selection);
      for (int64_t i = 0; i < 7; ++i) {
        SCOPED_TRACE(std::string(name_of(extra)) + ", row " + std::to_string(row) + ", token " + std::to_string(i));
        Text other = text;
        other.ids[i] = other.ids[i] % (net.vocabulary - 1) + 1;
        const at::Tensor after = classify(other, sockets, selection);
        if (i > row) {
          EXPECT_TRUE(same_values(after, before));
        } else if (sees_all) {
          EXPECT_GT(relative_error(after, before), 1e-7);
        }
      }
    }
  }
}

TEST_P(Causality, ThePooledRowIsNoException) {
  const Text text = random_text(4, 7, GetParam().network.vocabulary);
  TestSockets sockets;
  const auto pooled = [&](Pool pool, int64_t changed) {
    Text other = text;
    if (changed >= 0) other.ids[changed] = other.ids[changed] % (GetParam().network.vocabulary - 1) + 1;
    sockets.other_pool = pool;
    return classify(other, sockets, {});
  };
  for (const int64_t behind : {1, 4, 6})
    EXPECT_TRUE(same_values(pooled(Pool::first_of_text, behind), pooled(Pool::first_of_text, -1))) << behind;
  EXPECT_GT(relative_error(pooled(Pool::first_of_text, 0), pooled(Pool::first_of_text, -1)), 1e-7);
  for (const int64_t seen : {5, 6})
    EXPECT_GT(relative_error(pooled(Pool::last, seen), pooled(Pool::last, -1)), 1e-7) << seen;
}

INSTANTIATE_TEST_SUITE_P(Decoders, Causality, testing::ValuesIn(decoders()), network_name);

constexpr double kRate = 0.3;
const DropoutContext kTraining{.training = true, .seeds = {5, 6}, .steps = {3, 4}};

TestNetwork with_dropout(TestNetwork net, const std::map<std::string, double>& dropout) {
  net.dropout = dropout;
  return net;
}

class NetworkDropout : public testing::TestWithParam<std::string> {
 protected:
  TemporaryFolder folder_;
  at::Tensor classify(const TestNetwork& net, const NetworkInput& texts, bool training) {
    const auto model = Transformer::load(net.write(folder_.path()), "float64");
    TestSockets none;
    return model.classify(texts.packed(net), none, training ? kTraining : DropoutContext{});
  }
};

/// Every place in an encoder-decoder with gates, alone and without the other sequences of the batch.
TEST_P(NetworkDropout, FollowsTheNamesNotThePacking) {
  const TestNetwork net = with_dropout({.stacks = "encoder-decoder",
                                        .norm_place = "pre",
                                        .final_norm = true,
                                        .gated = true,
                                        .token_types = 0,
                                        .buckets = 8},
                                       {{GetParam(), kRate}});
  NetworkInput texts(net);
  const at::Tensor dropped = classify(net, texts, true);
  EXPECT_GT(relative_error(dropped, classify(net, texts, false)), 1e-3);
  texts.sources.erase(texts.sources.begin() + 1);
  texts.targets.erase(texts.targets.begin() + 1);
  texts.sources.pop_back();
  texts.targets.pop_back();
  texts.adapter = {0, 1};
  EXPECT_LT(relative_error(classify(net, texts, true), dropped.index_select(0, at::tensor({0, 2}))), kTolerance);
}

TEST_P(NetworkDropout, IsOverriddenWhereTheArchitectureHasIt) {
  const TestNetwork net{.stacks = "encoder-decoder", .token_types = 0};
  const NetworkInput texts(net);
  const at::Tensor expected = classify(with_dropout(net, {{GetParam(), kRate}}), texts, true);
  auto model = Transformer::load(with_dropout(net, {{GetParam(), 0.0}}).write(folder_.path()), "float64");
  model.override_dropout(kRate);
  TestSockets none;
  EXPECT_TRUE(same_values(model.classify(texts.packed(net), none, kTraining), expected));
}

INSTANTIATE_TEST_SUITE_P(Places, NetworkDropout,
                         testing::Values("embedding", "attention", "attention_output", "activation", "feed_forward",
                                         "head"));

TEST(NetworkWithoutDropout, StaysWithoutItWhenItIsOverridden) {
  const TemporaryFolder folder;
  const TestNetwork net{.gated = true};
  const ModelInput input = NetworkInput(net).packed(net);
  auto model = Transformer::load(net.write(folder.path()), "float64");
  TestSockets none;
  const at::Tensor expected = model.classify(input, none, {});
  model.override_dropout(0.5);
  EXPECT_TRUE(same_values(model.classify(input, none, kTraining), expected));
}

}  // namespace
}  // namespace peft
