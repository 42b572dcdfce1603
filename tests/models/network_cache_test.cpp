/// A decoder that reads its tokens piece by piece, with a key/value cache, against one pass over all of them.

#include <gmock/gmock.h>

#include <algorithm>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/models/networks.h"

namespace peft {
namespace {

constexpr double kTolerance = 1e-12;

Text piece(const Text& text, int64_t from, int64_t count) {
  const auto length = static_cast<int64_t>(text.ids.size());
  const int64_t begin = std::min(from, length), end = std::min(from + count, length);
  return {{text.ids.begin() + begin, text.ids.begin() + end}, {text.types.begin() + begin, text.types.begin() + end}};
}

Text joined(Text text, const Text& more) {
  text.ids.insert(text.ids.end(), more.ids.begin(), more.ids.end());
  text.types.insert(text.types.end(), more.types.begin(), more.types.end());
  return text;
}

Tokens starting_at(const Tokens& tokens, const std::vector<int64_t>& start) {
  return {tokens.ids_T, tokens.types_T, tokens.rows->starting_at(start)};
}

bool ran(const TestSockets& sockets, const std::string& stack) {
  return std::any_of(sockets.asked.begin(), sockets.asked.end(),
                     [&](const std::string& module) { return module.starts_with("net." + stack + "."); });
}

class NetworkCache : public testing::TestWithParam<NamedNetwork> {
 protected:
  TemporaryFolder folder_;
  const TestNetwork& net_ = GetParam().network;
  Transformer model_ = Transformer::load(net_.write(folder_.path()), "float64");
  const std::vector<int64_t> adapter_{0, 0, 1, 1};
  const std::vector<Text> texts_ = network_texts(net_, {6, 2, 9, 4}, 40),
                          sources_ = network_texts(net_, {4, 7, 1, 3}, 50);

  /// Of the texts that the causal stack reads, in batches of the given adapters.
  ModelInput input(const std::vector<Text>& texts, const std::vector<int64_t>& adapter,
                   const std::vector<Text>& sources) const {
    if (!net_.two_stacks()) return make_input(texts, adapter, 2);
    ModelInput both = make_input(sources, adapter, 2);
    both.target = make_input(texts, adapter, 2).source;
    return both;
  }
  ModelInput input(const std::vector<Text>& texts) const { return input(texts, adapter_, sources_); }

  /// Rows of every text, read in pieces of at most `step` tokens.
  std::vector<at::Tensor> in_pieces(int64_t step, TestSockets& sockets, const std::vector<int64_t>& start) {
    KeyValueCache cache;
    std::vector<std::vector<at::Tensor>> rows(texts_.size());
    for (int64_t from = 0; from < 9; from += step) {
      std::vector<Text> pieces;
      for (const Text& text : texts_) pieces.push_back(piece(text, from, step));
      ModelInput part = input(pieces);
      if (!start.empty() && from == 0)
        (part.target ? *part.target : part.source) = starting_at(part.target ? *part.target : part.source, start);
      sockets.asked.clear();
      const Hidden hidden = model_.hidden(part, sockets, {}, {Selection::Rows::all}, &cache);
      EXPECT_TRUE(ran(sockets, "decoder"));
      EXPECT_EQ(ran(sockets, "encoder"), net_.two_stacks() && from == 0);
      for (std::size_t b = 0; b < rows.size(); ++b)
        rows[b].push_back(hidden.x_SC.narrow(0, hidden.rows->begin(b), hidden.rows->length(b)));
    }
    std::vector<at::Tensor> whole;
    for (const auto& parts : rows) whole.push_back(at::cat(parts));
    return whole;
  }
};

TEST_P(NetworkCache, PiecesGiveTheRowsOfOnePass) {
  for (const Extra extra : {Extra::nothing, Extra::pairs, Extra::prompt}) {
    TestSockets sockets = random_sockets(model_, extra);
    const Hidden whole = model_.hidden(input(texts_), sockets, {}, {Selection::Rows::all});
    for (const int64_t step : {1, 2, 3, 9}) {
      SCOPED_TRACE(std::string(name_of(extra)) + ", pieces of " + std::to_string(step));
      const auto rows = in_pieces(step, sockets, {});
      for (std::size_t b = 0; b < rows.size(); ++b) {
        EXPECT_LT(relative_error(rows[b], whole.x_SC.narrow(0, whole.rows->begin(b), whole.rows->length(b))),
                  kTolerance)
            << "sequence " << b;
      }
    }
  }
}

/// A batch whose sequences stand at positions of their own.
TEST_P(NetworkCache, StartsAtAnyPosition) {
  const std::vector<int64_t> start{3, 0, 5, 20};
  TestSockets sockets;
  ModelInput all = input(texts_);
  const at::Tensor at_zero = model_.hidden(all, sockets, {}, {Selection::Rows::all}).x_SC;
  Tokens& tokens = all.target ? *all.target : all.source;
  tokens = starting_at(tokens, start);
  const Hidden whole = model_.hidden(all, sockets, {}, {Selection::Rows::all});
  const bool absolute = net_.positions > 0;
  EXPECT_EQ(relative_error(whole.x_SC, at_zero) > 1e-6, absolute);
  const auto rows = in_pieces(2, sockets, start);
  for (std::size_t b = 0; b < rows.size(); ++b)
    EXPECT_LT(relative_error(rows[b], whole.x_SC.narrow(0, whole.rows->begin(b), whole.rows->length(b))), kTolerance);
}

/// As a search runs it: texts of several lengths first, then one token of each at a time, of which the last row is read.
TEST_P(NetworkCache, LastRowsFollowTokenByToken) {
  for (const Extra extra : {Extra::nothing, Extra::pairs, Extra::prompt}) {
    TestSockets sockets = random_sockets(model_, extra);
    KeyValueCache cache;
    std::vector<Text> read = texts_;
    model_.hidden(input(read), sockets, {}, {Selection::Rows::last}, &cache);
    for (uint64_t step = 0; step < 3; ++step) {
      SCOPED_TRACE(std::string(name_of(extra)) + ", token " + std::to_string(step));
      const std::vector<Text> next = network_texts(net_, {1, 1, 1, 1}, 60 + 4 * step);
      for (std::size_t b = 0; b < read.size(); ++b) read[b] = joined(read[b], next[b]);
      const Hidden fast = model_.hidden(input(next), sockets, {}, {Selection::Rows::last}, &cache),
                   slow = model_.hidden(input(read), sockets, {}, {Selection::Rows::last});
      EXPECT_LT(relative_error(fast.x_SC, slow.x_SC), kTolerance);
      EXPECT_TRUE(same_values(fast.rows->position_T(), slow.rows->position_T()));
    }
  }
}

/// Survivors of a beam: sequence 1 is dropped, others go on once, twice or three times.
TEST_P(NetworkCache, GatheredSequencesGoOnAsTheyWere) {
  for (const Extra extra : {Extra::nothing, Extra::pairs, Extra::prompt}) {
    SCOPED_TRACE(name_of(extra));
    TestSockets sockets = random_sockets(model_, extra);
    KeyValueCache cache;
    model_.hidden(input(texts_), sockets, {}, {Selection::Rows::last}, &cache);
    std::vector<Text> read = texts_, sources = sources_;
    std::vector<int64_t> adapter = adapter_;
    uint64_t seed = 80;
    for (const std::vector<int64_t>& order : {std::vector<int64_t>{0, 0, 3, 2, 3}, {1, 4, 4, 2}, {0, 3, 1, 2}}) {
      cache.gather(order);
      std::vector<Text> survivors, their_sources;
      std::vector<int64_t> their_adapters;
      for (const int64_t b : order) {
        survivors.push_back(read[b]);
        their_sources.push_back(sources[b]);
        their_adapters.push_back(adapter[b]);
      }
      read = survivors;
      sources = their_sources;
      adapter = their_adapters;
      const std::vector<Text> next = network_texts(net_, std::vector<int64_t>(order.size(), 2), seed += 10);
      for (std::size_t b = 0; b < read.size(); ++b) read[b] = joined(read[b], next[b]);
      const Hidden fast = model_.hidden(input(next, adapter, sources), sockets, {}, {Selection::Rows::last}, &cache),
                   slow = model_.hidden(input(read, adapter, sources), sockets, {}, {Selection::Rows::last});
      EXPECT_LT(relative_error(fast.x_SC, slow.x_SC), kTolerance);
    }
  }
}

TEST_P(NetworkCache, OfOtherSequencesIsAnError) {
  TestSockets sockets;
  KeyValueCache cache;
  model_.hidden(input(texts_), sockets, {}, {}, &cache);
  const ModelInput fewer = input({texts_[0], texts_[2]}, {0, 1}, {sources_[0], sources_[2]});
  EXPECT_THAT([&] { model_.hidden(fewer, sockets, {}, {}, &cache); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("2 sequences go on, but the cache has 4")));
  EXPECT_THAT(
      [&] {
        cache.gather({0, 4});
      },
      testing::ThrowsMessage<Error>(testing::HasSubstr("sequence 4 of 4 is out of range")));
}

INSTANTIATE_TEST_SUITE_P(Decoders, NetworkCache, testing::ValuesIn(decoders()), network_name);

}  // namespace
}  // namespace peft
